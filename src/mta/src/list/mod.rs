//! Mailing lists: who may post, what goes out to whom, and what a list answers.
//!
//! A post is on disk (`shelf`) before it is acknowledged, and goes when every member's copy is in the queue. Each member
//! has a copy of their own: with a sender by which a bounce tells whose it is, and a way out that needs no more than a
//! letter. Nobody gets a letter from a list who was not shown to have written to it (the filter's finding), so a list is
//! no means to trouble others.
//!
//! `role` is what a list's addresses mean, `token` what makes them safe, `dress` the headers, `letter` the words, `out`
//! how copies get into the queue, `shelf` the files.

mod dress;
mod letter;
mod out;
mod role;
mod shelf;
mod token;

pub use out::{Bounce, own_bounce, resume};
pub use shelf::{Post, Shelf};
pub use token::Tokens;

use crate::forward::Origin;
use crate::house::House;
use crate::limits;
use crate::message::Message;
use crate::proto::Reply;
use crate::queue::new_id;
use crate::session::replies;
use base::{Address, Paths};
use letter::Letter;
use role::Role;
use std::io;
use std::sync::Arc;
use wire::directory::{Bounced, MailingList, Member, Posting};
use wire::mta::{Step, What};

/// The purposes of tokens.
const JOIN: &str = "join";
const LEAVE: &str = "leave";
const BOUNCES: &str = "bounces";
const DECIDE: &str = "decide";
const DAY: u64 = 86_400;

/// What waits for moderators, and what is on its way out.
#[derive(Debug)]
pub struct Shelves {
    pub held: Shelf,
    pub out: Shelf,
}

impl Shelves {
    pub fn open(paths: &Paths) -> io::Result<Self> {
        let root = paths.queue().join(".lists");
        Ok(Self { held: Shelf::open(root.join("held"))?, out: Shelf::open(root.join("out"))? })
    }
}

/// What a letter to a list leads to.
#[derive(Debug)]
pub struct Work {
    list: MailingList,
    what: Deed,
}

#[derive(Debug)]
enum Deed {
    Send(Box<(Post, Message)>),
    Hold(Box<(Post, Message)>),
    Write(Letter),
    /// To the moderators, as it is.
    ToOwner(Message),
    Join(Address),
    Leave(Address),
    Bounced(Address),
    Approve(Post),
    Reject(Post),
}

fn refused(status: &str, words: impl Into<String>) -> Reply {
    replies::passed_on(550, status, words)
}

fn not_now(error: &dyn std::fmt::Display) -> Reply {
    tracing::warn!("a letter to a list is put off: {error}");
    replies::NOT_NOW.reply()
}

/// Decides what a letter to one of a list's addresses leads to, or why it is refused.
pub async fn prepare(house: &House, origin: &Origin<'_>, to: &Address, message: &Message) -> Result<Work, Reply> {
    let list = house.neighbours.list_of(to).await.map_err(|error| not_now(&error))?;
    let Some(list) = list else { return Err(replies::NO_SUCH_MAILBOX.with(&[to])) };
    let Some(role) = Role::of(to) else { return Err(replies::NO_SUCH_MAILBOX.with(&[to])) };
    let ask = Ask { house, origin, list: &list, message };
    let what = match role {
        Role::Post => ask.post().await?,
        Role::Owner => ask.to_owner()?,
        Role::Help => Deed::Write(letter::help(&list, ask.person()?)),
        Role::Subscribe => ask.subscribe()?,
        Role::Confirm(token) => ask.confirm(&token)?,
        Role::Unsubscribe => ask.unsubscribe().await?,
        Role::Leave(token) => Deed::Leave(ask.member(LEAVE, &token).await?),
        Role::Bounces(token) => {
            let member = ask.member(BOUNCES, &token).await?;
            match has_failed(message) {
                true => Deed::Bounced(member),
                false => return Err(refused("5.7.1", "this address takes reports on failed delivery only")),
            }
        }
        Role::Approve(token) => Deed::Approve(ask.held(&token)?),
        Role::Reject(token) => Deed::Reject(ask.held(&token)?),
    };
    Ok(Work { list, what })
}

