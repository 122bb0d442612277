//! SCRAM-SHA-256(-PLUS) on the submission ports, against a directory that computes as RFC 5802 §3 has it.

use crate::house::{Client, House, address};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;
use wire::directory::{ScramLogin, ScramParameters, ScramVerify};

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

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

fn keys() -> Keys {
    let mut salted = [0; 32];
    let count = NonZeroU32::new(ITERATIONS).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, SALT, PASSWORD.as_bytes(), &mut salted);
    let client = sign(&salted, b"Client Key");
    Keys { stored: hash(&client), client, server: sign(&salted, b"Server Key") }
}

/// The directory's side.
pub fn parameters() -> ScramParameters {
    ScramParameters { salt: SALT.to_vec(), iterations: ITERATIONS }
}

pub fn verify(ask: &ScramVerify) -> ScramLogin {
    let keys = keys();
    let signature = sign(&keys.stored, ask.auth_message.as_bytes());
    match hash(&xor(&ask.client_proof, &signature)) == keys.stored && ask.login == "ann@example.org" {
        true => ScramLogin::Granted {
            account: address("ann@example.org"),
            admin: false,
            server_signature: sign(&keys.server, ask.auth_message.as_bytes()),
        },
        false => ScramLogin::Denied,
    }
}

/// The client's side; `binding` is what it believes of the channel.
async fn log_in(client: &mut Client, mechanism: &str, flag: &str, binding: &[u8], keys: &Keys) -> String {
    let bare = "n=ann@example.org,r=fyko+d2lbbFgONRv9qkxdawL";
    let header = format!("{flag},,");
    let first = client.ask(&format!("AUTH {mechanism} {}", STANDARD.encode(format!("{header}{bare}")))).await;
    let Some(challenge) = first.strip_prefix("334 ") else { return first };
    let server_first = String::from_utf8(STANDARD.decode(challenge.trim_end()).unwrap()).unwrap();
    let nonce = server_first.split(',').next().unwrap().strip_prefix("r=").unwrap();
    let last = format!("c={},r={nonce}", STANDARD.encode([header.as_bytes(), binding].concat()));
    let message = format!("{bare},{server_first},{last}");
    let proof = STANDARD.encode(xor(&keys.client, &sign(&keys.stored, message.as_bytes())));
    let reply = client.ask(&STANDARD.encode(format!("{last},p={proof}"))).await;
    let Some(words) = reply.strip_prefix("334 ") else { return reply };
    let signature = format!("v={}", STANDARD.encode(sign(&keys.server, message.as_bytes())));
    assert_eq!(STANDARD.decode(words.trim_end()).unwrap(), signature.as_bytes(), "the server did not prove itself");
    client.ask("").await
}

async fn connect(house: &House) -> Client {
    let mut client = Client::silent(house.port + 2).await.secure(house).await;
    assert!(client.reply().await.starts_with("220"));
    client.hello().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_logs_in_without_being_sent_and_one_in_between_is_noticed() {
    let house = House::start().await;
    let mut client = connect(&house).await;
    let binding = client.binding.clone();
    let reply = log_in(&mut client, "SCRAM-SHA-256-PLUS", "p=tls-exporter", &binding, &keys()).await;
    assert!(reply.starts_with("235 2.7.0"), "{reply}");
    client.expect("MAIL FROM:<ann@example.org>", "250").await;

    let mut client = connect(&house).await;
    let reply = log_in(&mut client, "SCRAM-SHA-256-PLUS", "p=tls-exporter", &binding, &keys()).await;
    assert!(reply.starts_with("535 5.7.8") && reply.contains("that of another connection"), "{reply}");
    let reply = log_in(&mut client, "SCRAM-SHA-256", "y", b"", &keys()).await;
    assert!(reply.starts_with("535 5.7.8") && reply.contains("has no channel binding"), "{reply}");
    let wrong = Keys { client: vec![7; 32], ..keys() };
    let reply = log_in(&mut client, "SCRAM-SHA-256", "n", b"", &wrong).await;
    assert!(reply.starts_with("535 5.7.8 wrong name or password"), "{reply}");
    let reply = log_in(&mut client, "SCRAM-SHA-256", "n", b"", &keys()).await;
    assert!(reply.starts_with("235 2.7.0"), "{reply}");
}
