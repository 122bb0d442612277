//! ManageSieve as its clients meet it.

mod common;
mod conversation;

use common::running;
use conversation::{Lines, play_all};

async fn login(running: &common::Running) -> Lines {
    let mut lines = Lines::plain(running.port + 2).await;
    lines.until(|line| line.starts_with("OK")).await;
    assert!(lines.ask("STARTTLS").await.starts_with("OK"));
    lines.begin_tls(running).await;
    lines.until(|line| line.starts_with("OK")).await;
    let reply = lines.ask("AUTHENTICATE \"PLAIN\" \"AGFubkBleGFtcGxlLm9yZwBjb3JyZWN0IGhvcnNl\"").await;
    assert!(reply.starts_with("OK"), "{reply}");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn managesieve_conversations_go_as_the_rfc_has_them() {
    let running = running().await;
    play_all(&running, "managesieve", || Lines::plain(running.port + 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_plain_text_behind_starttls_is_not_believed() {
    let running = running().await;
    let mut lines = Lines::plain(running.port + 2).await;
    lines.until(|line| line.starts_with("OK")).await;
    lines.send("STARTTLS\r\nNOOP\r\n").await;
    assert!(lines.line().await.starts_with("OK"));
    assert_eq!(lines.line().await, "", "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_too_large_is_refused_and_the_session_goes_on() {
    let running = running().await;
    let mut lines = login(&running).await;
    let script = format!("# {}\r\n", "x".repeat(300 << 10));
    lines.send(&format!("PUTSCRIPT \"big\" {{{}+}}\r\n{script}\r\n", script.len())).await;
    assert!(lines.line().await.starts_with("NO (QUOTA/MAXSIZE)"));
    assert!(lines.ask("NOOP").await.starts_with("OK"));
    let reply = lines.ask("PUTSCRIPT \"big\" {99999999+}").await;
    assert!(reply.starts_with("BYE"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_login_nothing_large_is_taken() {
    let running = running().await;
    let mut lines = Lines::plain(running.port + 2).await;
    lines.until(|line| line.starts_with("OK")).await;
    assert!(lines.ask("PUTSCRIPT \"x\" {20000+}").await.starts_with("BYE"));
    assert_eq!(lines.line().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_files_beside_the_mail() {
    let running = running().await;
    let mut lines = login(&running).await;
    lines.send("PUTSCRIPT \"../x\" {7+}\r\nkeep;\r\n\r\n").await;
    assert!(lines.line().await.starts_with("OK"));
    assert!(lines.ask("SETACTIVE \"../x\"").await.starts_with("OK"));
    let dir = running.paths.account(&common::address("ann@example.org")).join("sieve");
    assert_eq!(std::fs::read(dir.join("%2e.%2fx.sieve")).unwrap(), b"keep;\r\n");
    assert_eq!(std::fs::read(dir.join("active")).unwrap(), b"../x\n");
}
