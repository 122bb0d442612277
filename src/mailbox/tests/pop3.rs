//! POP3 as its clients meet it.

mod common;
mod conversation;

use common::{Imap, Lmtp, running};
use conversation::{Lines, play_all};

async fn two_messages(running: &common::Running) {
    let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
    for message in ["Subject: one\r\n\r\n..dots\r\nend", "Subject: two\r\n\r\nbody"] {
        assert!(lmtp.deliver(&["ann@example.org"], message).await.unwrap()[0].starts_with("250"));
    }
}

async fn login(running: &common::Running) -> Lines {
    let mut lines = Lines::tls(running, running.port + 1).await;
    assert!(lines.line().await.starts_with("+OK"));
    lines.send("USER ann@example.org\r\nPASS correct horse\r\n").await;
    assert!(lines.line().await.starts_with("+OK") && lines.line().await.starts_with("+OK welcome"));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn pop3_conversations_go_as_the_rfcs_have_them() {
    let running = running().await;
    two_messages(&running).await;
    play_all(&running, "pop3", || Lines::tls(&running, running.port + 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_gone_after_quit_and_only_then() {
    let running = running().await;
    two_messages(&running).await;
    let mut lines = login(&running).await;
    assert!(lines.ask("DELE 1").await.starts_with("+OK"));
    drop(lines);
    let mut lines = login(&running).await;
    let ids = lines.ask("UIDL 2").await;
    assert!(lines.ask("STAT").await.starts_with("+OK 2 "));
    assert!(lines.ask("DELE 1").await.starts_with("+OK"));
    assert!(lines.ask("QUIT").await.starts_with("+OK"));
    let mut lines = login(&running).await;
    assert!(lines.ask("STAT").await.starts_with("+OK 1 "));
    let still = lines.ask("UIDL 1").await;
    assert_eq!(ids.split(' ').next_back(), still.split(' ').next_back(), "the unique id changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_sees_the_inbox_as_it_stood_and_retrieved_mail_is_seen() {
    let running = running().await;
    two_messages(&running).await;
    let mut lines = login(&running).await;
    two_messages(&running).await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    imap.ok("SELECT INBOX").await;
    imap.ok("STORE 2 +FLAGS (\\Deleted)").await;
    imap.ok("EXPUNGE").await;
    assert!(lines.ask("STAT").await.starts_with("+OK 2 "));
    assert_eq!(lines.ask("RETR 2").await, "-ERR the message was removed meanwhile");
    assert!(lines.ask("RETR 1").await.starts_with("+OK"));
    lines.until(|line| line == ".").await;
    assert!(lines.ask("QUIT").await.starts_with("+OK"));
    let flags = imap.ok("FETCH 1 FLAGS").await;
    assert!(flags.iter().any(|line| line.contains("\\Seen")), "{flags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_commands_are_answered_in_their_order() {
    let running = running().await;
    two_messages(&running).await;
    let mut lines = login(&running).await;
    lines.send("STAT\r\nUIDL 1\r\nTOP 2 1\r\nNOOP\r\nQUIT\r\n").await;
    assert!(lines.line().await.starts_with("+OK 2 "));
    assert!(lines.line().await.starts_with("+OK 1 "));
    let top = lines.until(|line| line == ".").await;
    assert_eq!(&top[top.len() - 2..], ["body", "."]);
    assert!(lines.line().await.starts_with("+OK"));
    assert!(lines.line().await.starts_with("+OK until"));
    assert_eq!(lines.line().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_and_endless_lines_end_the_connection() {
    let running = running().await;
    let mut lines = Lines::tls(&running, running.port + 1).await;
    lines.line().await;
    for _ in 0..2 {
        lines.ask("USER ann@example.org").await;
        assert!(lines.ask("PASS x").await.starts_with("-ERR [AUTH]"));
    }
    lines.ask("USER ann@example.org").await;
    assert!(lines.ask("PASS x").await.contains("too many wrong passwords"));
    assert_eq!(lines.line().await, "");
    let mut lines = Lines::tls(&running, running.port + 1).await;
    lines.line().await;
    assert!(lines.ask(&"x".repeat(10_000)).await.contains("too long"));
    assert_eq!(lines.line().await, "");
}
