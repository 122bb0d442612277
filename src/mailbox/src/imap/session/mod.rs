//! The IMAP state machine (RFC 9051 §3): [`Session::execute`] is the whole of it; the files beside this one do the work.
//!
//! A session keeps a view of its folder. What others do reaches the view only in [`Session::sync`], before a tagged
//! reply or while idling, so message numbers never shift under a command (RFC 9051 §7.5.1).

mod acl;
mod answer;
mod append;
mod auth;
mod binary;
mod catenate;
mod fetch;
mod find;
mod folders;
mod groups;
mod idle;
mod messages;
mod metadata;
mod notify;
mod place;
mod quota;
mod rights;
mod search;
mod section;
mod select;
mod sort;
mod texts;
mod view;

use super::connection::{Connection, End, Received};
use super::proto::{self, Command};
use super::server::Shared;
use crate::{blocking, limits, login};
use base::Address;
use base::sasl::Offer;
use notify::Watched;
use rights::Rights;
use std::net::IpAddr;
use std::sync::Arc;
use store::{Account, StoreError, Uid};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use view::{Telling, View};

/// A logged-in user.
struct User {
    address: Address,
    account: Arc<Account>,
    feed: tokio::sync::watch::Receiver<u64>,
    /// Holds the place among the account's sessions.
    _login: login::User,
}

/// What ENABLE switched on (RFC 5161), besides CONDSTORE.
#[derive(Debug, Clone, Copy, Default)]
struct Modes {
    /// IMAP4rev2: RFC 9051 appendix E tells the differences.
    rev2: bool,
    /// RFC 9755.
    utf8_accept: bool,
    /// RFC 7162 §3.2.
    qresync: bool,
    /// RFC 9586.
    uid_only: bool,
}

impl Modes {
    /// Whether names of mailboxes are in UTF-8 on the wire, not in modified UTF-7.
    fn utf8(self) -> bool {
        self.rev2 || self.utf8_accept
    }
}

/// How a command failed.
enum Stop {
    No(String),
    Bad(String),
    End(End),
}

/// The text of a tagged OK.
type Done = Result<String, Stop>;

pub struct Session<S> {
    conn: Connection<S>,
    shared: Arc<Shared>,
    client: IpAddr,
    /// How one may log in.
    offer: Offer,
    user: Option<User>,
    selected: Option<View>,
    /// Whether the client wants modification sequences (RFC 7162 §3.1).
    condstore: bool,
    modes: Modes,
    /// The feed of the selected folder's account, where it is another's.
    feed_of_shared: Option<tokio::sync::watch::Receiver<u64>>,
    /// What NOTIFY asked for.
    watched: Option<Box<Watched>>,
    /// What the last search with SAVE found (RFC 5182), by ascending UID.
    saved: Arc<Vec<Uid>>,
    /// Whether compression begins after the reply that is being written.
    compress_next: bool,
    login_tries: u32,
    bad_commands: u32,
    /// The tag of the command in work, which ESEARCH repeats.
    tag: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub fn new(conn: Connection<S>, shared: Arc<Shared>, client: IpAddr, offer: Offer) -> Self {
        Self {
            conn,
            shared,
            client,
            offer,
            user: None,
            selected: None,
            condstore: false,
            modes: Modes::default(),
            feed_of_shared: None,
            watched: None,
            saved: Arc::default(),
            compress_next: false,
            login_tries: 0,
            bad_commands: 0,
            tag: String::new(),
        }
    }

    /// Converses until either side ends it.
    pub async fn run(mut self) {
        let end = self.converse().await.err();
        if let Some(End::Bye(why)) = end {
            self.say(&format!("* BYE {why}"));
            // The client may be gone; then nobody needs the reason.
            let _ = self.conn.flush().await;
        }
        self.conn.close().await;
    }

