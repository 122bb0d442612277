//! What the owner does with the queue: look, try now, hold back, let go, take out, and get a message itself.

use super::database::Database;
use super::entry::{Entry, State};
use super::writer::Changed;
use super::{Queue, blocking};
use crate::limits;
use std::io;
use std::sync::Arc;
use wire::mta::{QueueChange, QueueSize, Queued, Waiting, Which};

impl Queue {
    /// What waits, oldest first.
    pub async fn waiting(self: &Arc<Self>) -> io::Result<Vec<Waiting>> {
        let mut waiting = Vec::new();
        for entry in self.meant(&Which::All, limits::QUEUE_SHOWN, |_, entry| entry).await? {
            let recipients = entry.recipients.iter().filter(|recipient| recipient.state == State::Waiting);
            waiting.extend(recipients.map(|recipient| Waiting {
                id: entry.id.clone(),
                sender: entry.sender.clone(),
                recipient: recipient.address.clone(),
                bytes: entry.bytes,
                queued: entry.queued,
                next_try: recipient.next_try,
                tries: recipient.tries,
                last: recipient.last.clone(),
                held: entry.held,
            }));
        }
        waiting.truncate(limits::QUEUE_SHOWN);
        Ok(waiting)
    }

    pub async fn size(self: &Arc<Self>) -> io::Result<QueueSize> {
        let queue = Arc::clone(self);
        blocking(move || {
            let mut size = QueueSize::default();
            queue.reader().each(|_, entry| {
                size.messages += 1;
                size.bytes += entry.bytes;
                size.held += u64::from(entry.held);
                size.put_off += u64::from(entry.recipients.iter().any(|it| it.state == State::Waiting && it.tries > 0));
                size.oldest = Some(size.oldest.unwrap_or(entry.queued).min(entry.queued));
                true
            })?;
            Ok(size)
        })
        .await
    }

    /// One message of the queue: its state, and its bytes.
    pub async fn show(self: &Arc<Self>, id: &str) -> io::Result<Option<(Queued, Vec<u8>)>> {
        let (queue, id) = (Arc::clone(self), id.to_owned());
        blocking(move || {
            let reader = queue.reader();
            let Some(number) = reader.number(&id)? else { return Ok(None) };
            let Some(entry) = reader.entry(number)? else { return Ok(None) };
            let message = reader.message(number, &id)?;
            Ok(Some((queued(entry), message)))
        })
        .await
    }

    /// Does something to messages; tells which they were.
    pub async fn change(self: &Arc<Self>, which: &Which, change: QueueChange) -> io::Result<Vec<String>> {
        // Names alone: the entries of a large queue would not fit a small machine's memory.
        let meant = self.meant(which, usize::MAX, |number, entry| (number, entry.id)).await?;
        let now = self.clock.now();
        if change == QueueChange::Retry {
            self.shared.book().end_rests();
        }
        for group in meant.chunks(limits::QUEUE_GROUP) {
            let numbers: Vec<i64> = group.iter().map(|(number, _)| *number).collect();
            let act = move |database: &Database| {
                let mut changes = Vec::with_capacity(numbers.len());
                for number in &numbers {
                    // It may have left meanwhile.
                    if let Some(entry) = database.entry(*number)? {
                        changes.push(change_one(database, *number, entry, change, now)?);
                    }
                }
                Ok(changes)
            };
            self.writer.change(false, Box::new(act)).await?;
        }
        self.shared.changed.notify_one();
        Ok(meant.into_iter().map(|(_, id)| id).collect())
    }

    /// What `keep` keeps of the messages that are meant, oldest first.
    pub(super) async fn meant<T: Send + 'static>(
        self: &Arc<Self>,
        which: &Which,
        most: usize,
        keep: impl Fn(i64, Entry) -> T + Send + 'static,
    ) -> io::Result<Vec<T>> {
        let (queue, which) = (Arc::clone(self), which.clone());
        blocking(move || {
            let mut found = Vec::new();
            queue.reader().each(|number, entry| {
                if is_meant(&entry, &which) {
                    found.push(keep(number, entry));
                }
                found.len() < most
            })?;
            Ok(found)
        })
        .await
    }
}

fn change_one(
    database: &Database,
    number: i64,
    mut entry: Entry,
    change: QueueChange,
    now: u64,
) -> io::Result<Changed> {
    match change {
        QueueChange::Retry => {
            let waiting = entry.recipients.iter_mut().filter(|recipient| recipient.state == State::Waiting);
            waiting.for_each(|recipient| recipient.next_try = recipient.next_try.min(now));
        }
        QueueChange::Hold => entry.held = true,
        QueueChange::Release => entry.held = false,
        QueueChange::Remove => {
            database.remove(number)?;
            return Ok(Changed::Gone(number, entry));
        }
    }
    database.update(number, &entry)?;
    Ok(Changed::Is(number, entry))
}

fn is_meant(entry: &Entry, which: &Which) -> bool {
    // A domain, or an address.
    let fits = |address: &base::Address, wanted: &str| {
        address.to_string().eq_ignore_ascii_case(wanted) || address.domain().as_str().eq_ignore_ascii_case(wanted)
    };
    match which {
        Which::All => true,
        Which::Ids(ids) => ids.contains(&entry.id),
        Which::From(wanted) => match &entry.sender {
            Some(sender) => fits(sender, wanted),
            None => wanted == "<>",
        },
        Which::To(wanted) => entry.recipients.iter().any(|it| it.state == State::Waiting && fits(&it.address, wanted)),
    }
}

fn queued(entry: Entry) -> Queued {
    let recipients = entry.recipients.into_iter().map(|it| wire::mta::QueuedFor {
        address: it.address,
        state: match it.state {
            State::Waiting => "waiting",
            State::Delivered => "delivered",
            State::Failed => "failed",
        }
        .to_owned(),
        tries: it.tries,
        next_try: it.next_try,
        last: it.last,
    });
    Queued {
        id: entry.id,
        sender: entry.sender,
        account: entry.account,
        queued: entry.queued,
        bytes: entry.bytes,
        held: entry.held,
        require_tls: entry.needs.require_tls,
        recipients: recipients.collect(),
    }
}
