//! Checking an account against the room's invariants, and mending it.
//!
//! What is wrong is named for its owner. Mending never removes a message: the files are believed, the index is made to
//! agree with them, and what cannot be explained is left where it is and told.

use crate::account::{Account, Inner};
use crate::error::{StoreError, at};
use crate::folders::{Folder, SpecialUse};
use crate::index::Commit;
use crate::messages::Entry;
use crate::types::{FolderId, ModSeq, Uid};
use crate::{index, kept, maildir, reconcile};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// Something that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The folder's name, or what part of the account it concerns.
    pub place: String,
    /// What is wrong, in words an owner understands.
    pub problem: String,
    /// Whether it is mended now. What is not says in `problem` what to do.
    pub mended: bool,
}

/// Gathers what is found; `mend` tells whether to mend it too.
struct Findings {
    mend: bool,
    all: Vec<Finding>,
}

impl Findings {
    /// Notes something that can be mended, and says whether to.
    fn mendable(&mut self, place: &str, problem: String) -> bool {
        self.all.push(Finding { place: place.to_owned(), problem, mended: self.mend });
        self.mend
    }

    /// Notes something that only its owner can mend.
    fn left(&mut self, place: &str, problem: String) {
        self.all.push(Finding { place: place.to_owned(), problem, mended: false });
    }
}

impl Account {
    /// Checks every invariant of the account and, with `mend`, makes right what is wrong. Holds the writer's lock, so
    /// mail for this account waits; a million messages take some ten seconds.
    pub fn fsck(&self, mend: bool) -> Result<Vec<Finding>, StoreError> {
        let mut inner = self.lock()?;
        let mut findings = Findings { mend, all: Vec::new() };
        whole_index(&inner, &mut findings)?;
        let folders = inner.all_folders()?;
        directories(&mut inner, &folders, &mut findings)?;
        special_uses(&mut inner, &folders, &mut findings)?;
        for folder in &folders {
            // What any first use of the folder would take in is nothing wrong.
            inner.first_look(folder.id)?;
            if let Some(path) = inner.folders.get(&folder.id).map(|state| state.path.clone()) {
                check_folder(&mut inner, folder, &path, &mut findings)?;
            }
        }
        orphans(&mut inner, &mut findings)?;
        removed(&mut inner, &mut findings)?;
        self.announce(&inner);
        Ok(findings.all)
    }
}

fn whole_index(inner: &Inner, findings: &mut Findings) -> Result<(), StoreError> {
    if let Err(index::Unusable::Corrupt(verdict)) = index::look_through(&inner.conn) {
        findings.left(
            "index",
            format!(
                "the index is damaged ({verdict}). Restart the mailbox service: it rebuilds the index from the mail"
            ),
        );
    }
    Ok(())
}

/// Invariant 2: a folder for each directory and the other way round.
fn directories(inner: &mut Inner, folders: &[Folder], findings: &mut Findings) -> Result<(), StoreError> {
    let on_disk: HashSet<String> = maildir::subfolders(&inner.maildir)?.into_iter().collect();
    let known: HashSet<String> = folders.iter().map(|folder| folder.name.directory()).collect();
    let mut mend = false;
    for dir in on_disk.iter().filter(|dir| !known.contains(*dir)) {
        match crate::FolderName::of_directory(dir) {
            Some(name) => {
                mend |= findings.mendable(name.as_str(), "the folder is on the disk but not in the index".into())
            }
            None => findings.left(dir, "the directory's name is none that a folder can have; rename it".into()),
        }
    }
    for folder in folders.iter().filter(|folder| !folder.name.is_inbox()) {
        if !on_disk.contains(&folder.name.directory()) {
            mend |= findings.mendable(folder.name.as_str(), "the folder's directory has gone from the disk".into());
        }
    }
    if mend { reconcile::folders(inner, false) } else { Ok(()) }
}

fn special_uses(inner: &mut Inner, folders: &[Folder], findings: &mut Findings) -> Result<(), StoreError> {
    for special in SpecialUse::STANDARD {
        let having = folders.iter().filter(|folder| folder.special == Some(special)).count();
        if having > 1 {
            let name = special.attribute();
            if findings.mendable(name, format!("{having} folders are marked {name}; the first keeps the mark")) {
                let sql = "UPDATE folders SET special = NULL WHERE special = ?1
                    AND id != (SELECT min(id) FROM folders WHERE special = ?1)";
                inner.commit(Commit::Synced, |transaction| Ok(transaction.execute(sql, [name]).map(|_| ())?))?;
            }
        }
    }
    Ok(())
}

fn check_folder(inner: &mut Inner, folder: &Folder, path: &Path, findings: &mut Findings) -> Result<(), StoreError> {
    let entries = inner.entries(folder.id)?;
    files(inner, folder, path, &entries, findings)?;
    let entries = inner.entries(folder.id)?;
    numbers(inner, folder, &entries, findings)?;
    memory(inner, folder, &entries, findings)
}

