//! What an owner of an account relies on, through the public interface and the files on disk.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use store::{
    Account, FlagChange, FlagUpdate, Flags, FolderId, FolderName, Keywords, ModSeq, New, Row, SpecialUse, Uid, Which,
};

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

/// The invariants: fsck finds nothing, and every message can be read and is what the index says.
fn check(account: &Account) {
    assert_eq!(account.fsck(false).unwrap(), []);
    for folder in account.folders().unwrap() {
        let selected = account.select(folder.id, false).unwrap();
        let rows: Vec<Row> = selected.image.rows().cloned().collect();
        assert!(rows.windows(2).all(|pair| pair[0].uid < pair[1].uid), "UIDs ascend");
        assert!(rows.last().is_none_or(|last| last.uid < selected.uid_next));
        assert!(rows.iter().all(|row| row.modseq <= selected.image.highest));
        assert_eq!(account.status(&folder.name).unwrap().counts.messages, rows.len() as u64);
        for (row, parsed) in rows.iter().zip(account.parsed(folder.id, &rows).unwrap()) {
            let bytes = account.read(folder.id, row.uid).unwrap();
            assert_eq!(bytes.len(), row.size as usize);
            assert_eq!(parsed.unwrap(), store::mime::Parsed::of(&bytes));
        }
    }
}

fn rows(account: &Account, id: FolderId) -> Vec<Row> {
    account.select(id, false).unwrap().image.rows().cloned().collect()
}

fn highest(account: &Account, id: FolderId) -> ModSeq {
    account.select(id, false).unwrap().image.highest
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
    let rows_before = rows(&account, inbox.id);
    drop(account);

    let account = Account::open(dir.path()).unwrap();
    let after = account.select(inbox.id, false).unwrap();
    assert_eq!(rows_before, rows(&account, inbox.id));
    assert_eq!(before.folder.validity, after.folder.validity);
    assert!(after.image.highest >= before.image.highest);
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
    let found = rows(&account, inbox.id);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].uid, kept);
    assert_eq!(found[0].flags, Flags::FLAGGED | Flags::ANSWERED);
    assert!(found[1].uid > gone);
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
            account.create_folder(&name("Work/2026 Größe")).unwrap();
            deliver(&account, "Work/2026 Größe", "two");
        }
        let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
        for folder in account.folders().unwrap() {
            assert!(validities.insert(folder.validity.0), "a rebuilt index has new UIDVALIDITYs");
        }
        assert_eq!(account.usage().unwrap().0, 2);
        assert_eq!(account.status(&name("Work/2026 Größe")).unwrap().counts.messages, 1);
        assert_eq!(rows(&account, inbox.id)[0].received, 1_700_000_000);
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
    let seen_rows = rows(&account, seen.folder.id);
    drop(account);

    fs::remove_file(dir.path().join("index.db")).unwrap();
    store::after_restore(dir.path()).unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let restored = account.select(inbox.id, false).unwrap();
    assert_eq!(restored.folder.validity, seen.folder.validity);
    let found = rows(&account, inbox.id);
    assert_eq!(found.len(), 301, "mail that came after the snapshot is adopted");
    assert_eq!(found[0], seen_rows[0], "mail of the snapshot keeps its UID");
    assert!(found[1].uid > *after.last().unwrap());
    assert!(restored.image.highest > seen.image.highest);
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
    let since = highest(&account, inbox.id);
    let moved = account.transfer(inbox.id, &uids[..2], archive.id, true).unwrap();
    assert_eq!(account.removed_since(inbox.id, since).unwrap().unwrap(), uids[..2]);
    let rows: HashMap<Uid, _> = rows(&account, archive.id).into_iter().map(|row| (row.uid, row)).collect();
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
    let since = highest(&account, inbox.id);
    assert_eq!(account.expunge(inbox.id, Some(&uids[1..])).unwrap(), uids[1..2]);
    assert_eq!(account.removed_since(inbox.id, since).unwrap().unwrap(), uids[1..2]);
    assert_eq!(account.expunge(inbox.id, None).unwrap(), uids[..1]);
    assert_eq!(account.status(&name("INBOX")).unwrap().counts.messages, 1);
    check(&account);
}

#[test]
fn a_message_changed_meanwhile_is_left_alone_when_asked_so() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let uid = deliver(&account, "INBOX", "one");
    let modseq = rows(&account, inbox.id)[0].modseq;
    account.update_flags(inbox.id, &[uid], &update(FlagChange::Add, Flags::SEEN, &[])).unwrap();
    let stale = FlagUpdate { unchanged_since: Some(modseq), ..update(FlagChange::Add, Flags::DELETED, &[]) };
    assert_eq!(account.update_flags(inbox.id, &[uid], &stale).unwrap().modified, [uid]);
    assert!(rows(&account, inbox.id)[0].modseq > modseq);
}

