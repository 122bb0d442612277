//! What was acknowledged is there, whatever dies when.

use crate::house::{Client, House, Table, address, eventually, quick};
use crate::peer::Peer;
use base::{Paths, Role};
use mta::Schedule;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use std::time::Duration;

const ROOT: &str = "MAILSTEAD_TEST_ROOT";

/// The process that the test below kills.
#[tokio::test]
#[ignore = "it is the other process of the test below, which starts it"]
async fn mta_process() {
    let root = std::env::var(ROOT).expect("the root of a box");
    // Giving up is a delivery's proper end too, and must not come within the test.
    let schedule = Schedule { give_up: Duration::from_secs(3_600), ..quick() };
    mta::run_with(Paths::under(root), Table, schedule).await.unwrap();
}

/// Ends with the test, however that ends.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(house: &House) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::mta_process"])
        .env(ROOT, house.paths.root())
        .stdout(std::process::Stdio::null())
        .spawn();
    Process(child.unwrap())
}

/// Sends numbered messages until the server dies; gives those that were acknowledged.
async fn stream(house: &House, name: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut client = Client::to(house.port).await;
    client.ask("EHLO client.example.net").await;
    for number in 0.. {
        let subject = format!("Subject: {name}-{number}.\r\n");
        let envelope = "MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n";
        client.send(envelope).await;
        for _ in 0..4 {
            client.reply().await;
        }
        client.send(format!("{subject}\r\n.\r\n")).await;
        match client.reply().await {
            reply if reply.starts_with("250") => acknowledged.push(subject),
            reply => {
                assert_eq!(reply, "");
                break;
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_message_is_lost_when_the_process_is_killed() {
    let house = House::empty().await;
    house.slow.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for round in 0..kills(3) {
        let mut process = start(&house);
        house.await_sockets(&[(Role::Mta, "mta")]).await;
        let names = [format!("a{round}"), format!("b{round}"), format!("c{round}")];
        let kill = async {
            tokio::time::sleep(Duration::from_millis(rand::random_range(500..1_000))).await;
            process.kill();
        };
        let (a, b, c, ()) =
            tokio::join!(stream(&house, &names[0]), stream(&house, &names[1]), stream(&house, &names[2]), kill);
        acknowledged.extend([a, b, c].concat());
    }
    assert!(acknowledged.len() > 30, "only {} messages were acknowledged", acknowledged.len());
    house.slow.store(false, Ordering::Relaxed);
    let _process = start(&house);
    let arrived = |to: &str| {
        let all = house.messages_for(to).concat();
        acknowledged.iter().all(|subject| all.contains(subject))
    };
    eventually(|| arrived("bob@example.org") && arrived("slow@example.org")).await;
}

/// How often the process is killed; more with KILLS=100.
fn kills(usual: u32) -> u32 {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Hands in mail for elsewhere, as fast as it is taken, until the process dies; gives what was acknowledged.
async fn hand_in(house: &House, name: &str) -> Vec<String> {
    let client = wire::Client::new(house.paths.clone());
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let subject = format!("Subject: {name}-{number}.");
        let send = wire::mta::Send { from: address("ann@example.org"), to: address("joe@example.net") };
        let message = format!("From: ann@example.org\r\nTo: joe@example.net\r\n{subject}\r\n\r\nhi\r\n");
        match client.ask_with_body(&send, message.as_bytes()).await {
            Ok(_) => acknowledged.push(subject),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mail_on_its_way_out_is_lost_however_often_the_process_is_killed() {
    let house = House::empty().await;
    let peer = Peer::start(house.remote_port).await;
    let mut acknowledged = Vec::new();
    let rounds = kills(4);
    for round in 0..rounds {
        let mut process = start(&house);
        house.await_sockets(&[(Role::Mta, "mta")]).await;
        let (first, second) = (format!("a{round}"), format!("b{round}"));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..400))).await;
            process.kill();
        };
        let (a, b, ()) = tokio::join!(hand_in(&house, &first), hand_in(&house, &second), kill);
        acknowledged.extend([a, b].concat());
    }
    assert!(acknowledged.len() > 4 * rounds as usize, "only {} messages were acknowledged", acknowledged.len());
    let _process = start(&house);
    let arrived = || {
        let all = peer.subjects();
        acknowledged.iter().all(|subject| all.contains(subject))
    };
    eventually(arrived).await;
    house.await_empty_queue().await;
    // A delivery whose end was not written down yet is made again: no more than were under way at each kill.
    let (transactions, distinct) = (peer.transactions(), peer.subjects().len());
    eprintln!("{} acknowledged, {} delivered, {} of them twice", acknowledged.len(), distinct, transactions - distinct);
    assert!(transactions - distinct <= 10 * rounds as usize, "{transactions} deliveries of {distinct} messages");
}
