//! SCRAM-SHA-256-PLUS over real TLS, against a directory that computes as RFC 5802 §3 has it.

mod common;
mod conversation;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base::Role;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Running, address};
use conversation::Lines;
use std::num::NonZeroU32;
use std::sync::Arc;
use wire::directory::{Request, ScramLogin, ScramParameters};
use wire::{Answer, Kind, Refusal, Serve};

const PASSWORD: &str = "app pass word";
const SALT: &[u8] = b"sixteen octets..";
const ITERATIONS: u32 = 4096;

struct Keys {
    client: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

fn keys() -> Keys {
    let mut salted = [0; 32];
    let count = NonZeroU32::new(ITERATIONS).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, SALT, PASSWORD.as_bytes(), &mut salted);
    let client = sign(&salted, b"Client Key");
    Keys { stored: hash(&client), client, server: sign(&salted, b"Server Key") }
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// Knows ann's app password.
struct Directory;

impl Serve for Directory {
    type Request = Request;

    async fn answer(&self, _: Role, request: Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::ScramOffered(ask) => ask.answer(true),
            Request::ScramChallenge(ask) => ask.answer(ScramParameters { salt: SALT.to_vec(), iterations: ITERATIONS }),
            Request::ScramVerify(ask) => {
                let keys = keys();
                let signature = sign(&keys.stored, ask.auth_message.as_bytes());
                let right = hash(&xor(&ask.client_proof, &signature)) == keys.stored;
                let server_signature = sign(&keys.server, ask.auth_message.as_bytes());
                let account = address("ann@example.org");
                ask.answer(match right && ask.login == "ann@example.org" {
                    true => ScramLogin::Granted { account, admin: false, server_signature },
                    false => ScramLogin::Denied,
                })
            }
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

async fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let port = common::base_port();
    let paths = common::furnish(dir.path(), port);
    let own = paths.clone();
    tokio::spawn(async move { wire::serve(&own, Arc::new(Directory)).await.unwrap() });
    let own = paths.clone();
    tokio::spawn(async move { mailbox::run(own).await.unwrap() });
    common::until_ready(&paths).await;
    Running { dir, paths, port: port + 3 }
}

/// The client's side up to the server's answer to the proof; `binding` is what it believes of the channel.
async fn log_in(lines: &mut Lines, mechanism: &str, flag: &str, binding: &[u8]) -> String {
    let bare = "n=ann@example.org,r=fyko+d2lbbFgONRv9qkxdawL";
    let header = format!("{flag},,");
    let first = lines.ask(&format!("AUTH {mechanism} {}", STANDARD.encode(format!("{header}{bare}")))).await;
    let Some(challenge) = first.strip_prefix("+ ") else { return first };
    let server_first = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
    let nonce = server_first.split(',').next().unwrap().strip_prefix("r=").unwrap();
    let bound = STANDARD.encode([header.as_bytes(), binding].concat());
    let last = format!("c={bound},r={nonce}");
    let message = format!("{bare},{server_first},{last}");
    let keys = keys();
    let proof = STANDARD.encode(xor(&keys.client, &sign(&keys.stored, message.as_bytes())));
    let reply = lines.ask(&STANDARD.encode(format!("{last},p={proof}"))).await;
    let Some(words) = reply.strip_prefix("+ ") else { return reply };
    let signature = format!("v={}", STANDARD.encode(sign(&keys.server, message.as_bytes())));
    assert_eq!(STANDARD.decode(words).unwrap(), signature.as_bytes(), "the server did not prove itself");
    lines.ask("").await
}

async fn connect(running: &Running) -> Lines {
    let mut lines = Lines::tls(running, running.port + 1).await;
    assert!(lines.line().await.starts_with("+OK"));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_binds_its_login_to_the_channel_and_one_in_between_is_noticed() {
    let running = start().await;
    let mut lines = connect(&running).await;
    lines.send("CAPA\r\n").await;
    let offered = lines.until(|line| line == ".").await;
    assert!(offered.contains(&"SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN".to_owned()), "{offered:?}");
    let binding = lines.binding.clone();
    let reply = log_in(&mut lines, "SCRAM-SHA-256-PLUS", "p=tls-exporter", &binding).await;
    assert!(reply.starts_with("+OK welcome"), "{reply}");

    let mut lines = connect(&running).await;
    let reply = log_in(&mut lines, "SCRAM-SHA-256-PLUS", "p=tls-exporter", &binding).await;
    assert!(reply.contains("that of another connection"), "{reply}");
    let reply = log_in(&mut lines, "SCRAM-SHA-256", "y", b"").await;
    assert!(reply.contains("has no channel binding"), "{reply}");
    let reply = log_in(&mut lines, "SCRAM-SHA-256", "n", b"").await;
    assert!(reply.starts_with("+OK welcome"), "{reply}");
}
