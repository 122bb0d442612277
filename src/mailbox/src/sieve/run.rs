//! Runs an account's active script on a message and gives a plan of what is to be done. Nothing is done here but
//! looking: which folders there are, what was seen before, what other scripts say.

use super::language::{self, ScriptFault};
use super::loops;
use super::outgoing;
use super::records::{Kind, Record, Records};
use super::scripts::{ScriptName, Scripts};
use crate::limits;
use base::Address;
use sieve::compiler::grammar::actions::action_redirect::Notify;
use sieve::{Context, Envelope, Event, Input, Mailbox, Recipient, Runtime, Script};
use std::collections::HashMap;
use std::sync::Arc;
use store::{Account, Flags, Folder, FolderName, Keywords, StoreError};

/// A delivery, as a script sees it.
pub struct Delivery<'a> {
    pub account: &'a Address,
    /// The address that the message was sent to, its tag and all.
    pub recipient: &'a Address,
    /// The reverse-path; empty for reports.
    pub sender: &'a str,
    pub message: &'a [u8],
    pub hostname: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// A copy that is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    pub folder: FolderName,
    /// Whether the folder is to be made when it is not there.
    pub create: bool,
    pub flags: Flags,
    pub keywords: Keywords,
    pub bytes: Bytes,
}

/// The message itself, or one that the script made of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Bytes {
    Original,
    Made(Arc<Vec<u8>>),
}

/// Mail that a script sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub to: Vec<Address>,
    pub bytes: Bytes,
}

/// What a script decided.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub copies: Vec<Copy>,
    pub redirects: Vec<Outgoing>,
    /// Vacation notices and notifications.
    pub notices: Vec<Outgoing>,
    pub refusal: Option<String>,
    pub remember: Vec<Record>,
}

/// How a script failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub script: String,
    pub words: String,
}

/// What came of the active script. A script that failed decides nothing.
pub type Ran = Result<Plan, Fault>;

impl Plan {
    pub fn keep() -> Self {
        Self { copies: vec![Copy::inbox(Bytes::Original)], ..Self::default() }
    }
}

impl Copy {
    fn inbox(bytes: Bytes) -> Self {
        let folder = FolderName::inbox();
        Self { folder, create: false, flags: Flags::NONE, keywords: Keywords::default(), bytes }
    }
}

/// Runs the active script, if there is one. An error is one of the store, and passing.
pub fn active(runtime: &Runtime, account: &Account, delivery: &Delivery<'_>) -> Result<Ran, StoreError> {
    let scripts = Scripts::of(account);
    let io = |why: super::scripts::ScriptError| match why {
        super::scripts::ScriptError::Io { path, source } => StoreError::Io { path, source },
        other => StoreError::Io { path: scripts.dir().to_owned(), source: std::io::Error::other(other) },
    };
    let Some(name) = scripts.active().map_err(io)? else { return Ok(Ok(Plan::keep())) };
    let text = scripts.read(&name).map_err(io)?;
    let fault = |words: String| Fault { script: name.as_str().to_owned(), words };
    let script = match language::compile(&text) {
        Ok(script) => script,
        Err(ScriptFault(words)) => return Ok(Err(fault(words))),
    };
    let folders = account.folders()?;
    let run = Run {
        scripts: &scripts,
        folders: &folders,
        delivery,
        made: HashMap::new(),
        plan: Plan::default(),
        creates: 0,
        passed_over: false,
    };
    let trouble = run.play(runtime, Input::script(name.as_str(), script));
    Ok(trouble.map_err(fault))
}

struct Run<'a> {
    scripts: &'a Scripts,
    folders: &'a [Folder],
    delivery: &'a Delivery<'a>,
    /// Messages that the script made, by the interpreter's number.
    made: HashMap<usize, Arc<Vec<u8>>>,
    plan: Plan,
    creates: usize,
    /// Whether a redirect was passed over, so that the message may have nowhere to go.
    passed_over: bool,
}

/// Words about what went wrong.
type Trouble = String;

