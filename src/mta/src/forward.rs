//! Passing mail on to other servers: aliases that lead outside, scripts that redirect, and bounces on their way back.
//!
//! What is passed on bears `Delivered-To` with the alias, by which a circle is stopped; it is sealed (RFC 8617), so that
//! the next server can believe what was found out here; and its sender is rewritten (`srs`), so that SPF fits.
//!
//! Invariants:
//! - Mail that is held for junk is never passed on. It goes to the alias's mailboxes here; where there are none, it is
//!   refused in the session, so that an honest sender learns of it.
//! - All that can be refused is refused, and all neighbours are asked, before anything is stored ([`prepare`]). Then the
//!   mailboxes here get their copies; when they have them, the rest is queued ([`commit`]). The mailboxes come first
//!   because they may refuse, and what they say is the sender's reply; the queue hardly ever fails, and only when it does
//!   after that does a sender's next try make a second copy. The other way round each full mailbox would.

use crate::callout::Standing;
use crate::house::House;
use crate::list;
use crate::message::Message;
use crate::neighbours::Neighbours;
use crate::proto::Reply;
use crate::proto::delivery_status::{Notify, ReportWish};
use crate::queue::entry::{Needs, Recipient};
use crate::queue::{Outgoing, new_id};
use crate::session::replies;
use crate::srs::SrsError;
use base::Address;
use std::sync::Arc;
use wire::WireError;
use wire::directory::{BackupMx, Forwarding, Resolution, Writers};
use wire::mta::{Arrival, Step, Way, What};

/// Where an address leads, as sessions ask it.
#[derive(Debug, Clone)]
pub enum Found {
    /// To these accounts of this box.
    Mailboxes(Vec<Address>),
    Onward(Onward),
    Elsewhere,
    Unknown,
    /// It is an address of ours that is no good any more.
    Refused(Reply),
}

/// What is to be done with a message beyond storing it here.
#[derive(Debug, Clone)]
pub enum Onward {
    Alias(Forwarding),
    /// A bounce to a message that was passed on: back to who wrote that.
    Back(Address),
    /// A post to a list, or a letter to its service; the address as it was written.
    List(Address),
    /// For the primary server of a domain that this box is backup for.
    Backup,
}

impl Onward {
    /// Whether mailboxes of this box get the message too.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Alias(forwarding) if !forwarding.accounts.is_empty())
    }
}

/// One recipient that a message is passed on for.
#[derive(Debug, Clone)]
pub struct Passage {
    pub to: Address,
    pub onward: Onward,
    pub notify: Notify,
    pub original: Option<String>,
}

/// What is known of a message that is to be passed on.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    pub id: &'a str,
    pub sender: Option<&'a Address>,
    /// The account that handed it in.
    pub account: Option<&'a Address>,
    /// Who is shown to have written it; `None` when nobody knows.
    pub author: Option<&'a Address>,
    pub junk: bool,
    /// Whether the author's domain asks to refuse what others send in its name.
    pub strict: bool,
    pub needs: Needs,
    pub wish: &'a ReportWish,
    /// When it may leave, in seconds since 1970.
    pub due: u64,
}

/// All that is to be queued, ready.
#[derive(Debug, Default)]
pub struct Prepared {
    entries: Vec<(Outgoing, Arc<Message>, Address)>,
    posts: Vec<list::Work>,
}

/// Looks an address up. `inside`: for an account of this box, which sends to a backup domain as to any other.
pub async fn find(house: &House, address: &Address, inside: bool) -> Result<Found, WireError> {
    let resolution = house.neighbours.resolve(address).await?;
    let ours = !matches!(resolution, Resolution::Elsewhere | Resolution::BackupFor(_));
    if ours && let Some(undone) = house.neighbours.srs.undo(address.local(), base::time::now_unix()) {
        return Ok(match undone {
            Ok(real) => Found::Onward(Onward::Back(real)),
            Err(error) => Found::Refused(no_way_back(error)),
        });
    }
    Ok(match resolution {
        Resolution::Accounts(accounts) => Found::Mailboxes(accounts),
        Resolution::Alias(forwarding) => Found::Onward(Onward::Alias(forwarding)),
        Resolution::List(_) => Found::Onward(Onward::List(address.clone())),
        Resolution::BackupFor(_) if inside => Found::Elsewhere,
        Resolution::BackupFor(backup) => as_backup(house, address, &backup).await,
        Resolution::Unknown => Found::Unknown,
        Resolution::Elsewhere => Found::Elsewhere,
    })
}

