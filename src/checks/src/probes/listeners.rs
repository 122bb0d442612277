//! The ports that mail programs and other servers connect to: do they greet as they should, and with which certificate?

use crate::finding::{Finding, Problem};
use crate::talk::{Reply, Talk};
use crate::world::World;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    Smtp,
    Submission,
    Submissions,
    Imaps,
    Pop3s,
    Managesieve,
    Https,
}

impl Listener {
    pub const ALL: [Listener; 7] = [
        Listener::Smtp,
        Listener::Submission,
        Listener::Submissions,
        Listener::Imaps,
        Listener::Pop3s,
        Listener::Managesieve,
        Listener::Https,
    ];

    pub fn address(self, world: &World) -> SocketAddr {
        let endpoints = &world.endpoints;
        let listen = match self {
            Listener::Smtp => endpoints.smtp,
            Listener::Submission => endpoints.submission,
            Listener::Submissions => endpoints.submissions,
            Listener::Imaps => endpoints.imaps,
            Listener::Pop3s => endpoints.pop3s,
            Listener::Managesieve => endpoints.managesieve,
            Listener::Https => endpoints.https,
        };
        listen.local()
    }

    /// What it is to say.
    fn wanted(self) -> &'static str {
        match self {
            Listener::Smtp => "a 220 greeting with the box's name, and STARTTLS",
            Listener::Submission => "a 220 greeting with the box's name, STARTTLS, and then a login",
            Listener::Submissions => "TLS at once, a 220 greeting with the box's name, and a login",
            Listener::Imaps => "TLS at once and an IMAP greeting",
            Listener::Pop3s => "TLS at once and a POP3 greeting",
            Listener::Managesieve => "a ManageSieve greeting, STARTTLS, and then a login",
            Listener::Https => "TLS at once and a page",
        }
    }

    /// The service that answers there.
    fn service(self) -> &'static str {
        match self {
            Listener::Smtp | Listener::Submission | Listener::Submissions => "mailstead-mta",
            Listener::Imaps | Listener::Pop3s | Listener::Managesieve => "mailstead-mailbox",
            Listener::Https => "nginx",
        }
    }
}

/// What a listener said.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub words: String,
    /// What is not as it should be, if anything.
    pub wrong: Option<String>,
    pub chain: Vec<CertificateDer<'static>>,
}

/// Connects and listens; an error is a sentence.
pub async fn greet(world: &World, listener: Listener) -> Result<Greeting, String> {
    let talk = Talk::connect(listener.address(world)).await?;
    match listener {
        Listener::Smtp | Listener::Submission => with_starttls(world, talk, listener).await,
        Listener::Submissions => {
            let mut talk = talk.secure(&world.tls, world.hostname()).await?;
            let chain = talk.chain();
            let greeting = talk.reply().await?;
            let offers = talk.command(&format!("EHLO {}", world.hostname())).await?;
            let _ = talk.send("QUIT").await;
            let wrong = judge_greeting(&greeting, world.hostname())
                .or_else(|| (!offers.offers("AUTH")).then(|| "it offers no login (AUTH)".to_owned()));
            Ok(Greeting { words: greeting.text(), wrong, chain })
        }
        Listener::Imaps | Listener::Pop3s => {
            let (begins, goodbye) = if listener == Listener::Imaps { ("* OK", "a LOGOUT") } else { ("+OK", "QUIT") };
            let mut talk = talk.secure(&world.tls, world.hostname()).await?;
            let words = talk.line().await?;
            let _ = talk.send(goodbye).await;
            let wrong = (!words.starts_with(begins)).then(|| format!("it said “{words}”"));
            Ok(Greeting { words, wrong, chain: talk.chain() })
        }
        Listener::Managesieve => managesieve(world, talk).await,
        Listener::Https => {
            let talk = talk.secure(&world.tls, world.hostname()).await?;
            let chain = talk.chain();
            let (code, body) = talk.get(world.hostname(), "/admin/login").await?;
            let wrong = match code {
                200 if body.contains("<form") => None,
                502..=504 => Some(format!("nginx answers {code}: it does not reach the panel")),
                code => Some(format!("the panel's login page answers {code}")),
            };
            Ok(Greeting { words: format!("HTTP {code}"), wrong, chain })
        }
    }
}