    async fn converse(&mut self) -> Result<(), End> {
        self.say(&format!("* OK [CAPABILITY {}] Mailstead ready", self.capabilities()));
        self.conn.flush().await?;
        let login_until = Instant::now() + limits::LOGIN_WITHIN;
        loop {
            self.wait_for_input(login_until).await?;
            let (line, permit) = match self.conn.command(self.user.is_some()).await? {
                Received::Command(line, permit) => (line, permit),
                Received::Refused(reply) => {
                    self.conn.output.extend_from_slice(reply.as_bytes());
                    self.conn.flush().await?;
                    continue;
                }
            };
            let parsed = proto::parse(&line);
            match parsed {
                Ok(command) => {
                    drop(line);
                    self.bad_commands = 0;
                    self.answer(command).await?;
                }
                Err(why) => self.malformed(&line, &why.to_string())?,
            }
            drop(permit);
            self.conn.flush().await?;
            if std::mem::take(&mut self.compress_next) {
                self.conn.compress();
            }
        }
    }

    async fn wait_for_input(&mut self, login_until: Instant) -> Result<(), End> {
        let (within, why) = match &self.user {
            None => (login_until.saturating_duration_since(Instant::now()), "no login in time"),
            Some(_) => (limits::IDLE, "idle for too long"),
        };
        let until = Instant::now() + within;
        loop {
            let retired = async {
                match &self.user {
                    Some(user) => retired(user).await,
                    None => std::future::pending().await,
                }
            };
            let feeds = match (&self.user, &self.watched) {
                (Some(user), Some(_)) => (Some(user.feed.clone()), self.feed_of_shared.clone()),
                _ => (None, None),
            };
            tokio::select! {
                waited = timeout_at(until, self.conn.wait()) => return waited.unwrap_or(Err(End::Bye(why))),
                () = retired => return Err(End::Bye("this account was removed")),
                () = idle::either(feeds.0, feeds.1) => {}
            }
            self.seen_feeds();
            self.tell_watched().await?;
            self.conn.flush().await?;
        }
    }

    /// What the feeds told of so far is being looked at.
    fn seen_feeds(&mut self) {
        if let Some(user) = &mut self.user {
            user.feed.mark_unchanged();
        }
        if let Some(shared) = &mut self.feed_of_shared {
            shared.mark_unchanged();
        }
    }

    fn malformed(&mut self, line: &[u8], why: &str) -> Result<(), End> {
        self.bad_commands += 1;
        if self.bad_commands > limits::BAD_COMMANDS {
            return Err(End::Bye("too many commands that are none"));
        }
        let tag = proto::tag_of(line).unwrap_or("*").to_owned();
        self.say(&format!("{tag} BAD {}", ascii(why)));
        Ok(())
    }