impl Run<'_> {
    fn play(mut self, runtime: &Runtime, script: Input) -> Result<Plan, Trouble> {
        let delivery = self.delivery;
        let mut context = runtime
            .filter(delivery.message)
            .with_user_address(delivery.account.to_string())
            .with_envelope(Envelope::From, delivery.sender.to_owned())
            .with_envelope(Envelope::To, delivery.recipient.to_string())
            .with_env_variable("host", delivery.hostname.to_owned())
            .with_env_variable("domain", delivery.account.domain().as_str().to_owned());
        // Tests of parts within loops over parts go with the square of their number.
        if context.message().parts.len() > limits::SIEVE_PARTS {
            return Err(format!("the message has more than {} parts", limits::SIEVE_PARTS));
        }
        let mut input = script;
        while let Some(step) = context.run(input) {
            let event = step.map_err(|error| language::fault_words(&error))?;
            input = match event {
                event if language::is_question(&event) => self.answer(event)?,
                event => {
                    self.take(event)?;
                    Input::True
                }
            };
        }
        drop::<Context<'_>>(context);
        self.finish()
    }

    fn answer(&mut self, event: Event) -> Result<Input, Trouble> {
        Ok(match event {
            Event::IncludeScript { name, optional } => self.include(name, optional)?,
            Event::MailboxExists { mailboxes, special_use } => self.mailbox_exists(&mailboxes, &special_use).into(),
            Event::DuplicateId { id, expiry, last } => self.is_duplicate(id, expiry, last)?.into(),
            // No lists are kept here, and the extension is not offered.
            _ => Input::False,
        })
    }

    fn include(&self, name: Script, optional: bool) -> Result<Input, Trouble> {
        let text = match &name {
            Script::Personal(text) => ScriptName::parse(text).and_then(|name| self.scripts.read(&name)).ok(),
            Script::Global(_) => None,
        };
        match text {
            Some(text) => match language::compile(&text) {
                Ok(script) => Ok(Input::Script { name, script }),
                Err(ScriptFault(words)) => Err(format!("in the included script “{name}”, {words}")),
            },
            None if optional => Ok(Input::False),
            None => Err(format!("there is no script “{name}” to include")),
        }
    }

    /// RFC 5490 §3.1, RFC 8579 §4: whether all of them are there.
    fn mailbox_exists(&self, mailboxes: &[Mailbox], special_use: &[String]) -> bool {
        let named = |mailbox: &Mailbox| match mailbox {
            Mailbox::Name(name) => FolderName::parse(name).ok().and_then(|name| self.folder(&name)),
            Mailbox::Id(_) => None,
        };
        let has = |folder: &Folder, attribute: &str| {
            folder.special.is_some_and(|special| special.attribute().eq_ignore_ascii_case(attribute))
        };
        let all_there = mailboxes.iter().all(|mailbox| named(mailbox).is_some());
        all_there
            && special_use.iter().all(|attribute| match mailboxes {
                [] => self.special(attribute).is_some(),
                some => some.iter().filter_map(named).all(|folder| has(folder, attribute)),
            })
    }

    fn folder(&self, name: &FolderName) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.name == *name)
    }

    fn special(&self, attribute: &str) -> Option<&Folder> {
        let is = |folder: &&Folder| folder.special.is_some_and(|it| it.attribute().eq_ignore_ascii_case(attribute));
        self.folders.iter().find(is)
    }

    /// Vacation asks the same question as `duplicate`, with an identifier that begins with `_v`.
    fn is_duplicate(&mut self, id: String, expiry: u64, last: bool) -> Result<bool, Trouble> {
        let vacation = id.starts_with("_v");
        if vacation && (!loops::may_answer(self.delivery.message, self.delivery.sender) || self.hides_lines()) {
            return Ok(true);
        }
        let now = self.delivery.now;
        let known = self.records()?.is_known(Kind::Seen, &id, now).map_err(|why| records_failed(&why))?;
        let expiry = match vacation {
            true => expiry.clamp(limits::VACATION_SHORTEST, limits::VACATION_LONGEST),
            false => expiry.min(limits::DUPLICATE_LONGEST),
        };
        if !known || last {
            self.plan.remember.push(Record { kind: Kind::Seen, id, until: now + expiry, renew: last });
        }
        Ok(known)
    }

    fn hides_lines(&self) -> bool {
        let hides = loops::hides_lines(self.delivery.message);
        if hides {
            tracing::warn!("a message for {} has line breaks hidden in its header", self.delivery.account);
        }
        hides
    }

    fn records(&self) -> Result<Records, Trouble> {
        Records::open(self.scripts.dir()).map_err(|why| records_failed(&why))
    }

    fn take(&mut self, event: Event) -> Result<(), Trouble> {
        match event {
            Event::Keep { flags, message_id } => {
                let mut copy = Copy::inbox(self.bytes(message_id));
                set_flags(&mut copy, &flags);
                self.store(copy)
            }
            Event::FileInto { folder, flags, special_use, create, message_id, .. } => {
                self.file(&folder, &flags, special_use.as_deref(), create, message_id)
            }
            Event::CreatedMessage { message_id, message } => {
                let made: usize = self.made.values().map(|made| made.len()).sum();
                if made + message.len() > 2 * self.delivery.message.len() + limits::SIEVE_MADE {
                    return Err("it makes too many changed copies of a large message".into());
                }
                self.made.insert(message_id, Arc::new(message));
                Ok(())
            }
            Event::Reject { reason, .. } => {
                self.plan.refusal = Some(reason);
                Ok(())
            }
            Event::SendMessage { recipient, notify, message_id, .. } => self.send(&recipient, &notify, message_id),
            Event::Notify { method, .. } => Err(format!("“{method}” is no way of notifying that this server has")),
            Event::Discard => Ok(()),
            // Questions are answered elsewhere; the rest belongs to extensions that are not offered.
            _ => Ok(()),
        }
    }

    fn bytes(&self, message: usize) -> Bytes {
        self.made.get(&message).map_or(Bytes::Original, |bytes| Bytes::Made(Arc::clone(bytes)))
    }

    fn file(
        &mut self,
        folder: &str,
        flags: &[String],
        special: Option<&str>,
        create: bool,
        message: usize,
    ) -> Result<(), Trouble> {
        // RFC 8579 §4: the special-use folder where there is one, else the one that is named.
        let name = match special.and_then(|attribute| self.special(attribute)) {
            Some(found) => found.name.clone(),
            None => FolderName::parse(folder).map_err(|why| why.to_string())?,
        };
        let missing = self.folder(&name).is_none();
        if missing && !create {
            return Err(format!("there is no folder “{name}”; fileinto :create makes it"));
        }
        if missing {
            self.creates += 1;
            if self.creates > limits::SIEVE_CREATES {
                return Err(format!("it would make more than {} folders at once", limits::SIEVE_CREATES));
            }
        }
        let mut copy = Copy { folder: name, create: missing, ..Copy::inbox(self.bytes(message)) };
        set_flags(&mut copy, flags);
        self.store(copy)
    }

    /// RFC 5228 §2.10.3: a message is filed into a folder once.
    fn store(&mut self, copy: Copy) -> Result<(), Trouble> {
        let same = |other: &&mut Copy| other.folder == copy.folder && other.bytes == copy.bytes;
        if let Some(other) = self.plan.copies.iter_mut().find(same) {
            other.flags = other.flags | copy.flags;
            other.keywords = Keywords::new(other.keywords.iter().chain(copy.keywords.iter()));
            return Ok(());
        }
        if self.plan.copies.len() >= limits::SIEVE_COPIES {
            return Err(format!("it would store more than {} copies", limits::SIEVE_COPIES));
        }
        self.plan.copies.push(copy);
        Ok(())
    }

    fn send(&mut self, recipient: &Recipient, notify: &Notify, message: usize) -> Result<(), Trouble> {
        let to = addresses(recipient)?;
        // The interpreter marks what it wrote itself as not worth a report; redirects ask for the usual ones.
        if *notify == Notify::Never {
            return self.notice(to, message, matches!(recipient, Recipient::Group(_)));
        }
        if loops::came_round(self.delivery.message, self.delivery.account) {
            tracing::warn!("{}: a message that was here before is not redirected again", self.delivery.account);
            self.passed_over = true;
            return Ok(());
        }
        let now = self.delivery.now;
        let today = self.records()?.count(Kind::Redirect, now).map_err(|why| records_failed(&why))?;
        if today + self.plan.redirects.len() >= limits::SIEVE_REDIRECTS_PER_DAY {
            return Err(format!("more than {} messages were redirected in a day", limits::SIEVE_REDIRECTS_PER_DAY));
        }
        self.count(Kind::Redirect);
        let bytes = self.bytes(message);
        self.plan.redirects.push(Outgoing { to, bytes });
        Ok(())
    }

    /// A vacation notice, or a notification, which has a daily bound.
    fn notice(&mut self, to: Vec<Address>, message: usize, notification: bool) -> Result<(), Trouble> {
        if notification {
            let today = self.records()?.count(Kind::Notice, self.delivery.now).map_err(|why| records_failed(&why))?;
            if today >= limits::SIEVE_NOTICES_PER_DAY || self.hides_lines() {
                tracing::warn!("{}: a notification is not sent", self.delivery.account);
                return Ok(());
            }
            self.count(Kind::Notice);
        }
        let written = self.made.get(&message).and_then(|bytes| outgoing::tidy(bytes));
        match written {
            Some(bytes) => self.plan.notices.push(Outgoing { to, bytes: Bytes::Made(Arc::new(bytes)) }),
            None => tracing::warn!("{}: an automatic answer would not be what it should", self.delivery.account),
        }
        Ok(())
    }

    fn count(&mut self, kind: Kind) {
        let id = format!("{:032x}", rand::random::<u128>());
        self.plan.remember.push(Record { kind, id, until: self.delivery.now + 86_400, renew: false });
    }

    fn finish(mut self) -> Result<Plan, Trouble> {
        let plan = &mut self.plan;
        // RFC 5429 §2.1: a refused message is not kept, and nothing else is done with it.
        let acts = !plan.copies.is_empty() || !plan.redirects.is_empty() || !plan.notices.is_empty();
        if plan.refusal.is_some() && acts {
            return Err("reject goes together with nothing else that keeps, sends or answers".into());
        }
        if self.passed_over && plan.copies.is_empty() && plan.redirects.is_empty() {
            plan.copies.push(Copy::inbox(Bytes::Original));
        }
        Ok(self.plan)
    }
}