#[test]
fn folders_are_renamed_with_those_below_and_a_deleted_one_takes_its_mail_along() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    account.create_folder(&name("A/B/C")).unwrap();
    let uid = deliver(&account, "A/B/C", "deep");
    let validity = account.folder(&name("A/B/C")).unwrap().unwrap().validity;
    assert!(account.rename_folder(&name("A"), &name("A/X")).is_err());
    account.rename_folder(&name("A"), &name("Z/A")).unwrap();
    let moved = account.folder(&name("Z/A/B/C")).unwrap().unwrap();
    assert_eq!(moved.validity, validity);
    assert_eq!(account.read(moved.id, uid).unwrap(), b"Subject: deep\r\n\r\ndeep\r\n");
    account.delete_folder(&name("Z/A/B/C")).unwrap();
    let again = account.create_folder(&name("Z/A/B/C")).unwrap();
    assert!(again.validity.0 > validity.0);
    assert!(account.delete_folder(&name("INBOX")).is_err());
    deliver(&account, "INBOX", "one");
    account.rename_folder(&name("INBOX"), &name("Old")).unwrap();
    assert_eq!(account.status(&name("INBOX")).unwrap().counts.messages, 0);
    assert_eq!(account.status(&name("Old")).unwrap().counts.messages, 1);
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

#[test]
fn removed_mail_can_be_brought_back_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    account.create_folder(&name("Work")).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let kept = deliver(&account, "INBOX", "kept");
    let gone = deliver(&account, "INBOX", "gone");
    deliver(&account, "Work", "in a folder that goes");
    let mark = update(FlagChange::Add, Flags::DELETED | Flags::SEEN, &["Blue"]);
    account.update_flags(inbox.id, &[gone], &mark).unwrap();
    account.expunge(inbox.id, None).unwrap();
    account.delete_folder(&name("Work")).unwrap();
    assert_eq!(account.removed_usage().unwrap().0, 2);
    assert_eq!(account.usage().unwrap().0, 1, "what was removed counts no more");
    check(&account);

    // Also after the index was lost, though then nobody knows from where.
    drop(account);
    let account = Account::open(dir.path()).unwrap();
    let back = account.bring_back(&Which { folder: Some(name("Work")), since: None }).unwrap();
    assert_eq!(back.into_iter().collect::<Vec<_>>(), [(name("Work"), 1)]);
    let back = account.bring_back(&Which::default()).unwrap();
    assert_eq!(back.into_iter().collect::<Vec<_>>(), [(name("INBOX"), 1)]);
    let found = rows(&account, inbox.id);
    assert_eq!(found[0].uid, kept);
    assert!(found[1].uid > gone && found[1].flags == Flags::SEEN && found[1].keywords.contains("Blue"));
    assert_eq!(account.removed().unwrap(), []);
    check(&account);

    account.update_flags(inbox.id, &[kept], &mark).unwrap();
    account.expunge(inbox.id, None).unwrap();
    drop(account);
    fs::remove_file(dir.path().join("index.db")).unwrap();
    let account = Account::open(dir.path()).unwrap();
    let now = u64::from(account.removed().unwrap()[0].removed);
    assert_eq!(account.purge_removed(now + 29 * 24 * 3600).unwrap(), 0);
    assert_eq!(account.purge_removed(now + 31 * 24 * 3600).unwrap(), 1);
    assert_eq!(account.bring_back(&Which::default()).unwrap().len(), 0);
    check(&account);
}