/// Mail for another server's domain is taken for those that its server knows.
async fn as_backup(house: &House, address: &Address, backup: &BackupMx) -> Found {
    match house.callout.ask(&backup.primary, address).await {
        Standing::Known => Found::Onward(Onward::Backup),
        Standing::Unknown => Found::Unknown,
        Standing::Unsure => {
            let words = format!("{} is away and has not named {address} before; try again later", backup.primary);
            Found::Refused(replies::passed_on(450, "4.4.1", words))
        }
    }
}

fn no_way_back(error: SrsError) -> Reply {
    let status = if error == SrsError::Expired { "5.1.6" } else { "5.1.1" };
    replies::passed_on(550, status, error.to_string())
}

/// The refusal for somebody who may not write there, as far as that can be told before the message is here.
pub fn may_not_write(onward: &Onward, account: Option<&Address>, sender: Option<&Address>) -> Option<Reply> {
    let Onward::Alias(forwarding) = onward else { return None };
    let refusal = || replies::passed_on(550, "5.7.2", format!("{} takes no mail from you", forwarding.alias));
    match &forwarding.writers {
        _ if account.is_some() => None,
        Writers::Everyone => None,
        Writers::Inside => Some(refusal()),
        Writers::Listed(listed) => {
            let named = sender.is_some_and(|sender| listed.contains(&sender.account()));
            (!named).then(refusal)
        }
    }
}

/// Makes everything ready that is to be passed on, or says why the message is refused.
pub async fn prepare(
    house: &House,
    origin: &Origin<'_>,
    passages: &[Passage],
    message: &Message,
) -> Result<Prepared, Reply> {
    let mut prepared = Prepared::default();
    for passage in passages {
        if origin.junk && !passage.onward.is_local() {
            let words = format!("this looks like spam, and spam for {} is not passed on", passage.to);
            return Err(replies::passed_on(550, "5.7.1", words));
        }
        match &passage.onward {
            Onward::Alias(forwarding) => {
                check_alias(origin, forwarding, message)?;
                if !origin.junk && !forwarding.outside.is_empty() {
                    prepared.entries.push(by_alias(house, origin, passage, forwarding, message).await?);
                }
            }
            Onward::Back(real) => prepared.entries.push(back(house, origin, passage, real, message).await?),
            Onward::List(to) => prepared.posts.push(list::prepare(house, origin, to, message).await?),
            Onward::Backup => prepared.entries.push(for_primary(origin, passage, message)),
        }
    }
    Ok(prepared)
}