/// What is asked of a list, and by whom.
struct Ask<'a> {
    house: &'a House,
    origin: &'a Origin<'a>,
    list: &'a MailingList,
    message: &'a Message,
}

impl Ask<'_> {
    fn is_automatic(&self) -> bool {
        let value = |name: &str| {
            self.message.fields().find(|field| field.is(name)).map(|field| field.value().to_ascii_lowercase())
        };
        self.origin.sender.is_none()
            || value("Auto-Submitted").is_some_and(|value| !value.starts_with("no"))
            || value("Precedence").is_some_and(|value| ["bulk", "junk", "list"].contains(&value.as_str()))
    }

    /// Who wrote, when that is shown and a person did.
    fn person(&self) -> Result<&Address, Reply> {
        if self.is_automatic() {
            return Err(refused("5.7.1", "automatic mail is not answered"));
        }
        let author = self.origin.author.ok_or_else(|| {
            refused(
                "5.7.1",
                "nothing shows that this is from the address it names (SPF, DKIM), so it is not acted upon",
            )
        })?;
        if !self.house.automatic.take(&self.list.address, 1, std::time::Instant::now()) {
            return Err(replies::BRAKED
                .with(&[&format!("{} has answered too much for now; try again later", self.list.address)]));
        }
        Ok(author)
    }

    async fn post(&self) -> Result<Deed, Reply> {
        let list = self.list;
        let here =
            |field: &crate::message::Field<'_>| field.is("List-Id") && role::is_id_of(&field.value(), &list.address);
        if self.message.fields().any(|field| here(&field)) {
            return Err(
                replies::LOOP.with(&[&format!("this message has been through {} before: a loop", list.address)])
            );
        }
        if self.origin.sender.is_none() || self.is_answer() {
            return Err(refused("5.7.1", format!("{} takes no automatic answers", list.address)));
        }
        if self.message.size() > limits::LIST_MESSAGE {
            let words = format!("a post to {} is no larger than {} MB", list.address, limits::LIST_MESSAGE >> 20);
            return Err(replies::passed_on(552, "5.3.4", words));
        }
        let members = self.members().await?;
        let is = |address: &Address| self.origin.author.is_some_and(|author| same(author, address));
        let moderator = list.moderators.iter().any(is);
        let member = members.iter().any(|member| is(&member.address));
        let free = match list.posting {
            Posting::Open => true,
            Posting::Members => moderator || member,
            Posting::Moderated => moderator,
        };
        let mut post = self.describe();
        if free {
            post.members = recipients(&members);
            return Ok(Deed::Send(Box::new((post, self.message.clone()))));
        }
        Ok(Deed::Hold(Box::new((post, self.message.clone()))))
    }

    fn is_answer(&self) -> bool {
        self.message
            .fields()
            .any(|field| field.is("Auto-Submitted") && field.value().to_ascii_lowercase().starts_with("auto-replied"))
    }

    fn describe(&self) -> Post {
        let value = |name: &str| self.message.fields().find(|field| field.is(name)).map(|field| shown(&field.value()));
        Post {
            id: new_id(),
            list: self.list.address.clone(),
            author: self.origin.author.cloned(),
            strict: self.origin.strict,
            needs: self.origin.needs,
            at: base::time::now_unix(),
            from: value("From").unwrap_or_default(),
            subject: value("Subject").unwrap_or_default(),
            members: Vec::new(),
        }
    }

    fn to_owner(&self) -> Result<Deed, Reply> {
        if self.is_automatic() {
            return Err(refused("5.7.1", "automatic mail is not passed on to the moderators"));
        }
        Ok(Deed::ToOwner(self.message.clone()))
    }

    fn subscribe(&self) -> Result<Deed, Reply> {
        let person = self.person()?;
        Ok(Deed::Write(letter::please_confirm(
            self.list,
            person,
            &self.join_token(person, base::time::now_unix() / DAY),
        )))
    }

    fn join_token(&self, person: &Address, day: u64) -> String {
        let (list, person, day) = (self.list.address.to_string(), lower(person), day.to_string());
        self.house.neighbours.tokens.make(JOIN, &[&list, &person, &day])
    }

    fn confirm(&self, token: &str) -> Result<Deed, Reply> {
        let person = self.person()?;
        let today = base::time::now_unix() / DAY;
        let fits =
            (0..=limits::LIST_CONFIRM_DAYS).any(|age| self.join_token(person, today.saturating_sub(age)) == token);
        match fits {
            true => Ok(Deed::Join(person.clone())),
            false => Err(refused("5.7.1", format!("this is not what {person} was sent to join, or it is too old"))),
        }
    }

    async fn unsubscribe(&self) -> Result<Deed, Reply> {
        let person = self.person()?;
        let members = self.members().await?;
        match members.iter().find(|member| same(&member.address, person)) {
            Some(member) => {
                let token = member_token(self.house, LEAVE, &self.list.address, &member.address);
                Ok(Deed::Write(letter::please_leave(self.list, &member.address, &token)))
            }
            None => Err(refused("5.1.1", format!("{person} is no member of {}", self.list.address))),
        }
    }

    async fn members(&self) -> Result<Vec<Member>, Reply> {
        self.house.neighbours.members(&self.list.address).await.map_err(|error| not_now(&error))
    }

    /// The member that a token stands for.
    async fn member(&self, purpose: &str, token: &str) -> Result<Address, Reply> {
        let list = &self.list.address;
        let found = member_of(self.house, purpose, list, self.members().await?, token);
        found.ok_or_else(|| refused("5.1.1", format!("this address of {list} is no good any more")))
    }

    /// The held post that a token stands for.
    fn held(&self, token: &str) -> Result<Post, Reply> {
        if self.is_automatic() {
            return Err(refused("5.7.1", "automatic mail decides nothing"));
        }
        let posts = self.house.lists.held.all().map_err(|error| not_now(&error))?;
        let fits = |post: &Post| {
            post.list == self.list.address && self.house.neighbours.tokens.fits(token, DECIDE, &[&post.id])
        };
        posts.into_iter().find(fits).ok_or_else(|| refused("5.1.1", "this has been decided already"))
    }
}