    async fn answer(&mut self, line: proto::Line) -> Result<(), End> {
        // RFC 3501 §7.4.1: message numbers must not shift under a client that may have more of these on the way.
        let by_number = matches!(
            line.command,
            Command::Fetch { uid: false, .. }
                | Command::Store { uid: false, .. }
                | Command::Search { uid: false, .. }
                | Command::Sort { uid: false, .. }
                | Command::Thread { uid: false, .. }
        );
        self.tag.clone_from(&line.tag);
        let outcome = self.execute(line.command).await;
        if outcome.is_ok() || matches!(outcome, Err(Stop::No(_))) {
            self.sync(!by_number).await?;
        }
        let tag = line.tag;
        match outcome {
            Ok(text) => self.say(&format!("{tag} OK {}", ascii(&text))),
            Err(Stop::No(text)) => self.say(&format!("{tag} NO {}", ascii(&text))),
            Err(Stop::Bad(text)) => self.say(&format!("{tag} BAD {}", ascii(&text))),
            Err(Stop::End(End::Gone)) => {
                // LOGOUT: its tagged reply is the last word.
                self.say(&format!("{tag} OK bye"));
                self.conn.flush().await?;
                return Err(End::Gone);
            }
            Err(Stop::End(end)) => return Err(end),
        }
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Done {
        match command {
            // Any state.
            Command::Capability => self.capability(),
            Command::Noop => self.noop().await,
            Command::Id => self.id(),
            Command::Logout => self.logout(),
            // Not authenticated.
            Command::Login { user, password } => self.login(&user, password).await,
            Command::Authenticate { mechanism, initial } => self.authenticate(&mechanism, initial).await,
            // Authenticated.
            Command::Enable(names) => self.enable(&names),
            Command::Namespace => self.namespace(),
            Command::Compress(mechanism) => self.compress(&mechanism),
            Command::Select(select) => self.select(select).await,
            Command::Create { mailbox, uses } => self.create(&mailbox, &uses).await,
            Command::Delete(name) => self.delete(&name).await,
            Command::Rename { from, to } => self.rename(&from, &to).await,
            Command::Subscribe { mailbox, subscribed } => self.subscribe(&mailbox, subscribed).await,
            Command::List(list) => self.list(list).await,
            Command::Lsub { reference, pattern } => self.lsub(&reference, &pattern).await,
            Command::Status { mailbox, items } => self.status(&mailbox, &items).await,
            Command::Append(append) => self.append(append).await,
            Command::Idle => self.idle().await,
            Command::Notify(notify) => self.notify(notify).await,
            Command::GetMetadata(get) => self.get_metadata(get).await,
            Command::SetMetadata { mailbox, entries } => self.set_metadata(&mailbox, entries).await,
            Command::GetQuota(root) => self.get_quota(&root).await,
            Command::GetQuotaRoot(mailbox) => self.get_quota_root(&mailbox).await,
            Command::SetQuota => Err(Stop::No("[NOPERM] quotas are set by whoever runs this server".into())),
            Command::GetAcl(mailbox) => self.get_acl(&mailbox).await,
            Command::SetAcl { mailbox, who, change, letters } => self.set_acl(&mailbox, &who, change, &letters).await,
            Command::DeleteAcl { mailbox, who } => self.delete_acl(&mailbox, &who).await,
            Command::ListRights { mailbox, who } => self.list_rights(&mailbox, &who).await,
            Command::MyRights(mailbox) => self.my_rights(&mailbox).await,
            Command::Multisearch(search) => self.multisearch(search).await,
            // Selected.
            Command::Check => self.check(),
            Command::Close => self.close().await,
            Command::Unselect => self.unselect(),
            Command::Expunge { uids } => self.expunge(uids).await,
            Command::Search { uid, search } => self.search(uid, search).await,
            Command::Sort { uid, sort } => self.sort(uid, sort).await,
            Command::Thread { uid, thread } => self.thread(uid, thread).await,
            Command::Replace { uid, number, append } => self.replace(uid, number, append).await,
            Command::Fetch { uid, fetch } => self.fetch(uid, fetch).await,
            Command::Store { uid, store } => self.store(uid, store).await,
            Command::Copy { uid, set, mailbox, moving } => self.transfer(uid, &set, &mailbox, moving).await,
        }
    }

    fn say(&mut self, line: &str) {
        self.conn.output.extend_from_slice(line.as_bytes());
        self.conn.output.extend_from_slice(b"\r\n");
    }

    fn user(&self) -> Result<&User, Stop> {
        self.user.as_ref().ok_or_else(|| Stop::Bad("log in first".into()))
    }

    fn account(&self) -> Result<Arc<Account>, Stop> {
        self.user().map(|user| Arc::clone(&user.account))
    }

    fn view(&mut self) -> Result<&mut View, Stop> {
        self.selected.as_mut().ok_or_else(|| Stop::Bad("select a mailbox first".into()))
    }

    /// The view, for a command that changes something.
    fn writable(&mut self, needed: Rights) -> Result<&mut View, Stop> {
        let view = self.view()?;
        if view.read_only {
            return Err(Stop::No("[READ-ONLY] the mailbox was opened read only".into()));
        }
        if !view.rights.has(needed) {
            return Err(Stop::No(format!("[NOPERM] this needs the rights {needed}, and you have {}", view.rights)));
        }
        Ok(view)
    }

    /// Work on the account's store.
    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Account) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Stop> {
        let account = self.account()?;
        blocking::on(&account, work).await.map_err(Stop::from)
    }

