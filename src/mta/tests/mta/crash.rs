//! What was acknowledged is there, whatever dies when.

use crate::house::{Client, House, Table, eventually, quick};
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
    for round in 0..3 {
        let mut process = start(&house);
        house.await_sockets(&[(Role::Mta, "mta")]).await;
        let names = [format!("a{round}"), format!("b{round}"), format!("c{round}")];
        let kill = async {
            tokio::time::sleep(Duration::from_millis(700 + 130 * round)).await;
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
