//! What is left of the queue after a power cut at any moment. The queue is worked on under `strace`, and the system
//! calls are played into the model of a forgetful disk that the store is tried on as well.

#[path = "../../../store/tests/power_cut/disk.rs"]
mod disk;
#[path = "../../../store/tests/power_cut/trace.rs"]
mod trace;
mod workload;

use super::Queue;
use super::book::Rests;
use super::clock::Clock;
use disk::Survival;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use wire::mta::Which;
use workload::Told;

const RESTS: Rests = Rests { first: 0, longest: 0 };

fn cuts_wanted() -> usize {
    std::env::var("POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(250)
}

/// Where trees are built: in memory, where there is such a place.
fn quick_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by nothing_queued_is_lost_by_a_power_cut"]
async fn child_that_works_on_a_queue() {
    workload::run(Path::new(&std::env::var("MAILSTEAD_TEST_DIR").unwrap())).await;
}

fn traced(root: &Path, into: &Path) -> String {
    let calls = "openat,open,creat,write,pwrite64,writev,pwritev,rename,renameat,renameat2,unlink,unlinkat,link,linkat,\
                 mkdir,mkdirat,rmdir,ftruncate,truncate,fsync,fdatasync,close,dup,dup2,dup3,fcntl,copy_file_range,sendfile";
    let done = Command::new("strace")
        .args(["-f", "-xx", "-s", "2000000", "-o"])
        .arg(into)
        .args(["-e", &format!("trace={calls}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "queue::power_cut::child_that_works_on_a_queue"])
        .env("MAILSTEAD_TEST_DIR", root)
        .output()
        .expect("strace is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    std::fs::read_to_string(into).unwrap()
}

#[tokio::test]
async fn nothing_queued_is_lost_by_a_power_cut() {
    let dir = quick_dir();
    let root = dir.path().join("queue");
    std::fs::create_dir(&root).unwrap();
    let text = traced(&root, &dir.path().join("trace"));
    let mut player = trace::Player::new(&root);
    let lines: Vec<&str> = text.lines().collect();
    let total = lines.iter().filter(|line| trace::changes_something(line)).count();
    let (wanted, mut changes, mut cuts) = (cuts_wanted(), 0, 0);
    let every = (total / wanted).max(1);
    for line in lines {
        player.play(line);
        if !trace::changes_something(line) {
            continue;
        }
        changes += 1;
        if changes % every == 0 || changes == total {
            cuts += 1;
            let seed = changes as u64 * 2;
            for (number, survival) in
                [Survival::Some(seed), Survival::Some(seed + 1), Survival::Nothing].into_iter().enumerate()
            {
                // A name of its own: the thread of the queue before may still be closing its files.
                let tree = dir.path().join(format!("tree-{changes}-{number}"));
                player.disk.materialise(&tree, survival);
                let what = format!("cut after {changes} of {total} changes, {survival:?}, at\n{line:.300}");
                check(&tree, &player.told, &what).await;
                std::fs::remove_dir_all(&tree).unwrap();
            }
        }
    }
    assert_eq!(player.told.queued.len(), workload::MESSAGES, "the workload was played to its end");
    assert!(player.told.gone.len() > 10 && cuts >= wanted.min(total), "{cuts}");
}

/// Everything that was acknowledged and is not done with is there, whole; what is done with is gone, with its report.
async fn check(tree: &Path, told: &Told, what: &str) {
    let queue = Queue::open(tree.to_owned(), Clock::default(), RESTS).unwrap_or_else(|why| panic!("{why}: {what}"));
    let there = contents(&queue, what).await;
    for id in &told.queued {
        let removable = told.may_be_gone.contains(id);
        assert!(removable || there.contains_key(id), "{id} is lost: {what}");
    }
    for id in &told.gone {
        assert!(!there.contains_key(id), "{id} was done with and is back: {what}");
        assert!(there.contains_key(&format!("report-{id}")), "the report on {id} is lost: {what}");
    }
    for id in told.may_be_gone.iter().filter(|id| !there.contains_key(*id)) {
        assert!(there.contains_key(&format!("report-{id}")), "{id} went without its report: {what}");
    }
    for (id, bytes) in there {
        assert_eq!(bytes, workload::bytes_of(&id), "{id} is not whole: {what}");
    }
}

async fn contents(queue: &Arc<Queue>, what: &str) -> BTreeMap<String, Vec<u8>> {
    let mut there = BTreeMap::new();
    for (number, entry) in queue.meant(&Which::All, usize::MAX, |number, entry| (number, entry)).await.unwrap() {
        let bytes = queue.message(number, &entry.id).await.unwrap_or_else(|why| panic!("{}: {why}: {what}", entry.id));
        there.insert(entry.id, bytes);
    }
    there
}

/// The check can fail: a queue whose large message was lost does not pass.
#[tokio::test]
async fn a_disk_that_forgets_a_message_would_be_found_out() {
    let dir = quick_dir();
    let queue = Queue::open(dir.path().to_owned(), Clock::default(), RESTS).unwrap();
    workload::add(&queue, "large-1").await;
    drop(queue);
    let mut told = Told::default();
    told.hear("ACK queued large-1");
    check(dir.path(), &told, "whole").await;
    std::fs::remove_file(dir.path().join("messages/large-1")).unwrap();
    let path = dir.path().to_owned();
    let caught = tokio::spawn(async move { check(&path, &told, "damaged").await }).await;
    assert!(caught.is_err());
}
