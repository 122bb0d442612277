//! What an owner of an account relies on, through the public interface and the files on disk.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use store::{Account, FlagChange, FlagUpdate, Flags, FolderName, Keywords, ModSeq, New, SpecialUse, Uid};

fn name(text: &str) -> FolderName {
    FolderName::parse(text).unwrap()
}

fn deliver(account: &Account, folder: &str, text: &str) -> Uid {
    let bytes = format!("Subject: {text}\r\n\r\n{text}\r\n");
    let new =
        New { bytes: bytes.as_bytes(), flags: Flags::NONE, keywords: Keywords::default(), received: 1_700_000_000 };
    account.deliver(&name(folder), &new).unwrap().uid
}

fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let cur = dir.join("Maildir").join(folder).join("cur");
    fs::read_dir(cur).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn update(change: FlagChange, flags: Flags, keywords: &[&str]) -> FlagUpdate {
    FlagUpdate { change, flags, keywords: Keywords::new(keywords.iter().copied()), unchanged_since: None }
}

/// The invariants that can be seen from outside: index and files agree, every message can be read.
fn check(account: &Account) {
    for folder in account.folders().unwrap() {
        let selected = account.select(folder.id, false).unwrap();
        let uids: Vec<Uid> = selected.rows.iter().map(|row| row.uid).collect();
        assert!(uids.windows(2).all(|pair| pair[0] < pair[1]), "UIDs ascend");
        assert!(uids.last().is_none_or(|last| *last < selected.uid_next));
        assert!(selected.rows.iter().all(|row| row.modseq <= selected.highest));
        let dir = if folder.name.is_inbox() { String::new() } else { format!(".{}", folder.name.to_wire()) };
        assert_eq!(files(account.dir(), &dir).len(), uids.len(), "{}", folder.name);
        for details in account.details(folder.id, &uids, true).unwrap() {
            let bytes = account.read(folder.id, details.uid).unwrap();
            assert_eq!(bytes.len() as u64, details.size);
            assert!(details.parsed.is_some());
        }
    }
}

#[test]
fn a_new_account_has_the_standard_folders_and_they_are_subscribed() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let names: Vec<String> = account.folders().unwrap().iter().map(|folder| folder.name.to_string()).collect();
    assert_eq!(names, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    assert_eq!(account.subscriptions().unwrap().len(), 6);
    assert_eq!(account.special(SpecialUse::Junk).unwrap().unwrap().name, name("Junk"));
    assert!(dir.path().join("Maildir/.Junk/cur").is_dir());
}

#[test]
fn mail_flags_and_keywords_are_there_after_a_restart_and_uids_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let first = deliver(&account, "INBOX", "one");
    account.update_flags(inbox.id, &[first], &update(FlagChange::Add, Flags::SEEN, &["$Label1"])).unwrap();
    assert!(files(dir.path(), "")[0].to_string_lossy().ends_with(":2,S"));
    let before = account.select(inbox.id, false).unwrap();
    drop(account);

    let account = Account::open(dir.path()).unwrap();
    let after = account.select(inbox.id, false).unwrap();
    assert_eq!(before.rows, after.rows);
    assert_eq!(before.folder.validity, after.folder.validity);
    assert!(after.highest >= before.highest);
    assert!(deliver(&account, "INBOX", "two") >= before.uid_next);
    check(&account);
}

#[test]
fn changes_by_other_tools_are_noticed_at_the_next_select() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let kept = deliver(&account, "INBOX", "kept");
    let gone = deliver(&account, "INBOX", "gone");
    account.select(inbox.id, false).unwrap();
    for file in files(dir.path(), "") {
        if fs::read_to_string(&file).unwrap().contains("gone") {
            fs::remove_file(&file).unwrap();
        } else {
            fs::rename(&file, format!("{}FR", file.display())).unwrap();
        }
    }
    fs::write(dir.path().join("Maildir/new/77.other.host"), "Subject: by hand\n\nx\n").unwrap();
    let selected = account.select(inbox.id, false).unwrap();
    assert_eq!(selected.rows.len(), 2);
    assert_eq!(selected.rows[0].uid, kept);
    assert_eq!(selected.rows[0].flags, Flags::FLAGGED | Flags::ANSWERED);
    assert!(selected.rows[1].uid > gone);
    check(&account);
}

