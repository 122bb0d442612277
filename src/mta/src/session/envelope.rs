//! MAIL and RCPT: who sends, and who may receive.

use super::{Kind, Next, Session, not_now, out_of_order, replies, too_large};
use crate::delivery::client::To;
use crate::forward::{self, Found, Onward, Passage};
use crate::limits;
use crate::proto::Reply;
use crate::proto::delivery_status::{Notify, ReportWish};
use crate::proto::envelope::{Body, MailFrom, RcptTo, Release};
use crate::queue::entry::Recipient;
use base::Address;
use wire::mailbox::Room;

/// A transaction as it grows.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub sender: Option<Address>,
    /// Octets, as the client announced them (RFC 1870).
    pub size: Option<u64>,
    pub body: Body,
    /// Whether SMTPUTF8 was said.
    pub utf8: bool,
    pub require_tls: bool,
    pub wish: ReportWish,
    pub release: Option<Release>,
    /// Each once.
    pub recipients: Vec<Addressee>,
}

/// A recipient that was taken, and whether it is one of this box.
#[derive(Debug, Clone)]
pub struct Addressee {
    pub address: Address,
    pub local: bool,
    pub notify: Notify,
    pub original: Option<String>,
    /// What is to be done beside storing it here.
    pub onward: Option<Onward>,
}

impl Addressee {
    /// As it is passed on, if it is.
    pub fn passage(&self) -> Option<Passage> {
        let (to, notify, original) = (self.address.clone(), self.notify, self.original.clone());
        self.onward.clone().map(|onward| Passage { to, onward, notify, original })
    }

    /// As a delivery wants it.
    pub fn to(&self) -> To {
        To { address: self.address.clone(), notify: self.notify, original: self.original.clone() }
    }

    /// As it waits in the queue.
    pub fn in_queue(&self, next_try: u64) -> Recipient {
        let original = self.original.clone();
        Recipient { notify: self.notify, original, ..Recipient::new(self.address.clone(), self.local, next_try) }
    }
}

impl Session {
    pub(super) async fn mail(&mut self, mail: MailFrom) -> Reply {
        if let Some(refusal) = self.may_begin() {
            return refusal;
        }
        if let Some(refusal) = self.may_ask(&mail) {
            return refusal;
        }
        if mail.size.is_some_and(|size| size > limits::MESSAGE as u64) {
            return too_large();
        }
        if let Err(refusal) = self.introduced() {
            return refusal;
        }
        if let Err(refusal) = self.house.check_disk(mail.size.unwrap_or_default()) {
            return refusal;
        }
        if let (Some(account), Some(sender)) = (&self.account, &mail.sender) {
            match self.house.neighbours.may_send(account, sender).await {
                Ok(true) => {}
                Ok(false) => {
                    return replies::NOT_THE_SENDER.with(&[account, sender]);
                }
                Err(error) => return not_now(&error),
            }
        }
        // A stranger who claims one of our own domains is for the filter to judge: SPF and DMARC tell.
        let MailFrom { sender, size, body, utf8, require_tls, wish, release, .. } = mail;
        let recipients = Vec::new();
        self.envelope = Some(Envelope { sender, size, body, utf8, require_tls, wish, release, recipients });
        replies::SENDER_OK.reply()
    }

    /// Refuses parameters that are not offered on this connection, or not so.
    fn may_ask(&self, mail: &MailFrom) -> Option<Reply> {
        let unknown =
            |name: &str| Some(replies::UNKNOWN_PARAMETER.with(&[&format!("parameter not recognised: {name}")]));
        let longest = limits::FUTURE_RELEASE.as_secs();
        let now = self.house.now();
        match mail {
            MailFrom { require_tls: true, .. } if self.tls.is_none() => unknown("REQUIRETLS, which stands inside TLS"),
            MailFrom { release: Some(_), .. } if self.kind != Kind::Submission => unknown("HOLDFOR and HOLDUNTIL"),
            MailFrom { release: Some(release), .. } if release.at(now) > now.saturating_add(longest) => {
                Some(replies::TOO_FAR_AHEAD.with(&[&(longest / 86_400)]))
            }
            MailFrom { path_is_utf8: true, utf8: false, .. } => Some(replies::NEEDS_SMTPUTF8.reply()),
            _ => None,
        }
    }

