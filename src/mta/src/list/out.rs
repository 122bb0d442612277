//! Posts and letters on their way into the queue.

use super::letter::{self, Letter};
use super::role::{Role, tagged};
use super::{BOUNCES, LEAVE, Post, blocking, dress, member_token};
use crate::forward::{self, Origin};
use crate::history;
use crate::house::House;
use crate::limits;
use crate::message::Message;
use crate::neighbours::Neighbours;
use crate::queue::entry::Recipient;
use crate::queue::{Outgoing, new_id};
use base::{Address, Domain};
use std::io;
use std::sync::Arc;
use wire::directory::{Bounced, MailingList};
use wire::mta::{Arrival, Way};

/// Puts a post on disk; from then on it goes out, whatever happens.
pub(super) async fn begin(house: &Arc<House>, post: Post, message: Message) -> io::Result<()> {
    let (here, id) = (Arc::clone(house), post.id.clone());
    blocking(move || here.lists.out.put(&post, &message)).await?;
    tokio::spawn(expand(Arc::clone(house), id));
    Ok(())
}

/// Takes up what was on its way out when the process ended.
pub fn resume(house: &Arc<House>) {
    match house.lists.out.all() {
        Ok(posts) => posts.into_iter().for_each(|post| drop(tokio::spawn(expand(Arc::clone(house), post.id)))),
        Err(error) => tracing::error!("list posts on their way out cannot be read: {error}"),
    }
}

/// Queues a copy for each member. What fails is tried again until it succeeds or the list is gone.
async fn expand(house: Arc<House>, id: String) {
    loop {
        match queue_copies(&house, &id).await {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("the list post {id} goes nowhere any more: {error}");
                break;
            }
            Err(error) => tracing::warn!("the list post {id} waits: {error}"),
        }
        tokio::time::sleep(limits::LIST_RETRY).await;
    }
    let here = Arc::clone(&house);
    let name = id.clone();
    if let Err(error) = blocking(move || here.lists.out.remove(&name)).await {
        tracing::error!("the list post {id} cannot be taken off the shelf: {error}");
    }
}

async fn queue_copies(house: &Arc<House>, id: &str) -> io::Result<()> {
    let (here, name) = (Arc::clone(house), id.to_owned());
    let (post, message, mut done) = blocking(move || {
        let (post, message) = here.lists.out.get(&name)?;
        let done = here.lists.out.done(&name)?;
        Ok((post, message, done))
    })
    .await?;
    let list = house.neighbours.list_of(&post.list).await.map_err(io::Error::other)?;
    let list =
        list.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no list {}", post.list)))?;
    // An author of this box needs no rewriting: the box signs in the name of the author's domain too.
    let own = match &post.author {
        Some(author) => house.neighbours.is_local(author).await.map_err(io::Error::other)?.then_some(author.domain()),
        None => None,
    };
    let dressed = dress::dress(&list, &message, post.strict && own.is_none());
    let received = message.into_bytes();
    let seal = house.neighbours.seal(list.address.domain(), &dressed, &received).await.map_err(io::Error::other)?;
    let left: Vec<Address> = post.members.iter().skip(done).cloned().collect();
    for member in left {
        queue_copy(house, &list, &post, &dressed, (&seal, own), &member).await?;
        done += 1;
        // A sudden end repeats no more than these few.
        if done % limits::LIST_NOTED_EVERY == 0 {
            let (here, name) = (Arc::clone(house), id.to_owned());
            blocking(move || here.lists.out.set_done(&name, done)).await?;
        }
    }
    Ok(())
}

async fn queue_copy(
    house: &Arc<House>,
    list: &MailingList,
    post: &Post,
    dressed: &Message,
    (seal, own): (&str, Option<&Domain>),
    member: &Address,
) -> io::Result<()> {
    let neighbours = &house.neighbours;
    let mut copy = dressed.clone();
    copy.prepend(&dress::way_out(&house.site, &list.address, &member_token(house, LEAVE, &list.address, member)));
    let mut signatures = neighbours.sign(list.address.domain(), &copy).await.map_err(io::Error::other)?;
    if let Some(own) = own.filter(|own| *own != list.address.domain()) {
        signatures.push_str(&neighbours.sign(own, &copy).await.map_err(io::Error::other)?);
    }
    copy.prepend(&format!("{seal}{signatures}"));
    let bounces = format!("bounces-{}", member_token(house, BOUNCES, &list.address, member));
    let recipients = neighbours.recipients(member, base::time::now_unix()).await.map_err(io::Error::other)?;
    let outgoing = Outgoing {
        needs: post.needs,
        ..Outgoing::new(format!("{}-{}", post.id, new_id()), tagged(&list.address, &bounces), recipients)
    };
    queue(house, list, outgoing, Arc::new(copy)).await
}

