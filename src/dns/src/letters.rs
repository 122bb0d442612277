//! Letters to the owner.

use base::{Address, BoxConfig};
use wire::{Client, mta};

/// Writes to the owner; tells whether the letter is safe in the queue.
pub async fn tell(config: &BoxConfig, client: &Client, subject: &str, text: &str) -> bool {
    let to = config.email.clone();
    let Ok(from) = Address::new("postmaster", to.domain().clone()) else { return false };
    let text = text.replace('\n', "\r\n");
    let message = format!(
        "From: Mailstead <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\
         \r\n{text}"
    );
    let sent = client.ask_with_body(&mta::Send { from, to }, message.as_bytes()).await;
    if let Err(error) = &sent {
        tracing::warn!("a letter to the owner (“{subject}”) waits: {error}");
    }
    sent.is_ok()
}
