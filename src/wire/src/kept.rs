//! Connections to doors between two questions. A burst of mail asks a neighbour thousands of times; a connection for each
//! would wake two threads more at the other side before the question is read.
//!
//! What waits is given up when the next question to that door comes too late; until then it is a few closed sockets.

use base::Role;
use nix::sys::socket::{MsgFlags, recv};
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::BufReader;
use tokio::net::UnixStream;

/// How long a connection waits for the next question: well below [`crate::server::IDLE`], so that the answering side never
/// closes one that is just being used.
const USED_WITHIN: Duration = Duration::from_secs(20);
/// Connections that wait, for each door.
const KEPT: usize = 16;

/// A connection, with what was read of it ahead: most answers come in one piece.
pub type Stream = BufReader<UnixStream>;

/// The connections that wait, with since when.
#[derive(Debug, Default)]
pub struct Kept {
    idle: Mutex<HashMap<Role, Vec<(Instant, Stream)>>>,
}

impl Kept {
    /// One that still leads to a living neighbour, the one used last first.
    pub fn take(&self, door: Role) -> Option<Stream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(&door)?;
        waiting.retain(|(since, _)| since.elapsed() < USED_WITHIN);
        while let Some((_, stream)) = waiting.pop() {
            if is_open(&stream) {
                return Some(stream);
            }
        }
        None
    }

    /// Lets a connection wait whose answer was read to its end.
    pub fn keep(&self, door: Role, stream: Stream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.entry(door).or_default();
        if waiting.len() < KEPT && stream.buffer().is_empty() {
            waiting.push((Instant::now(), stream));
        }
    }
}

/// Whether the other side is there: a neighbour that ended or started anew has closed. Asks the kernel, not the runtime,
/// which may hear of it later.
fn is_open(stream: &Stream) -> bool {
    let mut octet = [0];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    matches!(recv(stream.get_ref().as_raw_fd(), &mut octet, flags), Err(nix::errno::Errno::EAGAIN))
}