/// Invariants 2 and 9: each entry has its one file, of the size and with the flags that the index tells.
fn files(
    inner: &mut Inner,
    folder: &Folder,
    path: &Path,
    entries: &[Entry],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let place = folder.name.as_str();
    let mut on_disk: HashMap<String, (String, crate::Flags)> = HashMap::new();
    for file in maildir::scan(path)? {
        if let Some((other, _)) = on_disk.get(&file.base) {
            let (first, second) = (other.clone(), file.name);
            findings
                .left(place, format!("{first} and {second} have one base name; rename one of them, then check again"));
            continue;
        }
        on_disk.insert(file.base, (file.name, file.flags));
    }
    let (mut missing, mut reflagged) = (0, 0);
    let mut resized = Vec::new();
    for entry in entries {
        match on_disk.remove(&entry.base) {
            None => missing += 1,
            Some((name, flags)) => {
                reflagged += usize::from(flags != entry.row.flags);
                let file = path.join("cur").join(name);
                let size = fs::metadata(&file).map_err(at(&file))?.len();
                if size != u64::from(entry.row.size) {
                    resized.push((entry.row.id, size));
                }
            }
        }
    }
    let mut compare = false;
    let mut tell = |count: usize, what: &str| {
        if count > 0 {
            compare |= findings.mendable(place, format!("{count} {what}"));
        }
    };
    tell(missing, "messages of the index have no file any more; they are taken out of the index");
    tell(on_disk.len(), "message files are not in the index; they are taken in");
    tell(reflagged, "messages have other flags in their file's name than in the index; the name is believed");
    let unsized_before = resized.len();
    if unsized_before > 0
        && findings
            .mendable(place, format!("{unsized_before} files have another size than the index says; they were edited"))
    {
        inner.commit(Commit::Synced, |transaction| {
            for (id, size) in &resized {
                let size = u32::try_from(*size).unwrap_or(u32::MAX);
                transaction.execute("UPDATE messages SET size = ?1 WHERE id = ?2", (size, id.0))?;
                transaction.execute("DELETE FROM shown WHERE id = ?1", [id.0])?;
                transaction.execute("DELETE FROM parsed WHERE id = ?1", [id.0])?;
            }
            Ok(())
        })?;
        inner.forget_image(folder.id);
    }
    if compare { reconcile::folder(inner, folder.id) } else { Ok(()) }
}

/// Invariants 3 and 5: no UID or modification sequence beyond what was reserved.
fn numbers(inner: &mut Inner, folder: &Folder, entries: &[Entry], findings: &mut Findings) -> Result<(), StoreError> {
    let place = folder.name.as_str();
    let (uid_reserved, modseq_reserved) = reserved(inner, folder.id)?;
    let highest = entries.iter().map(|entry| entry.row.uid).max();
    if let Some(uid) = highest.filter(|uid| *uid >= uid_reserved)
        && findings.mendable(place, format!("UID {} was never reserved; the next ones come after it", uid.0))
    {
        let sql = "UPDATE folders SET uid_reserved = ?1 WHERE id = ?2";
        let next = uid.0.saturating_add(1);
        inner.commit(Commit::Synced, |transaction| Ok(transaction.execute(sql, (next, folder.id.0)).map(|_| ())?))?;
        inner.skip_uids(folder.id, Uid(next))?;
    }
    let highest = entries.iter().map(|entry| entry.row.modseq).max();
    if let Some(modseq) = highest.filter(|modseq| *modseq >= modseq_reserved)
        && findings.mendable(place, format!("modification sequence {} was never reserved", modseq.0))
    {
        inner.skip_modseqs(modseq)?;
    }
    Ok(())
}

fn reserved(inner: &Inner, id: FolderId) -> Result<(Uid, ModSeq), StoreError> {
    let sql = "SELECT uid_reserved, modseq_reserved FROM folders, account WHERE id = ?1";
    Ok(inner.conn.query_row(sql, [id.0], |row| Ok((Uid::from_sql(row.get(0)?), ModSeq::from_sql(row.get(1)?))))?)
}

/// Invariant 8: image and counts in memory are those of the index.
fn memory(inner: &mut Inner, folder: &Folder, entries: &[Entry], findings: &mut Findings) -> Result<(), StoreError> {
    let image = inner.image(folder.id)?;
    let same = image.len() == entries.len() && image.rows().zip(entries).all(|(row, entry)| *row == entry.row);
    let counts = inner.counts(folder.id)?;
    if (!same || counts != inner.count(folder.id)?)
        && findings.mendable(folder.name.as_str(), "what was in memory differed from the index".into())
    {
        inner.forget_image(folder.id);
    }
    Ok(())
}

/// Rows that belong to nothing.
fn orphans(inner: &mut Inner, findings: &mut Findings) -> Result<(), StoreError> {
    for (table, key, owner) in [
        ("messages", "folder", "folders"),
        ("expunged", "folder", "folders"),
        ("annotations", "folder", "folders"),
        ("acl", "folder", "folders"),
    ] {
        let which = format!("{key} != 0 AND {key} NOT IN (SELECT id FROM {owner})");
        let sql = format!("SELECT count(*) FROM {table} WHERE {which}");
        let count: i64 = inner.conn.query_row(&sql, [], |row| row.get(0))?;
        if count > 0 && findings.mendable("index", format!("{count} entries of “{table}” belong to nothing any more"))
        {
            let sql = format!("DELETE FROM {table} WHERE {which}");
            inner.commit(Commit::Synced, |transaction| Ok(transaction.execute(&sql, []).map(|_| ())?))?;
        }
    }
    Ok(())
}

/// Invariant 10: what is recorded as removed is there.
fn removed(inner: &mut Inner, findings: &mut Findings) -> Result<(), StoreError> {
    let differing = kept::differing(inner)?;
    if differing > 0
        && findings.mendable("removed mail", format!("{differing} removed messages were not recorded or had no file"))
    {
        kept::compare(inner)?;
    }
    Ok(())
}
