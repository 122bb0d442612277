//! What the child does, and what it says of it: `TRY` before and `ACK` after each operation, on its standard output,
//! which stands in the trace among the other system calls.

use super::super::entry::{Recipient, State};
use super::super::{Outgoing, Queue};
use super::RESTS;
use crate::message::Message;
use crate::queue::clock::Clock;
use base::Address;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Messages that the child queues, without the reports.
pub const MESSAGES: usize = 36;

/// What was said up to a moment.
#[derive(Default)]
pub struct Told {
    pub queued: BTreeSet<String>,
    pub may_be_gone: BTreeSet<String>,
    pub gone: BTreeSet<String>,
}

impl Told {
    pub fn hear(&mut self, line: &str) {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["ACK", "queued", id] => drop(self.queued.insert((*id).to_owned())),
            ["TRY", "settle", id] => drop(self.may_be_gone.insert((*id).to_owned())),
            ["ACK", "settle", id] => drop(self.gone.insert((*id).to_owned())),
            _ => {}
        }
    }
}

/// The bytes of a message by its name; those of large ones are kept in a file.
pub fn bytes_of(id: &str) -> Vec<u8> {
    let lines = if id.contains("large") { 8_000 } else { 60 };
    format!("Subject: {id}\r\n\r\n{}", "some text\r\n".repeat(lines)).into_bytes()
}

fn message(id: &str) -> Arc<Message> {
    Arc::new(Message::received(bytes_of(id)).unwrap())
}

fn outgoing(id: &str) -> Outgoing {
    let to = Recipient::new(Address::parse("bob@example.net").unwrap(), false, 0);
    Outgoing::new(id.to_owned(), None, vec![to])
}

pub async fn add(queue: &Queue, id: &str) {
    queue.add(outgoing(id), message(id)).await.unwrap();
    say(&format!("ACK queued {id}"));
}

/// Ends a message with a report, as a failure does.
async fn settle(queue: &Arc<Queue>, id: &str) {
    say(&format!("TRY settle {id}"));
    let number = queue.reader().number(id).unwrap().unwrap();
    let mut to = queue.reader().entry(number).unwrap().unwrap().recipients.remove(0);
    to.state = State::Failed;
    let report = format!("report-{id}");
    queue.settle(number, vec![to], vec![(outgoing(&report), message(&report))]).await.unwrap();
    say(&format!("ACK settle {id}"));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // One write, so that it is one line of the trace.
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Several at once, so that they share commits; large and small ones; some come to their end.
pub async fn run(root: &Path) {
    let queue = Queue::open(root.to_owned(), Clock::default(), RESTS).unwrap();
    for round in 0..6 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..6 {
            let (queue, size) = (Arc::clone(&queue), if number == 5 { "large" } else { "small" });
            tasks.spawn(async move { add(&queue, &format!("{size}-{round}-{number}")).await });
        }
        tasks.join_all().await;
        settle(&queue, &format!("small-{round}-0")).await;
        settle(&queue, &format!("small-{round}-1")).await;
        settle(&queue, &format!("large-{round}-5")).await;
    }
}
