//! Backup for another server's domain: for each recipient the primary server is asked whether it would take mail for it,
//! so that nothing is accepted that could only be sent back to a forged sender.
//!
//! While the primary is away, those are taken whom it has named in the last [`limits::CALLOUT_KEPT`]; they are kept in
//! `.backup/known.json`. Everybody else is told to come again, and by then the primary may be back.

use crate::channel::Channel;
use crate::limits;
use crate::proto::line::Line;
use crate::proto::reply::{Reply, ReplyReader};
use base::{Address, Domain, durable};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::net::TcpStream;
use tokio::time::timeout;

type Addresses = Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>>;
type Lookup = Box<dyn Fn(Domain) -> Addresses + Send + Sync>;

/// What is known of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Known,
    Unknown,
    /// The primary cannot be asked just now, and has not named it before.
    Unsure,
}

/// Asks primary servers, and remembers what they say.
pub struct Callout {
    own: Domain,
    port: u16,
    file: PathBuf,
    lookup: OnceLock<Lookup>,
    /// The recipients that were named, and when last; seconds since 1970.
    good: Mutex<HashMap<Address, u64>>,
    bad: Mutex<HashMap<Address, u64>>,
}

impl std::fmt::Debug for Callout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callout").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Callout {
    /// Takes up what was known. A file that cannot be read is begun anew: it only spares asking.
    pub fn open(file: PathBuf, own: Domain, port: u16) -> Self {
        let good = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{} cannot be read and is begun anew: {error}", file.display());
                HashMap::new()
            }),
            Err(_) => HashMap::new(),
        };
        Self { own, port, file, lookup: OnceLock::new(), good: Mutex::new(good), bad: Mutex::default() }
    }

    /// Says how names are looked up; before that every primary is away.
    pub fn look_up_by(&self, lookup: Lookup) {
        let _ = self.lookup.set(lookup);
    }

    /// Whether the primary server knows a recipient.
    pub async fn ask(&self, primary: &Domain, address: &Address) -> Standing {
        let now = base::time::now_unix();
        let within = |known: &Mutex<HashMap<Address, u64>>, age: std::time::Duration| {
            lock(known).get(address).is_some_and(|at| now.saturating_sub(*at) < age.as_secs())
        };
        if within(&self.good, limits::CALLOUT_FRESH) {
            return Standing::Known;
        }
        if within(&self.bad, limits::CALLOUT_FRESH) {
            return Standing::Unknown;
        }
        match self.inquire(primary, address).await {
            Some(reply) if reply.is_success() => {
                self.remember(address, now).await;
                Standing::Known
            }
            Some(reply) if reply.is_permanent() => {
                let mut bad = lock(&self.bad);
                if bad.len() >= limits::CALLOUT_ADDRESSES {
                    bad.clear();
                }
                bad.insert(address.clone(), now);
                lock(&self.good).remove(address);
                Standing::Unknown
            }
            _ if within(&self.good, limits::CALLOUT_KEPT) => Standing::Known,
            _ => Standing::Unsure,
        }
    }

    async fn remember(&self, address: &Address, now: u64) {
        let bytes = {
            let mut good = lock(&self.good);
            good.retain(|_, at| now.saturating_sub(*at) < limits::CALLOUT_KEPT.as_secs());
            if good.len() >= limits::CALLOUT_ADDRESSES {
                return;
            }
            good.insert(address.clone(), now);
            serde_json::to_vec(&*good)
        };
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || {
            if let Some(folder) = file.parent() {
                durable::create_dir_all(folder, 0o700)?;
            }
            durable::write(&file, &bytes?, 0o600)
        });
        if let Err(error) = written.await.map_err(io::Error::other).and_then(|written| written) {
            tracing::warn!("who is known at a primary server cannot be written down: {error}");
        }
    }

    /// The primary's reply to RCPT; `None` when it does not come to that.
    async fn inquire(&self, primary: &Domain, address: &Address) -> Option<Reply> {
        let lookup = self.lookup.get()?;
        let asking = async {
            for server in lookup(primary.clone()).await.into_iter().take(limits::CALLOUT_SERVERS) {
                match self.converse(server, address).await {
                    Ok(reply) => return reply,
                    Err(error) => tracing::info!("{primary} [{server}] cannot be asked about {address}: {error}"),
                }
            }
            None
        };
        timeout(limits::CALLOUT_WITHIN, asking).await.ok().flatten()
    }

    async fn converse(&self, server: IpAddr, address: &Address) -> io::Result<Option<Reply>> {
        let stream = TcpStream::connect(SocketAddr::new(server, self.port)).await?;
        let mut channel = Channel::new(stream);
        let greeting = reply(&mut channel).await?;
        if greeting.code != 220 {
            return Ok(None);
        }
        // The null sender, as for a report: a server that knows the recipient must take those (RFC 5321 §4.5.5).
        for command in [format!("EHLO {}", self.own), "MAIL FROM:<>".to_owned()] {
            if !say(&mut channel, &command).await?.is_success() {
                return Ok(None);
            }
        }
        let answer = say(&mut channel, &format!("RCPT TO:<{address}>")).await?;
        let _ = say(&mut channel, "QUIT").await;
        Ok(Some(answer))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn say(channel: &mut Channel, command: &str) -> io::Result<Reply> {
    channel.output().extend_from_slice(command.as_bytes());
    channel.output().extend_from_slice(b"\r\n");
    channel.flush(limits::WRITE_WITHIN).await?;
    reply(channel).await
}

async fn reply(channel: &mut Channel) -> io::Result<Reply> {
    let mut reader = ReplyReader::default();
    loop {
        let line = channel.line(limits::REPLY_LINE, limits::CALLOUT_WITHIN).await?;
        let Some(Line::Whole(line)) = line else { return Err(io::ErrorKind::InvalidData.into()) };
        if let Some(reply) = reader.feed(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
            return Ok(reply);
        }
    }
}