fn records_failed(why: &rusqlite::Error) -> Trouble {
    tracing::error!("what scripts remember cannot be read: {why}");
    "what the script should remember cannot be read just now".into()
}

/// RFC 5232 §2: flags in strings that may hold several.
fn set_flags(copy: &mut Copy, names: &[String]) {
    let words: Vec<&str> = names.iter().flat_map(|name| name.split_whitespace()).collect();
    copy.flags = words.iter().filter_map(|name| Flags::named(name)).fold(Flags::NONE, |all, flag| all | flag);
    copy.keywords = Keywords::new(words.into_iter().filter(|name| !name.starts_with('\\')));
}

fn addresses(recipient: &Recipient) -> Result<Vec<Address>, Trouble> {
    let texts = match recipient {
        Recipient::Address(address) => std::slice::from_ref(address),
        Recipient::Group(addresses) => addresses.as_slice(),
        Recipient::List(list) => return Err(format!("there is no list “{list}”")),
    };
    let parse = |text: &String| Address::parse(text).map_err(|why| why.to_string());
    let parsed: Result<Vec<_>, _> = texts.iter().take(limits::SIEVE_OUTGOING).map(parse).collect();
    parsed.and_then(|parsed| if parsed.is_empty() { Err("there is nobody to send to".into()) } else { Ok(parsed) })
}

#[cfg(test)]
mod tests;