/// The owner took a removed message's file out of a backup, and later the folder goes: both copies stay what they are.
#[test]
fn a_copy_put_back_by_hand_and_removed_again_changes_nothing_about_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let folder = account.create_folder(&name("Work")).unwrap();
    let uid = deliver(&account, "Work", "twice");
    let mark = update(FlagChange::Add, Flags::DELETED | Flags::FLAGGED, &["Blue"]);
    account.update_flags(folder.id, &[uid], &mark).unwrap();
    account.expunge(folder.id, None).unwrap();

    let kept = fs::read_dir(dir.path().join("removed")).unwrap().next().unwrap().unwrap();
    let base = kept.file_name().into_string().unwrap();
    fs::copy(kept.path(), dir.path().join("Maildir/.Work/cur").join(format!("{base}:2,S"))).unwrap();
    account.look_for_others(folder.id).unwrap();
    let [restored] = rows(&account, folder.id).try_into().unwrap();
    account.update_flags(folder.id, &[restored.uid], &update(FlagChange::Add, Flags::NONE, &["Red"])).unwrap();
    account.delete_folder(&name("Work")).unwrap();

    let back = account.bring_back(&Which::default()).unwrap();
    assert_eq!(back.into_iter().collect::<Vec<_>>(), [(name("Work"), 2)]);
    let id = account.folder(&name("Work")).unwrap().unwrap().id;
    let mut found: Vec<_> = rows(&account, id).into_iter().map(|row| (row.flags, row.keywords)).collect();
    found.sort_by_key(|(flags, _)| *flags == Flags::FLAGGED);
    assert!(found[0].0 == Flags::SEEN && found[0].1.contains("Red"), "{found:?}");
    assert!(found[1].0 == Flags::FLAGGED && found[1].1.contains("Blue"), "{found:?}");
    check(&account);
}

#[test]
fn fsck_names_what_is_wrong_and_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    for count in 0..5 {
        deliver(&account, "INBOX", &count.to_string());
    }
    check(&account);
    let mut found = files(dir.path(), "");
    found.sort();
    fs::remove_file(&found[0]).unwrap();
    fs::rename(&found[1], format!("{}FS", found[1].display())).unwrap();
    fs::write(&found[2], "Subject: edited by hand\n\n").unwrap();
    fs::write(dir.path().join("Maildir/cur/1.by.hand:2,S"), "Subject: dropped in\n\nx").unwrap();
    fs::create_dir_all(dir.path().join("Maildir/.Dropped/cur")).unwrap();
    let index = rusqlite::Connection::open(dir.path().join("index.db")).unwrap();
    index.execute("INSERT INTO expunged VALUES (9999, 1, 1)", []).unwrap();
    index.execute("UPDATE messages SET uid = 70000 WHERE uid = (SELECT max(uid) FROM messages)", []).unwrap();
    let told = account.fsck(false).unwrap();
    assert!(told.iter().all(|finding| !finding.mended));
    for words in ["no file", "not in the index", "other flags", "another size", "never reserved", "belong to nothing"] {
        assert!(told.iter().any(|finding| finding.problem.contains(words)), "{words}: {told:#?}");
    }
    assert_eq!(account.fsck(true).unwrap().iter().filter(|finding| !finding.mended).count(), 0);
    check(&account);
    assert!(account.folder(&name("Dropped")).unwrap().is_some());
    assert!(deliver(&account, "INBOX", "after").0 > 70_000);
    check(&account);
}

#[test]
fn a_folder_that_changed_while_the_box_was_down_is_compared_again() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let uid = deliver(&account, "INBOX", "one");
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(120));
    account.select(inbox.id, false).unwrap();
    drop(account);
    fs::write(dir.path().join("Maildir/new/77.other.host"), "Subject: by hand\n\nx\n").unwrap();
    let account = Account::open(dir.path()).unwrap();
    assert_eq!(rows(&account, inbox.id).len(), 2);
    assert_eq!(rows(&account, inbox.id)[0].uid, uid);
    check(&account);
}

#[test]
fn several_messages_are_stored_together() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let new = |bytes| New { bytes, flags: Flags::SEEN, keywords: Keywords::default(), received: 5 };
    let stored = account.deliver_many(&name("INBOX"), &[new(b"a: 1\r\n\r\n"), new(b"b: 2\r\n\r\n")]).unwrap();
    assert_eq!(stored[1].uid.0, stored[0].uid.0 + 1);
    assert!(account.deliver_many(&name("None"), &[new(b"x")]).is_err());
    check(&account);
}

#[test]
fn annotations_and_rights_stay_with_their_folder_and_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let work = account.create_folder(&name("Work")).unwrap().id;
    account.annotate(Some(work), &[("/private/Comment".into(), Some(b"mine".to_vec()))]).unwrap();
    account.annotate(None, &[("/shared/comment".into(), Some(b"all".to_vec()))]).unwrap();
    account.set_acl(work, "eve@example.org", "lrs").unwrap();
    account.rename_folder(&name("Work"), &name("Play")).unwrap();
    drop(account);
    let account = Account::open(dir.path()).unwrap();
    assert_eq!(account.annotations(Some(work)).unwrap()["/private/comment"], b"mine");
    assert_eq!(account.shared().unwrap(), [(work, "eve@example.org".to_owned(), "lrs".to_owned())]);
    assert!(account.annotate(Some(work), &[("/a".into(), Some(vec![0; 1 << 20]))]).is_err());
    account.annotate(Some(work), &[("/private/comment".into(), None)]).unwrap();
    assert_eq!(account.annotations(Some(work)).unwrap().len(), 0);
    account.delete_folder(&name("Play")).unwrap();
    assert!(account.shared().unwrap().is_empty() && account.set_acl(work, "x", "l").is_err());
    check(&account);
}

