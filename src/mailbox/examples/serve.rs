//! A mailbox role with a directory that knows ann@ and bob@example.org, for trying clients by hand:
//! `cargo run -p mailbox --example serve -- DIR BASE_PORT` (IMAPS is on the port three above).

#[path = "../tests/common/mod.rs"]
mod common;

#[tokio::main]
async fn main() {
    base::logging::start();
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: serve DIR BASE_PORT";
    let dir = arguments.next().expect(usage);
    let port = arguments.next().and_then(|port| port.parse().ok()).expect(usage);
    let paths = common::furnish(std::path::Path::new(&dir), port);
    common::start(&paths);
    println!("password of ann@ and bob@example.org: {}", common::PASSWORD);
    std::future::pending::<()>().await;
}
