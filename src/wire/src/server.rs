//! The answering side: accepts on a role's socket, checks who asks, hands the request over.

use crate::{Kind, Refusal, frame};
use base::{Paths, Role};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Connections at once at one door. The MTA alone may have some two hundred sessions open.
const MAX_AT_ONCE: usize = 512;
/// Longest time for a peer to send its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection may wait for its next request; those who ask give theirs up sooner.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// A door's request enum, made by [`crate::door!`].
pub trait Request: DeserializeOwned + Send + 'static {
    const DOOR: Role;
    fn from(&self) -> &'static [Role];
    fn name(&self) -> &'static str;
}

/// What goes back: the reply as JSON, and a raw body.
#[derive(Debug)]
pub struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Answer {
    /// Use [`crate::door!`]'s `answer` instead, which checks the type.
    pub fn new(reply: &impl Serialize) -> Result<Self, Refusal> {
        let head = serde_json::to_vec(&Ok::<_, Refusal>(reply)).map_err(Refusal::internal)?;
        Ok(Self { head, body: Vec::new() })
    }

    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    fn refusal(refusal: &Refusal) -> Self {
        let head = serde_json::to_vec(&Err::<(), _>(refusal)).unwrap_or_default();
        Self { head, body: Vec::new() }
    }
}

/// A role that answers at its door.
pub trait Serve: Send + Sync + 'static {
    type Request: Request;
    fn answer(
        &self,
        peer: Role,
        request: Self::Request,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Answer, Refusal>> + Send;
}

/// Which role a peer's uid belongs to.
#[derive(Debug, Clone)]
pub struct Peers {
    by_uid: HashMap<u32, Role>,
    /// In a demo every role runs as the same user, which then may ask everything.
    same_user: Option<u32>,
}

impl Peers {
    /// The users of a live box, or the one user of a demo.
    pub fn of(paths: &Paths) -> Self {
        let own = nix::unistd::geteuid().as_raw();
        if !paths.is_live() {
            return Self { by_uid: HashMap::new(), same_user: Some(own) };
        }
        let uid_of =
            |role: Role| nix::unistd::User::from_name(&role.user()).ok().flatten().map(|user| user.uid.as_raw());
        let roles = Role::DAEMONS.into_iter().chain(Role::TIMED).chain([Role::Owner]);
        let by_uid = roles.filter_map(|role| Some((uid_of(role)?, role))).collect();
        Self { by_uid, same_user: None }
    }

    /// The peer's role, if its uid is known here.
    pub fn role(&self, uid: u32) -> Option<Role> {
        match self.same_user {
            Some(own) if own == uid => Some(Role::Owner),
            _ if uid == 0 => Some(Role::Owner),
            _ => self.by_uid.get(&uid).copied(),
        }
    }
}

/// Binds a role's socket, replacing a stale one. Anyone may connect; [`Peers`] decides who is heard.
pub fn bind(paths: &Paths, role: Role, name: &str) -> std::io::Result<UnixListener> {
    let path = paths.socket(role, name);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Answers at the role's door until the process ends.
pub async fn serve<S: Serve>(paths: &Paths, service: Arc<S>) -> std::io::Result<()> {
    let door = S::Request::DOOR;
    let listener = bind(paths, door, door.name())?;
    let peers = Arc::new(Peers::of(paths));
    let slots = Arc::new(Semaphore::new(MAX_AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!("the {door} door cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (service, peers) = (Arc::clone(&service), Arc::clone(&peers));
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &*service, &peers).await {
                tracing::debug!("a peer of the {door} door went away: {error}");
            }
            drop(slot);
        });
    }
}

async fn converse<S: Serve>(mut stream: UnixStream, service: &S, peers: &Peers) -> std::io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    match peers.role(uid) {
        Some(peer) => answer_all(stream, service, peer).await,
        None => turn_away(&mut stream, uid).await,
    }
}

/// Who is no part of the box is not waited for: strangers on this machine must not hold the places of its parts.
async fn turn_away(stream: &mut UnixStream, uid: u32) -> std::io::Result<()> {
    let refusal = Refusal::new(Kind::Forbidden, format!("user {uid} is not a part of this box"));
    frame::write(stream, &Answer::refusal(&refusal).head, &[]).await
}

/// Answers one request after the other, until the peer has no more.
async fn answer_all<S: Serve>(stream: UnixStream, service: &S, peer: Role) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while has_more(&mut stream).await? {
        let read = tokio::time::timeout(REQUEST_WITHIN, frame::read(&mut stream)).await;
        let Some((head, body)) = read.map_err(|_| std::io::ErrorKind::TimedOut)?? else { return Ok(()) };
        let answer = match judge::<S::Request>(peer, &head) {
            Ok(request) => {
                let name = request.name();
                service.answer(peer, request, body).await.inspect_err(|refusal| {
                    tracing::debug!("{} refused {name} to {peer}: {refusal}", S::Request::DOOR);
                })
            }
            Err(refusal) => Err(refusal),
        };
        let answer = answer.unwrap_or_else(|refusal| Answer::refusal(&refusal));
        frame::write(&mut stream, &answer.head, &answer.body).await?;
    }
    Ok(())
}