#[test]
fn text_is_found_before_and_after_it_is_indexed_and_after_a_rebuild() {
    use store::text::{Query, Scope};
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let archive = account.folder(&name("Archive")).unwrap().unwrap();
    let query = Query { scope: Scope::Any, needle: "invoi".into() };
    let answers = |account: &Account, id| -> Vec<Option<bool>> {
        let rows = rows(account, id);
        let hits = account.search_text(&query).unwrap().unwrap();
        rows.iter().map(|row| hits.holds(row.id)).collect()
    };
    deliver(&account, "INBOX", "the Invoice of May");
    deliver(&account, "INBOX", "something else");
    assert_eq!(answers(&account, inbox.id), [None, None], "not indexed: to be looked at");
    assert_eq!(account.index_some().unwrap(), 0);
    assert_eq!(answers(&account, inbox.id), [Some(true), Some(false)]);
    let late = deliver(&account, "INBOX", "another invoice");
    assert_eq!(answers(&account, inbox.id), [Some(true), Some(false), None]);
    account.index_some().unwrap();
    account.transfer(inbox.id, &[late], archive.id, true).unwrap();
    account.index_some().unwrap();
    assert_eq!(answers(&account, archive.id), [Some(true)]);
    drop(account);

    // Without the index of messages, and with a full-text index that is damaged: nothing false is ever told.
    fs::remove_file(dir.path().join("index.db")).unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    assert_eq!(answers(&account, inbox.id), [None, None]);
    account.index_some().unwrap();
    assert_eq!(answers(&account, inbox.id).iter().filter(|found| **found == Some(true)).count(), 1);
    assert!(account.text_bytes() > 0);
    drop(account);
    fs::write(dir.path().join("text.db"), vec![7; 9000]).unwrap();
    let account = Account::open(dir.path()).unwrap();
    assert_eq!(account.usage().unwrap().0, 3, "every folder was looked at");
    account.index_some().unwrap();
    assert_eq!(answers(&account, inbox.id).iter().filter(|found| **found == Some(true)).count(), 1);
    let uids: Vec<Uid> = rows(&account, inbox.id).iter().map(|row| row.uid).collect();
    account.update_flags(inbox.id, &uids, &update(FlagChange::Add, Flags::DELETED, &[])).unwrap();
    account.expunge(inbox.id, None).unwrap();
    account.tidy_text().unwrap();
    assert_eq!(account.search_text(&query).unwrap().unwrap().found().count(), 1, "the one in the archive");
    check(&account);
}

#[test]
fn what_is_shown_is_each_messages_own_whatever_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let inbox = account.folder(&name("INBOX")).unwrap().unwrap();
    let archive = account.folder(&name("Archive")).unwrap().unwrap();
    let uids: Vec<Uid> = (0..40).map(|count| deliver(&account, "INBOX", &format!("number {count}"))).collect();
    // Moved last first, so that numbers and UIDs run against each other; gaps; one that was never parsed.
    for uid in uids.iter().rev().step_by(3) {
        account.transfer(inbox.id, &[*uid], archive.id, true).unwrap();
    }
    fs::write(dir.path().join("Maildir/.Archive/new/1.by.hand"), "Subject: number 99\n\nnumber 99\n").unwrap();
    for folder in [inbox.id, archive.id] {
        let rows = rows(&account, folder);
        for some in [rows.clone(), rows.iter().rev().cloned().collect(), rows.iter().step_by(5).cloned().collect()] {
            let shown = account.shown(folder, &some, store::Shown::Envelope).unwrap();
            let parsed = account.parsed(folder, &some).unwrap();
            for ((row, shown), parsed) in some.iter().zip(shown).zip(parsed) {
                let subject = account.read(folder, row.uid).unwrap();
                let subject = String::from_utf8(subject).unwrap().lines().next().unwrap().replace("Subject: ", "");
                assert!(String::from_utf8(shown.unwrap()).unwrap().contains(&format!("\"{subject}\"")));
                assert_eq!(parsed.unwrap().envelope.subject.unwrap(), subject.into_bytes());
            }
        }
    }
    check(&account);
}
