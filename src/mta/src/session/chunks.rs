//! A message that comes in pieces of announced length (RFC 3030 BDAT).
//!
//! Invariant: exactly the announced octets are read off the connection, whether the chunk is wanted or not; what follows
//! them is the next command. A chunk that is not wanted ends the transaction, so those that were sent along with it are
//! not wanted either.

use super::{Next, Session, envelope::Envelope, out_of_order, replies, too_large};
use crate::limits;
use crate::memory::Share;
use crate::proto::Reply;
use crate::proto::dot::{self, DotError};
use crate::proto::envelope::Body;

/// What has come so far, and what is coming.
#[derive(Debug, Default)]
pub struct Chunks {
    bytes: Vec<u8>,
    share: Option<Share>,
    /// The chunk that is being read.
    coming: Coming,
    /// Whether there was one before.
    begun: bool,
}

#[derive(Debug, Default)]
struct Coming {
    octets: u64,
    last: bool,
    /// Why it is not wanted.
    refusal: Option<Reply>,
}

impl Chunks {
    /// Whether the message has begun, and only more of it may come.
    pub fn have_begun(&self) -> bool {
        self.begun
    }
}

impl Session {
    pub(super) async fn bdat(&mut self, octets: u64, last: bool) -> Next {
        // So much is not even read to be thrown away.
        if octets > 4 * limits::MESSAGE as u64 {
            self.forget();
            return Next::Close(too_large());
        }
        let refusal = self.refuse_chunk(octets).await;
        if refusal.is_some() {
            self.forget();
        } else {
            self.chunks.begun = true;
        }
        self.chunks.coming = Coming { octets, last, refusal };
        Next::Chunk { octets }
    }

    async fn refuse_chunk(&mut self, octets: u64) -> Option<Reply> {
        let Some(envelope) = &self.envelope else { return Some(out_of_order("MAIL comes first")) };
        if envelope.recipients.is_empty() {
            return Some(replies::NO_RECIPIENTS.reply());
        }
        let so_far = self.chunks.bytes.len() as u64;
        if so_far.saturating_add(octets) > limits::MESSAGE as u64 {
            return Some(too_large());
        }
        if !self.chunks.begun
            && let Some(refusal) = self.braked().await
        {
            return Some(refusal);
        }
        None
    }

    /// Takes a piece of the chunk that is coming. It counts when it is here: what is only announced must not keep
    /// others' mail out.
    pub fn piece(&mut self, bytes: &[u8]) {
        if self.chunks.coming.refusal.is_some() {
            return;
        }
        let wanted = self.chunks.bytes.len() + bytes.len();
        if self.chunks.share.get_or_insert_with(|| self.house.memory.share()).grow(wanted) {
            self.chunks.bytes.extend_from_slice(bytes);
            return;
        }
        let coming = std::mem::take(&mut self.chunks.coming);
        self.forget();
        self.chunks.coming = Coming { refusal: Some(replies::NO_MEMORY.reply()), ..coming };
    }

    /// The chunk is here.
    pub async fn chunk(&mut self) -> Next {
        let coming = std::mem::take(&mut self.chunks.coming);
        if let Some(refusal) = coming.refusal {
            self.note(&refusal, None);
            return self.count_error(Next::Say(refusal));
        }
        if !coming.last {
            return Next::Say(replies::CHUNK_OK.with(&[&coming.octets]));
        }
        let chunks = std::mem::take(&mut self.chunks);
        let Some(envelope) = self.envelope.take() else { return Next::Say(out_of_order("MAIL comes first")) };
        if let Err(error) = form(&envelope, &chunks.bytes) {
            let refusal = replies::BAD_FORM.with(&[&error]);
            self.note_message(&envelope, &refusal);
            return Next::Say(refusal);
        }
        let reply = self.finish(envelope, chunks.bytes, chunks.share).await;
        Next::Say(reply)
    }
}

/// A message that is not announced as binary has lines like any other. Its length tells where it ends, so a bare newline
/// smuggles nothing past us; but a server after us, which gets it by DATA, would be told something else.
fn form(envelope: &Envelope, bytes: &[u8]) -> Result<(), DotError> {
    if envelope.body == Body::Binary { Ok(()) } else { dot::check(bytes) }
}