#[test]
fn a_file_renamed_by_another_tool_is_still_read_and_flagged() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let uid = deliver(&account, "INBOX", "one");
    let file = files(dir.path(), "").remove(0);
    fs::rename(&file, format!("{}S", file.display())).unwrap();
    assert!(!account.read(inbox.id, uid).unwrap().is_empty());
    let file = files(dir.path(), "").remove(0);
    fs::rename(&file, file.to_string_lossy().replace(":2,S", ":2,F")).unwrap();
    let changed = account.update_flags(inbox.id, &[uid], &update(FlagChange::Add, Flags::ANSWERED, &[])).unwrap();
    assert_eq!(changed.rows[0].flags, Flags::FLAGGED | Flags::ANSWERED);
    check(&account);
}

#[test]
fn a_lost_or_damaged_index_is_rebuilt_without_losing_mail() {
    let dir = tempfile::tempdir().unwrap();
    let mut validities = HashSet::new();
    for round in 0..3 {
        let account = Account::open(dir.path()).unwrap();
        if round == 0 {
            deliver(&account, "INBOX", "one");
            account.create_folder(&name("Work.2026 Größe")).unwrap();
            deliver(&account, "Work.2026 Größe", "two");
        }
        let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
        for folder in account.folders().unwrap() {
            assert!(validities.insert(folder.validity.0), "a rebuilt index has new UIDVALIDITYs");
        }
        assert_eq!(account.usage().unwrap().0, 2);
        assert_eq!(account.status(&name("Work.2026 Größe")).unwrap().messages, 1);
        let row = &account.select(inbox.id, false).unwrap().rows[0];
        assert_eq!(account.details(inbox.id, &[row.uid], false).unwrap()[0].received, 1_700_000_000);
        check(&account);
        drop(account);
        let index = dir.path().join("index.db");
        match round {
            0 => fs::remove_file(&index).unwrap(),
            _ => fs::write(&index, vec![0x55; 8192]).unwrap(),
        }
    }
}

#[test]
fn a_restored_index_never_hands_out_a_uid_again() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    deliver(&account, "INBOX", "before");
    store::snapshot(dir.path()).unwrap();
    let after: Vec<Uid> = (0..300).map(|count| deliver(&account, "INBOX", &format!("after {count}"))).collect();
    let seen = account.select(account.folder(&name("INBOX")).unwrap().unwrap().id, false).unwrap();
    drop(account);

    fs::remove_file(dir.path().join("index.db")).unwrap();
    store::after_restore(dir.path()).unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let restored = account.select(inbox.id, false).unwrap();
    assert_eq!(restored.folder.validity, seen.folder.validity);
    assert_eq!(restored.rows.len(), 301, "mail that came after the snapshot is adopted");
    assert_eq!(restored.rows[0], seen.rows[0], "mail of the snapshot keeps its UID");
    assert!(restored.rows[1].uid > *after.last().unwrap());
    assert!(restored.highest > seen.highest);
    check(&account);
}

#[test]
fn an_empty_folder_stays_the_same_without_its_empty_directories() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let before = account.folder(&name("Archive")).unwrap().unwrap();
    drop(account);
    for part in ["cur", "new", "tmp"] {
        fs::remove_dir(dir.path().join("Maildir/.Archive").join(part)).unwrap();
    }
    let account = Account::open(dir.path()).unwrap();
    assert_eq!(account.folder(&name("Archive")).unwrap().unwrap().validity, before.validity);
    deliver(&account, "Archive", "it takes mail again");
    check(&account);
}