/// Queues what a list sends, and has the history know of it.
async fn queue(house: &Arc<House>, list: &MailingList, outgoing: Outgoing, message: Arc<Message>) -> io::Result<()> {
    let arrival = Arrival { account: Some(list.address.clone()), ..history::arrival(&message, &outgoing, Way::List) };
    house.queue.add(outgoing, message).await.map_err(io::Error::other)?;
    house.history.arrived(arrival);
    Ok(())
}

/// Signs and queues a letter of the list. Nobody is told when it fails.
pub(super) async fn write(house: &Arc<House>, list: &MailingList, letter: &Letter) -> io::Result<()> {
    let (recipients, message) = letter_message(&house.neighbours, &house.hostname, list, letter).await?;
    queue(house, list, Outgoing::new(new_id(), None, recipients), message).await
}

async fn letter_message(
    neighbours: &Neighbours,
    hostname: &Domain,
    list: &MailingList,
    letter: &Letter,
) -> io::Result<(Vec<Recipient>, Arc<Message>)> {
    let now = base::time::now_unix();
    let mut message = letter.message(list, hostname, &new_id(), now)?;
    let signature = neighbours.sign(list.address.domain(), &message).await.map_err(io::Error::other)?;
    message.prepend(&signature);
    let recipients = neighbours.recipients(&letter.to, now).await.map_err(io::Error::other)?;
    Ok((recipients, Arc::new(message)))
}

/// Passes a letter on to the moderators, as an alias would.
pub(super) async fn to_moderators(
    house: &Arc<House>,
    origin: &Origin<'_>,
    list: &MailingList,
    mut message: Message,
) -> io::Result<()> {
    forward::clean(&mut message);
    let neighbours = &house.neighbours;
    let seal = neighbours.seal(list.address.domain(), &message, &[]).await.map_err(io::Error::other)?;
    message.prepend(&seal);
    let sender = neighbours.sender_of_forwarded(origin.sender, &list.address).await.map_err(io::Error::other)?;
    let mut recipients = Vec::new();
    for moderator in &list.moderators {
        recipients.extend(neighbours.recipients(moderator, base::time::now_unix()).await.map_err(io::Error::other)?);
    }
    let outgoing = Outgoing { needs: origin.needs, ..Outgoing::new(new_id(), sender, recipients) };
    queue(house, list, outgoing, Arc::new(message)).await
}

/// What becomes of a failure that the box itself met with a member's copy.
#[derive(Debug)]
pub enum Bounce {
    /// The sender is not a list's.
    NotOurs,
    /// It was counted; these letters follow from it.
    Counted(Vec<(Outgoing, Arc<Message>)>),
}

/// Counts a failed delivery where its sender is a list's address for bounces: no report has to be written for that.
pub async fn own_bounce(
    neighbours: &Neighbours,
    hostname: &Domain,
    sender: &Address,
    failed: bool,
) -> Result<Bounce, String> {
    let Some(Role::Bounces(token)) = Role::of(sender) else { return Ok(Bounce::NotOurs) };
    let words = |error: wire::WireError| error.to_string();
    let Some(list) = neighbours.list_of(sender).await.map_err(words)? else { return Ok(Bounce::NotOurs) };
    let name = list.address.to_string();
    let members = neighbours.members(&list.address).await.map_err(words)?;
    let member = members
        .into_iter()
        .find(|member| neighbours.tokens.fits(&token, BOUNCES, &[&name, &super::lower(&member.address)]));
    let Some(member) = member.filter(|_| failed) else { return Ok(Bounce::Counted(Vec::new())) };
    let mut letters = Vec::new();
    if neighbours.note_bounce(&list.address, &member.address).await.map_err(words)? == Bounced::Suspended {
        for moderator in &list.moderators {
            let letter = letter::suspended(&list, moderator, &member.address);
            let made = letter_message(neighbours, hostname, &list, &letter).await.map_err(|error| error.to_string())?;
            letters.push((Outgoing::new(new_id(), None, made.0), made.1));
        }
    }
    Ok(Bounce::Counted(letters))
}
