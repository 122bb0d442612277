//! What is left after a power cut at any moment: an account is worked on under `strace`, the system calls are played
//! back into a model of a disk that forgets what was not synced, and the store is opened on what such a disk would hold.
//!
//! The model is harsher than file systems are: bytes that were not synced are gone, names that were not synced in their
//! directory are gone, or an arbitrary part of either survives. It grants one thing: a rename does not survive with its
//! removing half alone, unless only the directory it left was synced.

#[path = "power_cut/disk.rs"]
mod disk;
#[path = "power_cut/trace.rs"]
mod trace;
#[path = "power_cut/workload.rs"]
mod workload;

use disk::Survival;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use store::{Account, FolderName, Keywords, New, Row, Uid, Which};
use workload::{Told, bytes_of};

/// Cuts that are looked at, spread over the whole trace; each leaves four trees. More can be asked for.
fn cuts_wanted() -> usize {
    std::env::var("POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[test]
#[ignore = "started by nothing_acknowledged_is_lost_by_a_power_cut"]
fn child_that_works_on_an_account() {
    workload::run(Path::new(&std::env::var("MAILSTEAD_TEST_DIR").unwrap()));
}

/// Where trees are built: in memory, where there is such a place.
fn quick_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn traced(account: &Path, into: &Path) -> String {
    let calls = "openat,open,creat,write,pwrite64,writev,pwritev,rename,renameat,renameat2,unlink,unlinkat,link,linkat,\
                 mkdir,mkdirat,rmdir,ftruncate,truncate,fsync,fdatasync,close,dup,dup2,dup3,fcntl,copy_file_range,sendfile";
    let done = Command::new("strace")
        .args(["-f", "-xx", "-s", "2000000", "-o"])
        .arg(into)
        .args(["-e", &format!("trace={calls}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_that_works_on_an_account"])
        .env("MAILSTEAD_TEST_DIR", account)
        .output()
        .expect("strace is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    std::fs::read_to_string(into).unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut() {
    let dir = quick_dir();
    let account = dir.path().join("account");
    std::fs::create_dir(&account).unwrap();
    let text = traced(&account, &dir.path().join("trace"));
    let mut player = trace::Player::new(&account);
    let lines: Vec<&str> = text.lines().collect();
    let total = lines.iter().filter(|line| trace::changes_something(line)).count();
    let wanted = cuts_wanted();
    let every = (total / wanted).max(1);
    let (mut changes, mut cuts) = (0, 0);
    for line in lines {
        player.play(line);
        if !trace::changes_something(line) {
            continue;
        }
        changes += 1;
        if changes % every == 0 || changes == total {
            cuts += 1;
            let seed = changes as u64 * 3;
            let by_chance = [seed, seed + 1, seed + 2].map(Survival::Some);
            for survival in by_chance.into_iter().chain([Survival::Nothing]) {
                let tree = dir.path().join("tree");
                player.disk.materialise(&tree, survival);
                let what = format!("cut after {changes} of {total} changes, {survival:?}, at\n{}", short(line));
                check(&tree, &player.told, &what);
                std::fs::remove_dir_all(&tree).unwrap();
            }
        }
    }
    assert!(player.told.acknowledged() > 80, "the workload was played to its end: {}", player.told.acknowledged());
    assert!(cuts >= wanted.min(total), "{cuts}");
}

fn short(line: &str) -> &str {
    &line[..line.len().min(300)]
}

/// What is found of a message: where, its UID, and what marks it.
struct Found {
    validity: u32,
    uid: u32,
    row: Row,
}

fn found(account: &Account) -> BTreeMap<String, Vec<Found>> {
    let mut all: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for folder in account.folders().unwrap() {
        let selected = account.select(folder.id, false).unwrap();
        for row in selected.image.rows() {
            let bytes = account.read(folder.id, row.uid).unwrap();
            let content = workload::content_of(&bytes);
            let one = Found { validity: folder.validity.0, uid: row.uid.0, row: row.clone() };
            all.entry(content).or_default().push(one);
        }
    }
    all
}

fn check(tree: &Path, told: &Told, what: &str) {
    let account = Account::open(tree).unwrap_or_else(|why| panic!("{why}: {what}"));
    account.fsck(true).unwrap();
    assert_eq!(account.fsck(false).unwrap(), [], "{what}");
    let there = found(&account);
    uids_are_those_told(&there, told, what);
    for folder in account.folders().unwrap() {
        let highest = account.select(folder.id, false).unwrap().image.highest.0;
        let before = told.highest.get(&folder.validity.0).copied().unwrap_or(0);
        assert!(highest >= before, "HIGHESTMODSEQ of {} went from {before} to {highest}: {what}", folder.name);
    }
    let removable = |content: &str| told.may_be_removed.contains(content);
    let missing: Vec<&String> =
        told.stored.iter().filter(|content| !there.contains_key(*content) && !removable(content)).collect();
    assert!(missing.is_empty(), "acknowledged and missing: {missing:?}: {what}");
    for content in told.removed.iter().filter(|content| told.must_stay_removed(content)) {
        assert!(!there.contains_key(content), "{content} was removed and is back: {what}");
    }

    // New mail never gets a number that was told before; what was removed comes back with what marked it.
    let inbox = FolderName::inbox();
    let new =
        New { bytes: b"Subject: after\r\n\r\n", flags: store::Flags::NONE, keywords: Keywords::default(), received: 0 };
    let stored = account.deliver(&inbox, &new).unwrap();
    let last = told.uids.keys().filter(|(validity, _)| *validity == stored.validity.0).map(|(_, uid)| *uid).max();
    assert!(last.is_none_or(|last| stored.uid > Uid(last)), "UID {:?} after {last:?}: {what}", stored.uid);
    account.bring_back(&Which::default()).unwrap();
    let there = found(&account);
    uids_are_those_told(&there, told, what);
    for content in &told.stored {
        let copies = there.get(content).unwrap_or_else(|| panic!("{content} is gone: {what}"));
        if let Some(words) = told.keywords.get(content) {
            let kept = copies.iter().any(|copy| words.iter().all(|word| copy.row.keywords.contains(word)));
            assert!(kept, "{content} has lost {words:?}: {what}");
        }
        if let Some((validity, uid, bits)) = told.flags.get(content) {
            let same = copies.iter().find(|copy| (copy.validity, copy.uid) == (*validity, *uid));
            assert!(same.is_none_or(|copy| workload::bits(copy.row.flags) == *bits), "flags of {content}: {what}");
        }
    }
    assert_eq!(account.fsck(false).unwrap(), [], "{what}");
}

fn uids_are_those_told(there: &BTreeMap<String, Vec<Found>>, told: &Told, what: &str) {
    let mut seen: HashMap<(u32, u32), &str> = HashMap::new();
    for (content, copies) in there {
        for copy in copies {
            let number = (copy.validity, copy.uid);
            assert!(seen.insert(number, content).is_none(), "{number:?} is there twice: {what}");
            if let Some(before) = told.uids.get(&number) {
                assert_eq!(before, content, "{number:?} was handed out twice: {what}");
            }
        }
    }
}

/// A tree that a sound disk would leave passes; one with a file cut short does not: the check can fail.
#[test]
fn a_disk_that_forgets_synced_bytes_would_be_found_out() {
    let dir = quick_dir();
    let account = Account::open(dir.path()).unwrap();
    let bytes = bytes_of("one");
    let new = New { bytes: &bytes, flags: store::Flags::NONE, keywords: Keywords::default(), received: 0 };
    let stored = account.deliver(&FolderName::inbox(), &new).unwrap();
    drop(account);
    let mut told = Told::default();
    told.hear(&format!("ACK stored one {} {}", stored.validity.0, stored.uid.0));
    check(dir.path(), &told, "whole");
    let cur: PathBuf = dir.path().join("Maildir/cur");
    let files: BTreeSet<PathBuf> = std::fs::read_dir(cur).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let caught = std::panic::catch_unwind(|| check(dir.path(), &told, "damaged"));
    assert!(caught.is_err());
}
