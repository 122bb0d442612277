//! A mailbox role in memory for the targets that fuzz whole sessions, with a directory that knows ann@example.org.
//!
//! An account goes on from one input to the next, which makes for mail to look at; after a number of inputs it is
//! checked and begun anew, so that it stays small.

pub mod smtp;

use base::{Address, Paths, Role};
use mailbox::fuzz::Place;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::runtime::Runtime;
use wire::directory::{AccountQuota, Login, Request, Resolution};
use wire::{Answer, Kind, Refusal, Serve};

/// Inputs before an account is begun anew.
const INPUTS: u32 = 300;

struct Directory;

impl Serve for Directory {
    type Request = Request;

    async fn answer(&self, _: Role, request: Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Resolve(ask) => {
                let known = ask.address.account() == ann();
                ask.answer(if known { Resolution::Accounts(vec![ann()]) } else { Resolution::Unknown })
            }
            Request::Authenticate(ask) => ask.answer(Login::Granted { account: ann(), admin: false }),
            Request::QuotaOf(ask) => ask.answer(AccountQuota { account_bytes: Some(8 << 20), domain_bytes: None }),
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

pub fn ann() -> Address {
    Address::parse("ann@example.org").expect("an address")
}

struct World {
    dir: tempfile::TempDir,
    runtime: Runtime,
    place: Place,
    inputs: u32,
}

impl World {
    fn new() -> World {
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let paths = Paths::under(dir.path());
        let own = paths.clone();
        runtime.spawn(async move { wire::serve(&own, Arc::new(Directory)).await });
        let place = runtime.block_on(async { Place::new(&paths) });
        let world = World { dir, runtime, place, inputs: 0 };
        world.runtime.block_on(async {
            while tokio::net::UnixStream::connect(paths.socket(Role::Directory, "directory")).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let seeds: [&[u8]; 2] = [include_bytes!("../seeds/message-1"), include_bytes!("../seeds/message-2")];
            for seed in seeds {
                let mut text =
                    b"LHLO x\r\nMAIL FROM:<eve@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n".to_vec();
                text.extend_from_slice(seed);
                text.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
                world.place.lmtp(&text).await.expect("a delivery");
            }
        });
        world
    }

    /// What was done to the account must have left it sound.
    fn check(&self) {
        let account = self.runtime.block_on(self.place.account(&ann())).expect("the account");
        assert_eq!(account.fsck(false).expect("a check"), [], "in {}", self.dir.path().display());
    }
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Does `work` in the mailbox role of this process.
pub fn with_place<T>(work: impl AsyncFnOnce(&Place) -> T) -> T {
    WORLD.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(|world| world.inputs >= INPUTS) {
            slot.as_ref().expect("a world").check();
            *slot = None;
        }
        let world = slot.get_or_insert_with(World::new);
        world.inputs += 1;
        world.runtime.block_on(work(&world.place))
    })
}