/// Queues what was made ready. When this returns `Ok`, all of it is durable.
pub async fn commit(house: &Arc<House>, origin: &Origin<'_>, prepared: Prepared) -> Result<(), Reply> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!("{}: what is to be passed on cannot be queued: {error}", origin.id);
        replies::QUEUE_NOT_NOW.reply()
    };
    for (outgoing, message, whose) in prepared.entries {
        let arrival = arrival(origin, &outgoing, &message, &whose);
        let to: Vec<String> = outgoing.recipients.iter().map(|to| to.address.to_string()).collect();
        house.queue.add(outgoing, message).await.map_err(|error| failed(&error))?;
        let words = format!("passed on to {} as {}", to.join(", "), arrival.id);
        tracing::info!("{}: {words}", origin.id);
        house.history.step(origin.id, Some(&whose), Step::new(What::Forwarded, words));
        house.history.arrived(arrival);
    }
    for post in prepared.posts {
        list::commit(house, origin, post).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn check_alias(origin: &Origin<'_>, forwarding: &Forwarding, message: &Message) -> Result<(), Reply> {
    let alias = &forwarding.alias;
    if has_been_at(message, alias) {
        return Err(replies::LOOP.with(&[&format!("this message has been at {alias} before: a loop")]));
    }
    match &forwarding.writers {
        Writers::Listed(listed) if origin.account.is_none() => {
            let shown = origin.author.is_some_and(|author| listed.contains(&author.account()));
            let words =
                || format!("{alias} takes mail from a few only, and nothing shows that this is from one of them");
            if shown { Ok(()) } else { Err(replies::passed_on(550, "5.7.2", words())) }
        }
        _ => Ok(()),
    }
}

/// Whether the message bears the mark of this alias.
fn has_been_at(message: &Message, alias: &Address) -> bool {
    let name = alias.to_string();
    message.fields().any(|field| field.is("Delivered-To") && field.value().eq_ignore_ascii_case(&name))
}

async fn by_alias(
    house: &House,
    origin: &Origin<'_>,
    passage: &Passage,
    forwarding: &Forwarding,
    message: &Message,
) -> Result<(Outgoing, Arc<Message>, Address), Reply> {
    let alias = &forwarding.alias;
    let mut message = message.clone();
    clean(&mut message);
    message.prepend(&format!("Delivered-To: {alias}\r\n"));
    let seal = house.neighbours.seal(alias.domain(), &message, &[]).await.map_err(|error| not_now(&error))?;
    message.prepend(&seal);
    let sender = house.neighbours.sender_of_forwarded(origin.sender, alias).await.map_err(|error| not_now(&error))?;
    let recipients = forwarding.outside.iter().map(|to| recipient(passage, to, false, origin.due)).collect();
    Ok((outgoing(origin, sender, recipients), Arc::new(message), alias.clone()))
}

async fn back(
    house: &House,
    origin: &Origin<'_>,
    passage: &Passage,
    real: &Address,
    message: &Message,
) -> Result<(Outgoing, Arc<Message>, Address), Reply> {
    let mut message = message.clone();
    clean(&mut message);
    // A real bounce has no sender. What somebody else writes to such an address is forwarded like any mail.
    let sender = house.neighbours.sender_of_forwarded(origin.sender, &passage.to).await;
    let sender = sender.map_err(|error| not_now(&error))?;
    let local = house.neighbours.is_local(real).await.map_err(|error| not_now(&error))?;
    let recipients = vec![recipient(passage, real, local, origin.due)];
    Ok((outgoing(origin, sender, recipients), Arc::new(message), passage.to.clone()))
}

/// Mail for another server's domain stays as it is: this box is a station on its way, named in Received.
fn for_primary(origin: &Origin<'_>, passage: &Passage, message: &Message) -> (Outgoing, Arc<Message>, Address) {
    let mut message = message.clone();
    message.retain(|field| !is_ours(field.name));
    let recipients = vec![recipient(passage, &passage.to, false, origin.due)];
    (outgoing(origin, origin.sender.cloned(), recipients), Arc::new(message), passage.to.clone())
}

fn recipient(passage: &Passage, address: &Address, local: bool, due: u64) -> Recipient {
    let original = passage.original.clone().or_else(|| Some(format!("rfc822;{}", passage.to)));
    Recipient { notify: passage.notify, original, ..Recipient::new(address.clone(), local, due) }
}

fn outgoing(origin: &Origin<'_>, sender: Option<Address>, recipients: Vec<Recipient>) -> Outgoing {
    Outgoing {
        judged: true,
        needs: origin.needs,
        wish: origin.wish.clone(),
        account: origin.account.cloned(),
        ..Outgoing::new(new_id(), sender, recipients)
    }
}

/// What the filter said is nobody else's business, and the return path is written by whoever delivers last.
pub fn clean(message: &mut Message) {
    message.retain(|field| !is_ours(field.name) && !field.is("Return-Path"));
}

fn is_ours(name: &str) -> bool {
    name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("X-Mailstead-"))
}