    fn may_begin(&self) -> Option<Reply> {
        match self.kind {
            _ if self.hello.is_none() => Some(out_of_order("EHLO or HELO comes first")),
            _ if self.envelope.is_some() => Some(out_of_order("one message at a time")),
            Kind::Submission if self.tls.is_none() => Some(replies::TLS_FIRST.reply()),
            Kind::Submission if self.account.is_none() => Some(replies::LOGIN_FIRST.reply()),
            _ => None,
        }
    }

    pub(super) async fn rcpt(&mut self, rcpt: RcptTo) -> Next {
        let Some(envelope) = &self.envelope else { return Next::Say(out_of_order("MAIL comes first")) };
        if self.chunks.have_begun() {
            return Next::Say(out_of_order("the message has begun"));
        }
        if rcpt.path_is_utf8 && !envelope.utf8 {
            return Next::Say(replies::NEEDS_SMTPUTF8.reply());
        }
        let Some(address) = rcpt.recipient.address(&self.house.home) else {
            return Next::Say(replies::BAD_ADDRESS.with(&[&"this is not an address"]));
        };
        self.asked_for = Some(address.clone());
        if envelope.recipients.iter().any(|known| known.address == address) {
            return Next::Say(replies::RECIPIENT_OK.reply());
        }
        if envelope.recipients.len() >= limits::RECIPIENTS {
            return Next::Say(replies::TOO_MANY_RECIPIENTS.reply());
        }
        let sender = envelope.sender.clone();
        if let Err(refusal) = self.welcome(&address).await {
            return Next::Say(refusal);
        }
        let (local, onward) = match forward::find(&self.house, &address, self.account.is_some()).await {
            Ok(Found::Mailboxes(accounts)) => {
                if let Some(reply) = self.no_room(&accounts).await {
                    return Next::Say(reply);
                }
                (true, None)
            }
            Ok(Found::Onward(onward)) => {
                if let Some(reply) = forward::may_not_write(&onward, self.account.as_ref(), sender.as_ref()) {
                    return Next::Say(reply);
                }
                (onward.is_local(), Some(onward))
            }
            Ok(Found::Refused(reply)) => return Next::Say(reply),
            Ok(Found::Elsewhere) if self.account.is_some() => (false, None),
            Ok(Found::Elsewhere) => {
                tracing::info!("{} wanted to relay to {address}", self.client);
                return Next::Say(replies::NO_RELAY.with(&[&address]));
            }
            Ok(Found::Unknown) => return self.unknown_recipient(&address).await,
            Err(error) => return Next::Say(not_now(&error)),
        };
        if let Some(envelope) = &mut self.envelope {
            let (notify, original) = (rcpt.notify, rcpt.original);
            envelope.recipients.push(Addressee { address, local, notify, original, onward });
        }
        Next::Say(replies::RECIPIENT_OK.reply())
    }

    /// The refusal for a recipient whose mailbox has no room (RFC 5321 §4.2.3, RFC 3463 §3.3): for now where nothing
    /// fits any more, for good where only this message is too large. An alias of several is for the queue to sort out.
    async fn no_room(&self, accounts: &[Address]) -> Option<Reply> {
        let [account] = accounts else { return None };
        let size = self.envelope.as_ref().and_then(|envelope| envelope.size).unwrap_or(0);
        match self.house.neighbours.room_for(account, size).await {
            Room::Enough => None,
            Room::Full { words, even_for_small_mail: true } => Some(replies::MAILBOX_FULL.with(&[&words])),
            Room::Full { words, .. } => Some(replies::DOES_NOT_FIT.with(&[&words])),
        }
    }

    /// Each further wrong guess takes longer, and after some the connection ends.
    async fn unknown_recipient(&mut self, address: &Address) -> Next {
        let reply = replies::NO_SUCH_MAILBOX.with(&[address]);
        if self.account.is_some() {
            return Next::Say(reply);
        }
        let pause = limits::UNKNOWN_RECIPIENT_PAUSE.saturating_mul(u32::try_from(self.counts.unknown).unwrap_or(0));
        tokio::time::sleep(pause.min(limits::LONGEST_PAUSE)).await;
        self.counts.unknown += 1;
        if self.counts.unknown >= limits::UNKNOWN_RECIPIENTS {
            tracing::info!("{} asked for {} unknown recipients; closing", self.client, self.counts.unknown);
            return Next::Close(replies::TOO_MANY_UNKNOWN.with(&[address]));
        }
        Next::Say(reply)
    }
}
