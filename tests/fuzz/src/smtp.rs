//! An MTA in memory for the target that fuzzes whole sessions, with neighbours that take everything.

use base::{Paths, Role};
use mta::fuzz::Place;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::runtime::Runtime;
use wire::directory::{Login, Request, Resolution, Sending};
use wire::filter::{self, Action, Signed, Verdict};
use wire::{Answer, Kind, Refusal, Serve};

/// Inputs before the queue is begun anew.
const INPUTS: u32 = 300;

struct Directory;

impl Serve for Directory {
    type Request = Request;

    async fn answer(&self, _: Role, request: Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Resolve(ask) => {
                let ours = ask.address.domain().as_str() == "example.org";
                ask.answer(if ours { Resolution::Accounts(vec![crate::ann()]) } else { Resolution::Elsewhere })
            }
            Request::Authenticate(ask) => ask.answer(Login::Granted { account: crate::ann(), admin: false }),
            Request::ScramOffered(ask) => ask.answer(false),
            Request::MaySend(ask) => ask.answer(true),
            Request::SendingOf(ask) => ask.answer(Sending::default()),
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

struct Filter;

impl Serve for Filter {
    type Request = filter::Request;

    async fn answer(&self, _: Role, request: filter::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            filter::Request::Judge(ask) => {
                let headers = String::new();
                ask.answer(Verdict { action: Action::Accept, score: 1.0, reasons: Vec::new(), headers, author: None, strict: false })
            }
            filter::Request::Sign(ask) => ask.answer(Signed { headers: String::new() }),
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

struct World {
    _dir: tempfile::TempDir,
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
        let (one, other) = (paths.clone(), paths.clone());
        runtime.spawn(async move { wire::serve(&one, Arc::new(Directory)).await });
        runtime.spawn(async move { wire::serve(&other, Arc::new(Filter)).await });
        let place = runtime.block_on(async {
            for (role, name) in [(Role::Directory, "directory"), (Role::Filter, "filter")] {
                while tokio::net::UnixStream::connect(paths.socket(role, name)).await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
            Place::new(&paths).expect("a place")
        });
        World { _dir: dir, runtime, place, inputs: 0 }
    }
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Does `work` in the MTA of this process.
pub fn with_place<T>(work: impl AsyncFnOnce(&Place) -> T) -> T {
    WORLD.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(|world| world.inputs >= INPUTS) {
            *slot = None;
        }
        let world = slot.get_or_insert_with(World::new);
        world.inputs += 1;
        world.runtime.block_on(work(&world.place))
    })
}