fn arrival(origin: &Origin<'_>, outgoing: &Outgoing, message: &Message, whose: &Address) -> Arrival {
    let value = |name: &str| message.fields().find(|field| field.is(name)).map(|field| field.value());
    Arrival {
        id: outgoing.id.clone(),
        at: base::time::now_unix(),
        way: Way::Forwarded,
        client: None,
        helo: None,
        tls: None,
        account: Some(origin.account.unwrap_or(whose).clone()),
        sender: outgoing.sender.clone(),
        recipients: outgoing.recipients.iter().map(|to| to.address.clone()).collect(),
        subject: value("Subject"),
        message_id: value("Message-ID"),
        bytes: message.size() as u64,
        judged: None,
    }
}

fn not_now(error: &WireError) -> Reply {
    tracing::warn!("nothing is passed on just now: {error}");
    replies::NOT_NOW.reply()
}

impl Neighbours {
    /// The sender that a forwarded message gets: none for a report, its own where it is one of ours (SPF fits already),
    /// else the rewritten one. One too long to be rewritten gives way to the alias, whose readers get the report then.
    pub async fn sender_of_forwarded(
        &self,
        sender: Option<&Address>,
        alias: &Address,
    ) -> Result<Option<Address>, WireError> {
        let Some(sender) = sender else { return Ok(None) };
        if self.is_local(sender).await? {
            return Ok(Some(sender.clone()));
        }
        let rewritten = self.srs.rewrite(sender, alias.domain(), base::time::now_unix());
        Ok(Some(rewritten.unwrap_or_else(|| alias.clone())))
    }

    /// Who gets a message of the box itself that is to go to an address: aliases followed, rewritten senders undone. An
    /// address that is unknown stays, and the mailbox says so.
    pub async fn recipients(&self, address: &Address, now: u64) -> Result<Vec<Recipient>, WireError> {
        let resolution = self.resolve(address).await?;
        if !matches!(resolution, Resolution::Elsewhere | Resolution::BackupFor(_))
            && let Some(Ok(real)) = self.srs.undo(address.local(), now)
        {
            let local = self.is_local(&real).await?;
            return Ok(vec![Recipient::new(real, local, now)]);
        }
        Ok(match resolution {
            Resolution::Elsewhere | Resolution::BackupFor(_) => vec![Recipient::new(address.clone(), false, now)],
            Resolution::Alias(forwarding) => {
                let local = (!forwarding.accounts.is_empty()).then(|| Recipient::new(address.clone(), true, now));
                let outside = forwarding.outside.iter().map(|to| Recipient::new(to.clone(), false, now));
                local.into_iter().chain(outside).collect()
            }
            _ => vec![Recipient::new(address.clone(), true, now)],
        })
    }
}

/// The recipients of an account's message, for its own entry in the queue: what is behind an alias joins them, each
/// once, under the sender that the account chose. What has to be passed on by other rules is left for [`prepare`].
pub fn expand(recipients: Vec<(Recipient, Option<&Onward>)>) -> Vec<Recipient> {
    let mut all: Vec<Recipient> = Vec::with_capacity(recipients.len());
    let mut add = |recipient: Recipient| {
        if !all.iter().any(|known| known.address == recipient.address) {
            all.push(recipient);
        }
    };
    for (recipient, onward) in recipients {
        match onward {
            None => add(recipient),
            Some(Onward::Alias(forwarding)) => {
                let original = recipient.original.clone().or_else(|| Some(format!("rfc822;{}", recipient.address)));
                for to in &forwarding.outside {
                    add(Recipient {
                        address: to.clone(),
                        local: false,
                        original: original.clone(),
                        ..recipient.clone()
                    });
                }
                if recipient.local {
                    add(recipient);
                }
            }
            Some(Onward::Back(_) | Onward::List(_) | Onward::Backup) => {}
        }
    }
    all
}