/// Does what was decided. When this returns `Ok`, a post is durable.
pub async fn commit(house: &Arc<House>, origin: &Origin<'_>, work: Work) -> io::Result<()> {
    let list = &work.list;
    let address = &list.address;
    let note = |words: String| {
        tracing::info!("{}: {words}", origin.id);
        house.history.step(origin.id, Some(address), Step::new(What::Forwarded, words));
    };
    match work.what {
        Deed::Send(post) => {
            let (post, message) = *post;
            note(format!("goes out to {} members as {}", post.members.len(), post.id));
            out::begin(house, post, message).await?;
        }
        Deed::Hold(post) => {
            let (post, message) = *post;
            note(format!("waits for a moderator as {}", post.id));
            hold(house, list, post, message).await?;
        }
        Deed::Write(letter) => out::write(house, list, &letter).await?,
        Deed::ToOwner(message) => out::to_moderators(house, origin, list, message).await?,
        Deed::Join(person) => {
            house.neighbours.subscribe(address, &person).await.map_err(io::Error::other)?;
            note(format!("{person} joined"));
            let token = member_token(house, LEAVE, address, &person);
            later(out::write(house, list, &letter::welcome(list, &person, &token)).await);
        }
        Deed::Leave(person) => {
            leave(house, list, &person).await?;
            note(format!("{person} left"));
        }
        Deed::Bounced(person) => {
            let bounced = house.neighbours.note_bounce(address, &person).await.map_err(io::Error::other)?;
            note(format!("mail to the member {person} came back"));
            if bounced == Bounced::Suspended {
                for moderator in &list.moderators {
                    later(out::write(house, list, &letter::suspended(list, moderator, &person)).await);
                }
            }
        }
        Deed::Approve(post) => approve(house, &post.id).await?,
        Deed::Reject(post) => reject(house, &post.id).await?,
    }
    Ok(())
}

