//! Conversations with the mailbox: used again, given up when the mailbox ends, and in step after refusals.

use super::super::Outcome;
use super::super::client::{To, Transaction};
use super::super::mailboxes::Mailboxes;
use crate::proto::delivery_status::ReportWish;
use crate::queue::entry::Needs;
use base::{Address, Domain, Paths, Role};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// A mailbox that knows `ann` alone, and ends each conversation without a word after so many messages.
#[derive(Default)]
struct Mailbox {
    patience: usize,
    conversations: AtomicUsize,
    stored: Mutex<Vec<String>>,
}

impl Mailbox {
    async fn converse(&self, stream: UnixStream) -> std::io::Result<()> {
        self.conversations.fetch_add(1, Ordering::SeqCst);
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mailbox LMTP\r\n").await?;
        let (mut line, mut stored, mut known) = (String::new(), 0, 0);
        while stored < self.patience && stream.read_line(&mut line).await? > 0 {
            let reply = match line.get(..4).unwrap_or_default() {
                "LHLO" => "250-mailbox\r\n250 PIPELINING\r\n",
                "RCPT" if line.contains("<ann@") => {
                    known += 1;
                    "250 ok\r\n"
                }
                "RCPT" => "550 5.1.1 nobody\r\n",
                "DATA" if known == 0 => "503 5.5.1 there are no recipients\r\n",
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await?;
                    let mut message = String::new();
                    while !message.ends_with("\r\n.\r\n") {
                        stream.read_line(&mut message).await?;
                    }
                    self.stored.lock().unwrap().push(message);
                    stored += 1;
                    known = 0;
                    "250 2.0.0 stored\r\n"
                }
                "MAIL" | "RSET" => {
                    known = 0;
                    "250 ok\r\n"
                }
                other => panic!("{other}"),
            };
            line.clear();
            stream.write_all(reply.as_bytes()).await?;
        }
        Ok(())
    }
}

struct Place {
    _dir: tempfile::TempDir,
    mailbox: Arc<Mailbox>,
    way: Mailboxes,
}

impl Place {
    fn new(patience: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let socket = paths.socket(Role::Mailbox, "lmtp");
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let mailbox = Arc::new(Mailbox { patience, ..Mailbox::default() });
        let served = Arc::clone(&mailbox);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                tokio::spawn(async move { served.converse(stream).await });
            }
        });
        let own = Domain::parse("box.example.org").unwrap();
        Self { _dir: dir, mailbox, way: Mailboxes::new(paths, own) }
    }

    async fn deliver(&self, to: &[&str], text: &str) -> Vec<Outcome> {
        let recipients: Vec<To> = to.iter().map(|to| To::new(Address::parse(to).unwrap())).collect();
        let wish = ReportWish::default();
        let it = Transaction {
            sender: None,
            recipients: &recipients,
            pieces: [b"Subject: x\r\n\r\n", text.as_bytes()],
            eight_bit: false,
            needs: Needs::default(),
            wish: &wish,
        };
        self.way.deliver(&it).await.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered(_))
}

#[tokio::test]
async fn many_messages_go_over_one_conversation_and_one_that_ended_meanwhile_is_begun_anew() {
    for (patience, conversations) in [(usize::MAX, 1), (3, 4)] {
        let place = Place::new(patience);
        for number in 0..10 {
            let outcomes = place.deliver(&["ann@example.org"], &format!("message {number}\r\n")).await;
            assert!(outcomes.iter().all(is_delivered), "{outcomes:?}");
        }
        assert_eq!(place.mailbox.conversations.load(Ordering::SeqCst), conversations);
        let stored = place.mailbox.stored.lock().unwrap().clone();
        let expected: Vec<String> =
            (0..10).map(|number| format!("Subject: x\r\n\r\nmessage {number}\r\n.\r\n")).collect();
        assert_eq!(stored, expected, "each once, in order");
    }
}

#[tokio::test]
async fn messages_for_nobody_leave_the_conversation_in_step() {
    let place = Place::new(usize::MAX);
    for _ in 0..3 {
        let refused = place.deliver(&["bob@example.org", "carl@example.org"], "lost\r\n").await;
        assert!(refused.iter().all(|outcome| matches!(outcome, Outcome::Failed(_))), "{refused:?}");
        let mixed = place.deliver(&["bob@example.org", "ann@example.org"], "found\r\n").await;
        assert_eq!(mixed.iter().map(is_delivered).collect::<Vec<_>>(), [false, true], "{mixed:?}");
    }
    assert_eq!(place.mailbox.conversations.load(Ordering::SeqCst), 1);
    assert_eq!(place.mailbox.stored.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_mailbox_that_is_away_puts_mail_off() {
    let dir = tempfile::tempdir().unwrap();
    let away = Mailboxes::new(Paths::under(dir.path()), Domain::parse("box.example.org").unwrap());
    let place = Place { way: away, ..Place::new(1) };
    let outcomes = place.deliver(&["ann@example.org"], "later\r\n").await;
    assert!(matches!(outcomes.as_slice(), [Outcome::Deferred(_)]), "{outcomes:?}");
}