#[test]
fn moved_and_copied_messages_keep_bytes_flags_and_date() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let archive = account.folder(&name("Archive")).unwrap().unwrap();
    let uids: Vec<Uid> = (0..3).map(|count| deliver(&account, "INBOX", &count.to_string())).collect();
    account.update_flags(inbox.id, &uids[..1], &update(FlagChange::Replace, Flags::FLAGGED, &["Work"])).unwrap();
    let copied = account.transfer(inbox.id, &uids, archive.id, false).unwrap();
    assert_eq!(copied.uids.len(), 3);
    let since = account.select(inbox.id, false).unwrap().highest;
    let moved = account.transfer(inbox.id, &uids[..2], archive.id, true).unwrap();
    assert_eq!(account.changes(inbox.id, since).unwrap().removed, uids[..2]);
    let rows: HashMap<Uid, _> =
        account.select(archive.id, false).unwrap().rows.into_iter().map(|row| (row.uid, row)).collect();
    assert_eq!(rows.len(), 5);
    for uid in [copied.uids[0].1, moved.uids[0].1] {
        assert_eq!(rows[&uid].flags, Flags::FLAGGED);
        assert!(rows[&uid].keywords.contains("Work"));
        assert_eq!(account.read(archive.id, uid).unwrap(), b"Subject: 0\r\n\r\n0\r\n");
    }
    check(&account);
    drop(account);
    check(&Account::open(dir.path()).unwrap());
}

#[test]
fn only_messages_marked_deleted_are_expunged_and_sessions_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let watch = account.watch();
    let uids: Vec<Uid> = (0..3).map(|count| deliver(&account, "INBOX", &count.to_string())).collect();
    assert!(watch.has_changed().unwrap());
    account.update_flags(inbox.id, &uids[..2], &update(FlagChange::Add, Flags::DELETED, &[])).unwrap();
    let since = account.select(inbox.id, false).unwrap().highest;
    assert_eq!(account.expunge(inbox.id, Some(&uids[1..])).unwrap(), uids[1..2]);
    assert_eq!(account.changes(inbox.id, since).unwrap().removed, uids[1..2]);
    assert_eq!(account.expunge(inbox.id, None).unwrap(), uids[..1]);
    assert_eq!(account.status(&name("INBOX")).unwrap().messages, 1);
    check(&account);
}

#[test]
fn a_message_changed_meanwhile_is_left_alone_when_asked_so() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let uid = deliver(&account, "INBOX", "one");
    let modseq = account.select(inbox.id, false).unwrap().rows[0].modseq;
    account.update_flags(inbox.id, &[uid], &update(FlagChange::Add, Flags::SEEN, &[])).unwrap();
    let stale = FlagUpdate { unchanged_since: Some(modseq), ..update(FlagChange::Add, Flags::DELETED, &[]) };
    assert_eq!(account.update_flags(inbox.id, &[uid], &stale).unwrap().modified, [uid]);
    assert!(account.changes(inbox.id, modseq).unwrap().rows[0].modseq > ModSeq(modseq.0));
}

#[test]
fn folders_are_renamed_with_those_below_and_a_deleted_one_takes_its_mail_along() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    account.create_folder(&name("A.B.C")).unwrap();
    let uid = deliver(&account, "A.B.C", "deep");
    let validity = account.folder(&name("A.B.C")).unwrap().unwrap().validity;
    assert!(account.rename_folder(&name("A"), &name("A.X")).is_err());
    account.rename_folder(&name("A"), &name("Z.A")).unwrap();
    let moved = account.folder(&name("Z.A.B.C")).unwrap().unwrap();
    assert_eq!(moved.validity, validity);
    assert_eq!(account.read(moved.id, uid).unwrap(), b"Subject: deep\r\n\r\ndeep\r\n");
    account.delete_folder(&name("Z.A.B.C")).unwrap();
    let again = account.create_folder(&name("Z.A.B.C")).unwrap();
    assert!(again.validity.0 > validity.0);
    assert!(account.delete_folder(&name("INBOX")).is_err());
    deliver(&account, "INBOX", "one");
    account.rename_folder(&name("INBOX"), &name("Old")).unwrap();
    assert_eq!(account.status(&name("INBOX")).unwrap().messages, 0);
    assert_eq!(account.status(&name("Old")).unwrap().messages, 1);
    check(&account);
}

#[test]
fn a_retired_account_takes_no_more_mail() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    account.retire();
    let new = New { bytes: b"x", flags: Flags::NONE, keywords: Keywords::default(), received: 0 };
    assert!(matches!(account.deliver(&name("INBOX"), &new), Err(store::StoreError::Retired)));
}