async fn leave(house: &Arc<House>, list: &MailingList, person: &Address) -> io::Result<()> {
    house.neighbours.unsubscribe(&list.address, person).await.map_err(io::Error::other)?;
    later(out::write(house, list, &letter::goodbye(list, person)).await);
    Ok(())
}

/// Ends the membership for which a token was made, as a mail program's one click asks for (RFC 8058); `None` when the
/// token means nothing.
pub async fn leave_by_token(house: &Arc<House>, list: &Address, token: &str) -> io::Result<Option<Address>> {
    let Some(list) = house.neighbours.list_of(list).await.map_err(io::Error::other)? else { return Ok(None) };
    let members = house.neighbours.members(&list.address).await.map_err(io::Error::other)?;
    let Some(person) = member_of(house, LEAVE, &list.address, members, token) else { return Ok(None) };
    leave(house, &list, &person).await?;
    tracing::info!("{person} left {} by one click", list.address);
    Ok(Some(person))
}

/// The member that a token stands for.
fn member_of(house: &House, purpose: &str, list: &Address, members: Vec<Member>, token: &str) -> Option<Address> {
    let name = list.to_string();
    let fits = |member: &Member| house.neighbours.tokens.fits(token, purpose, &[&name, &lower(&member.address)]);
    members.into_iter().find(fits).map(|member| member.address)
}

/// A letter about what is done already: that it cannot be sent undoes nothing.
fn later(sent: io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!("a list's letter cannot be sent: {error}");
    }
}

async fn hold(house: &Arc<House>, list: &MailingList, post: Post, message: Message) -> io::Result<()> {
    let (here, kept) = (Arc::clone(house), post.clone());
    blocking(move || here.lists.held.put(&kept, &message)).await?;
    let token = house.neighbours.tokens.make(DECIDE, &[&post.id]);
    for moderator in &list.moderators {
        later(out::write(house, list, &letter::please_decide(list, moderator, &post, &token)).await);
    }
    Ok(())
}

/// Lets a held post out to those who are members now.
pub async fn approve(house: &Arc<House>, id: &str) -> io::Result<()> {
    let (here, name) = (Arc::clone(house), id.to_owned());
    let (mut post, message) = blocking(move || here.lists.held.get(&name)).await?;
    let members = house.neighbours.members(&post.list).await.map_err(io::Error::other)?;
    post.members = recipients(&members);
    // First there, then gone from here: after a sudden end it is asked for once more at worst.
    out::begin(house, post, message).await?;
    reject(house, id).await
}

/// Drops a held post.
pub async fn reject(house: &Arc<House>, id: &str) -> io::Result<()> {
    let (here, name) = (Arc::clone(house), id.to_owned());
    blocking(move || here.lists.held.get(&name).and_then(|_| here.lists.held.remove(&name))).await
}

fn recipients(members: &[Member]) -> Vec<Address> {
    members.iter().filter(|member| !member.suspended).map(|member| member.address.clone()).collect()
}

fn member_token(house: &House, purpose: &str, list: &Address, member: &Address) -> String {
    house.neighbours.tokens.make(purpose, &[&list.to_string(), &lower(member)])
}

/// A post is a person's, and people write their address in many ways.
fn same(a: &Address, b: &Address) -> bool {
    a.account() == b.account()
}

fn lower(address: &Address) -> String {
    address.to_string().to_ascii_lowercase()
}

/// Text of a header for a line of a letter or a list.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Whether a message is a report that says that something failed for good (RFC 3464 §2.3.3). One that says less counts
/// nothing: greylisting and full disks pass.
pub fn has_failed(message: &Message) -> bool {
    let kind = message.fields().find(|field| field.is("Content-Type")).map(|field| field.value().to_ascii_lowercase());
    let report = kind.is_some_and(|kind| kind.starts_with("multipart/report"));
    let body = String::from_utf8_lossy(&message.body).to_ascii_lowercase();
    report
        && body.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| name.trim() == "action" && value.trim() == "failed")
        })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