async fn with_starttls(
    world: &World,
    mut talk: Talk<tokio::net::TcpStream>,
    listener: Listener,
) -> Result<Greeting, String> {
    let name = world.hostname();
    let greeting = talk.reply().await?;
    if let Some(wrong) = judge_greeting(&greeting, name) {
        return Ok(Greeting { words: greeting.text(), wrong: Some(wrong), chain: Vec::new() });
    }
    if !talk.command(&format!("EHLO {name}")).await?.offers("STARTTLS") {
        return Ok(Greeting { words: greeting.text(), wrong: Some("it offers no STARTTLS".into()), chain: Vec::new() });
    }
    let ready = talk.command("STARTTLS").await?;
    if ready.code != 220 {
        return Ok(Greeting { words: ready.text(), wrong: Some("it refuses STARTTLS".into()), chain: Vec::new() });
    }
    let mut talk = talk.secure(&world.tls, name).await?;
    let chain = talk.chain();
    let offers = talk.command(&format!("EHLO {name}")).await?;
    let _ = talk.send("QUIT").await;
    let no_login = listener == Listener::Submission && !offers.offers("AUTH");
    Ok(Greeting { words: greeting.text(), wrong: no_login.then(|| "it offers no login (AUTH)".into()), chain })
}

/// RFC 5804 §1.7: capabilities up to an OK, before and after STARTTLS; a login only after.
async fn managesieve(world: &World, mut talk: Talk<tokio::net::TcpStream>) -> Result<Greeting, String> {
    let before = capabilities(&mut talk).await?;
    let bad = |words: &str, wrong: &str| {
        Ok(Greeting { words: words.to_owned(), wrong: Some(wrong.to_owned()), chain: Vec::new() })
    };
    if !before.contains("\"STARTTLS\"") {
        return bad(&before, "it offers no STARTTLS");
    }
    talk.send("STARTTLS").await?;
    if !talk.line().await?.starts_with("OK") {
        return bad(&before, "it refuses STARTTLS");
    }
    let mut talk = talk.secure(&world.tls, world.hostname()).await?;
    let after = capabilities(&mut talk).await?;
    let chain = talk.chain();
    let _ = talk.send("LOGOUT").await;
    let wrong = (!after.contains("PLAIN")).then(|| "it offers no login (SASL PLAIN)".to_owned());
    Ok(Greeting { words: "ManageSieve".to_owned(), wrong, chain })
}

/// The lines of a ManageSieve greeting, which has no more than a few.
async fn capabilities<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
) -> Result<String, String> {
    let mut all = String::new();
    for _ in 0..40 {
        let line = talk.line().await?;
        if line.starts_with("OK") {
            return Ok(all);
        }
        all.push_str(&line);
        all.push('\n');
    }
    Err(format!("it said “{}”", all.lines().next().unwrap_or_default()))
}

/// RFC 5321 §4.2: 220, and the server's name first.
fn judge_greeting(greeting: &Reply, hostname: &str) -> Option<String> {
    if greeting.code != 220 {
        return Some(format!("it greets with {}", greeting.text()));
    }
    let name = greeting.lines.first().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    (!name.eq_ignore_ascii_case(hostname)).then(|| format!("it calls itself “{name}”, not {hostname}"))
}

pub async fn look(world: &World, listener: Listener) -> Finding {
    let address = listener.address(world);
    let problem = |seen: String| {
        Finding::bad(vec![
            Problem::new(format!("port {}", address.port()), seen, listener.wanted()).detail(listener.service()),
        ])
    };
    match world.greeting(listener).await {
        Ok(Greeting { words, wrong: None, .. }) => Finding::good(words, listener.wanted()),
        Ok(Greeting { wrong: Some(wrong), .. }) => problem(wrong),
        Err(trouble) => problem(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, lines: vec![text.into()] }
    }

    #[test]
    fn a_greeting_says_220_and_the_boxs_own_name() {
        assert_eq!(judge_greeting(&reply(220, "Box.example.org ESMTP"), "box.example.org"), None);
        assert!(
            judge_greeting(&reply(220, "localhost ESMTP Postfix"), "box.example.org").unwrap().contains("localhost")
        );
        assert!(judge_greeting(&reply(554, "go away"), "box.example.org").unwrap().contains("554"));
    }
}