    /// The same on the account of the selected folder.
    async fn on_selected<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Account) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Stop> {
        let account = Arc::clone(&self.view()?.account);
        blocking::on(&account, work).await.map_err(Stop::from)
    }

    /// How this client is told of changes.
    fn telling(&self) -> Telling {
        let Modes { qresync, uid_only, .. } = self.modes;
        Telling { condstore: self.condstore || qresync, vanished: qresync || uid_only, uid_only }
    }

    /// Brings the view up to date and tells the client what changed.
    async fn sync(&mut self, tell_removals: bool) -> Result<(), End> {
        let telling = self.telling();
        let Some(view) = &mut self.selected else { return Ok(()) };
        let folder = view.folder.id;
        let latest = match view.account.image_in_memory(folder) {
            Some(image) => Ok(image),
            None => blocking::on(&view.account, move |account| account.image(folder)).await,
        };
        match latest {
            Ok(latest) => {
                let added = view.catch_up(latest, &mut self.conn.output, tell_removals, telling);
                self.fetch_watched(added).await?;
            }
            Err(StoreError::FolderGone) => return Err(End::Bye("the mailbox was deleted")),
            Err(StoreError::Retired) => return Err(End::Bye("this account was removed")),
            Err(why) => tracing::error!("{}: {why}", view.account.dir().display()),
        }
        if self.selected.as_ref().is_some_and(|view| view.owner.is_some()) {
            self.renew_rights().await?;
        }
        Ok(())
    }

    /// What an owner takes back is gone for those who have the folder open as well.
    async fn renew_rights(&mut self) -> Result<(), End> {
        let (Some(user), Some(view)) = (&self.user, &mut self.selected) else { return Ok(()) };
        let (folder, who) = (view.folder.clone(), user.address.to_string());
        let renewed = blocking::on(&view.account, move |account| place::rights_of(account, &folder, &who)).await;
        // When they cannot be read, nothing is allowed.
        view.rights = renewed.unwrap_or_default();
        if !view.rights.has(Rights::READ) {
            return Err(End::Bye("the mailbox is not shared with you any more"));
        }
        Ok(())
    }
}

/// The text of a response in the characters that RFC 3501 §9 (text) allows there; only IMAP4rev2 has others.
fn ascii(text: &str) -> String {
    let plain = |c: char| match c {
        '“' | '”' => '"',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

/// Returns when the account is retired.
async fn retired(user: &User) {
    let mut feed = user.account.watch();
    loop {
        if user.account.is_retired() {
            return;
        }
        if feed.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoFolder(_) => "[NONEXISTENT] ",
            StoreError::FolderExists(_) => "[ALREADYEXISTS] ",
            StoreError::BadName(_) | StoreError::Inbox(_) | StoreError::BelowItself(_) => "[CANNOT] ",
            StoreError::TooManyFolders
            | StoreError::OutOfUids
            | StoreError::TooLarge { .. }
            | StoreError::TooMany { .. } => "[LIMIT] ",
            StoreError::NoMessage => "[EXPUNGEISSUED] ",
            StoreError::FolderGone => return Stop::End(End::Bye("the mailbox was deleted")),
            StoreError::Retired => return Stop::End(End::Bye("this account was removed")),
            full if full.is_full() => return Stop::No("[OVERQUOTA] the server's disk is full".into()),
            StoreError::Io { .. } | StoreError::Index(_) | StoreError::Text(_) | StoreError::NotStored { .. } => {
                tracing::error!("the store failed: {error}");
                return Stop::No("[SERVERBUG] the store failed; the server's log says how".into());
            }
        };
        Stop::No(format!("{code}{error}"))
    }
}