/// Waits for the first octets of a request; `false` when the peer has closed, or says nothing for too long.
async fn has_more(stream: &mut BufReader<UnixStream>) -> std::io::Result<bool> {
    match tokio::time::timeout(IDLE, stream.fill_buf()).await {
        Ok(buffered) => Ok(!buffered?.is_empty()),
        Err(_) => Ok(false),
    }
}

fn judge<R: Request>(peer: Role, head: &[u8]) -> Result<R, Refusal> {
    let request: R = serde_json::from_slice(head)
        .map_err(|error| Refusal::new(Kind::Invalid, format!("the request is not understood: {error}")))?;
    if peer == Role::Owner || request.from().contains(&peer) {
        return Ok(request);
    }
    tracing::warn!("{peer} asked {} for {}, which it may not", R::DOOR, request.name());
    Err(Refusal::new(Kind::Forbidden, format!("{peer} may not ask {} for {}", R::DOOR, request.name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, WireError, directory};

    struct OneDomain;

    impl Serve for OneDomain {
        type Request = directory::Request;
        async fn answer(&self, _: Role, request: Self::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
            match request {
                directory::Request::Domains(ask) => {
                    ask.answer(base::Domain::parse("example.org").into_iter().collect())
                }
                other => Err(Refusal::new(Kind::Invalid, other.name())),
            }
        }
    }

    #[tokio::test]
    async fn a_question_finds_its_answer_and_a_refusal_its_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let client = Client::new(paths.clone());
        assert!(matches!(client.ask(&directory::Domains {}).await, Err(WireError::Away { .. })));
        tokio::spawn({
            let paths = paths.clone();
            async move { serve(&paths, Arc::new(OneDomain)).await }
        });
        let socket = paths.socket(Role::Directory, "directory");
        for _ in 0..100 {
            if socket.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(client.ask(&directory::Domains {}).await.unwrap().len(), 1);
        let refused = client.ask(&directory::Accounts {}).await.unwrap_err();
        assert_eq!(refused.to_string(), "Accounts");
    }

    /// A door that says who answers, and ends after so many connections.
    async fn answered_by(paths: &Paths, connections: usize) -> tokio::task::JoinHandle<()> {
        let listener = bind(paths, Role::Directory, "directory").unwrap();
        let peers = Peers::of(paths);
        tokio::spawn(async move {
            for _ in 0..connections {
                let (stream, _) = listener.accept().await.unwrap();
                converse(stream, &OneDomain, &peers).await.unwrap();
            }
        })
    }

    #[tokio::test]
    async fn one_connection_serves_many_questions_and_a_neighbour_that_started_anew_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let client = Client::new(paths.clone());
        let door = answered_by(&paths, 1).await;
        for _ in 0..100 {
            client.ask(&directory::Domains {}).await.unwrap();
            client.ask(&directory::Accounts {}).await.unwrap_err();
        }
        // Two at once are two connections, of which this door takes but one.
        let both = async { tokio::join!(client.ask(&directory::Domains {}), client.ask(&directory::Domains {})) };
        assert!(tokio::time::timeout(Duration::from_millis(200), both).await.is_err());
        door.abort();
        let _ = door.await;
        let _anew = answered_by(&paths, 1).await;
        assert_eq!(client.ask(&directory::Domains {}).await.unwrap().len(), 1);
    }

    #[test]
    fn a_role_that_the_table_does_not_name_is_not_heard() {
        let peers = Peers { by_uid: HashMap::from([(900, Role::Web), (901, Role::Mta)]), same_user: None };
        let head = br#"{"Aliases":{}}"#;
        let judged = |uid| judge::<directory::Request>(peers.role(uid).unwrap(), head);
        assert_eq!(judged(900).unwrap_err().kind, Kind::Forbidden);
        assert!(judged(0).is_ok());
        assert_eq!(peers.role(77), None);
    }

    #[tokio::test]
    async fn who_is_no_part_of_the_box_is_told_so_though_the_question_was_under_way() {
        let (mut server, mut stranger) = UnixStream::pair().unwrap();
        frame::write(&mut stranger, br#"{"Domains":{}}"#, &[]).await.unwrap();
        turn_away(&mut server, 77).await.unwrap();
        drop(server);
        let (head, _) = frame::read(&mut stranger).await.unwrap().unwrap();
        assert!(String::from_utf8(head).unwrap().contains("user 77 is not a part of this box"));
    }
}
