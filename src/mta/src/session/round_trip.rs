//! The status checks' own message ([`crate::round_trips`]): it has come the whole way of a stranger's, and ends here.

use super::Session;
use super::envelope::Envelope;
use super::told;
use crate::message::Message;
use std::time::Instant;
use wire::filter::{REPORTS_NAME, Verdict};
use wire::mta::{Came, ROUND_TRIP_FIELD};

/// Longest token that is looked for.
const TOKEN: usize = 64;

impl Session {
    /// Whether a message is a round trip that is waited for; then it is noted.
    pub(super) fn is_round_trip(&self, envelope: &Envelope, verdict: &Verdict, message: &Message) -> bool {
        let [only] = envelope.recipients.as_slice() else { return false };
        if only.address.account().local() != REPORTS_NAME {
            return false;
        }
        let Some(token) = token(message) else { return false };
        let came = Came { client: self.client, tls: self.tls.clone(), judged: told::judged(verdict) };
        let waited_for = self.house.round_trips.came(&token, came, Instant::now());
        if waited_for {
            tracing::debug!("a round trip of the status checks has come from {}", self.client);
        }
        waited_for
    }
}

fn token(message: &Message) -> Option<String> {
    let field = message.fields().find(|field| field.is(ROUND_TRIP_FIELD))?;
    let (_, value) = std::str::from_utf8(field.bytes).ok()?.split_once(':')?;
    Some(value.trim().to_owned()).filter(|token| !token.is_empty() && token.len() <= TOKEN)
}
