//! An open account: the lock, its counters, and the feed of changes.

use crate::error::{StoreError, at};
use crate::folders::SpecialUse;
use crate::index::{self, Commit};
use crate::name::FolderName;
use crate::types::{FolderId, ModSeq, Uid};
use crate::{limits, maildir, reconcile};
use base::durable;
use rusqlite::{Connection, Transaction};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// One account's mail. Open it once per process and share it; every method blocks on the disk.
pub struct Account {
    dir: PathBuf,
    inner: Mutex<Inner>,
    feed: watch::Sender<ModSeq>,
    retired: AtomicBool,
}

/// What the lock guards.
pub(crate) struct Inner {
    pub conn: Connection,
    pub maildir: PathBuf,
    pub folders: HashMap<FolderId, FolderState>,
    modseq: u64,
    modseq_reserved: u64,
}

/// What is kept in memory of a folder.
pub(crate) struct FolderState {
    pub path: PathBuf,
    uid_next: u32,
    uid_reserved: u32,
    pub highest: ModSeq,
    /// The directories' times when index and files were last known to agree; `None` calls for a comparison.
    pub stamp: Option<(SystemTime, SystemTime)>,
}

impl Account {
    /// Opens the account in `dir`, making it if it is not there, and compares index and Maildir.
    pub fn open(dir: &Path) -> Result<Account, StoreError> {
        let maildir = dir.join("Maildir");
        maildir::create(&maildir, false)?;
        let conn = open_or_rebuild(dir)?;
        let mut inner = Inner { conn, maildir, folders: HashMap::new(), modseq: 0, modseq_reserved: 0 };
        inner.start()?;
        let feed = watch::Sender::new(ModSeq(inner.modseq));
        Ok(Account { dir: dir.to_owned(), inner: Mutex::new(inner), feed, retired: AtomicBool::new(false) })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells when anything in the account changed; what did is asked with [`Account::changes`].
    pub fn watch(&self) -> watch::Receiver<ModSeq> {
        self.feed.subscribe()
    }

    /// Refuses all further work, so that the folder can be moved away.
    pub fn retire(&self) {
        // Behind the lock, so that what is under way is finished first.
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.retired.store(true, Ordering::SeqCst);
        drop(inner);
        self.feed.send_modify(|_| {});
    }

    /// Whether [`Account::retire`] was called.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_retired() { Err(StoreError::Retired) } else { Ok(inner) }
    }

    /// Lets the watchers know, after a change.
    pub(crate) fn announce(&self, inner: &Inner) {
        self.feed.send_replace(ModSeq(inner.modseq));
    }
}

/// Opens the index; one that is missing or damaged is made anew, the damaged one kept beside it.
fn open_or_rebuild(dir: &Path) -> Result<Connection, StoreError> {
    let path = dir.join("index.db");
    if path.exists() {
        match index::open(&path) {
            Ok(conn) => return Ok(conn),
            Err(why) => {
                tracing::error!("{} is rebuilt from the Maildir: {why}", path.display());
                set_aside(&path)?;
            }
        }
    }
    // UIDVALIDITY counts on from the clock or from the last one given out, so that a rebuilt index has higher ones than
    // any before it.
    let now = u32::try_from(base::time::now_unix()).unwrap_or(u32::MAX - 1_000_000);
    let conn = index::create(&path, now.max(last_validity(&dir.join("Maildir"))))?;
    durable::sync_dir(dir).map_err(at(dir))?;
    Ok(conn)
}

/// Where the last UIDVALIDITY given out is kept besides the index.
const LAST_VALIDITY: &str = "mailstead-uidvalidity";

fn last_validity(maildir: &Path) -> u32 {
    let text = std::fs::read_to_string(maildir.join(LAST_VALIDITY)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn set_aside(path: &Path) -> Result<(), StoreError> {
    let aside = path.with_file_name(format!("index.db.damaged-{}", base::time::now_unix()));
    durable::rename(path, &aside).map_err(at(path))?;
    for suffix in ["index.db-wal", "index.db-shm"] {
        let beside = path.with_file_name(suffix);
        durable::remove(&beside).map_err(at(&beside))?;
    }
    Ok(())
}

impl Inner {
    fn start(&mut self) -> Result<(), StoreError> {
        let reserved: i64 = self.conn.query_row("SELECT modseq_reserved FROM account", [], |row| row.get(0))?;
        // Beginning after the last block is what makes an unsynced tail of the log harmless (invariants 3 and 5).
        self.modseq = ModSeq::from_sql(reserved).0;
        self.modseq_reserved = self.modseq;
        reconcile::folders(self)?;
        for special in SpecialUse::STANDARD {
            self.make_standard(special)?;
        }
        self.forget_old_removals()?;
        for id in self.folders.keys().copied().collect::<Vec<_>>() {
            let path = self.state(id)?.path.clone();
            maildir::clean_tmp(&path, limits::TMP_KEPT_SECONDS)?;
            reconcile::folder(self, id)?;
        }
        Ok(())
    }

    fn make_standard(&mut self, special: SpecialUse) -> Result<(), StoreError> {
        let taken = "SELECT EXISTS (SELECT 1 FROM folders WHERE special = ?1)";
        if self.conn.query_row(taken, [special.attribute()], |row| row.get(0))? {
            return Ok(());
        }
        let name = FolderName::parse(special.standard_name())?;
        let known = "UPDATE folders SET special = ?1 WHERE name = ?2";
        if self.conn.execute(known, (special.attribute(), name.as_str()))? == 0 {
            self.add_folder(&name, Some(special))?;
        }
        self.conn.execute("INSERT OR IGNORE INTO subscriptions VALUES (?1)", [name.as_str()])?;
        Ok(())
    }

    fn forget_old_removals(&mut self) -> Result<(), StoreError> {
        let floor = i64::try_from(self.modseq.saturating_sub(limits::EXPUNGED_KEPT)).unwrap_or(0);
        self.conn.execute("DELETE FROM expunged WHERE modseq < ?1", [floor])?;
        Ok(())
    }

    pub fn state(&mut self, id: FolderId) -> Result<&mut FolderState, StoreError> {
        self.folders.get_mut(&id).ok_or(StoreError::FolderGone)
    }

    /// Puts a folder of the index into memory.
    pub fn load_folder(&mut self, id: FolderId, dir: &str) -> Result<(), StoreError> {
        let sql = "SELECT uid_reserved FROM folders WHERE id = ?1";
        let reserved = Uid::from_sql(self.conn.query_row(sql, [id.0], |row| row.get(0))?).0;
        let path = if dir.is_empty() { self.maildir.clone() } else { self.maildir.join(dir) };
        let highest = ModSeq(self.modseq);
        let state = FolderState { path, uid_next: reserved, uid_reserved: reserved, highest, stamp: None };
        self.folders.insert(id, state);
        Ok(())
    }

    pub fn uid_next(&mut self, id: FolderId) -> Result<Uid, StoreError> {
        Ok(Uid(self.state(id)?.uid_next))
    }

    /// Takes `count` UIDs in a row and returns the first. Must not be called inside a transaction.
    pub fn take_uids(&mut self, id: FolderId, count: usize) -> Result<Uid, StoreError> {
        let count = u32::try_from(count).map_err(|_| StoreError::OutOfUids)?;
        let (next, reserved) = {
            let state = self.state(id)?;
            (state.uid_next, state.uid_reserved)
        };
        let after = next.checked_add(count).filter(|after| *after < u32::MAX).ok_or(StoreError::OutOfUids)?;
        if after > reserved {
            let end = after.saturating_add(limits::UID_BLOCK);
            index::set_commit(&self.conn, Commit::Synced)?;
            self.conn.execute("UPDATE folders SET uid_reserved = ?1 WHERE id = ?2", (end, id.0))?;
            self.state(id)?.uid_reserved = end;
        }
        self.state(id)?.uid_next = after;
        Ok(Uid(next))
    }

    /// The next modification sequence. Must not be called inside a transaction.
    pub fn take_modseq(&mut self) -> Result<ModSeq, StoreError> {
        let next = self.modseq + 1;
        if next >= self.modseq_reserved {
            let end = next + limits::MODSEQ_BLOCK;
            index::set_commit(&self.conn, Commit::Synced)?;
            self.conn.execute("UPDATE account SET modseq_reserved = ?1", [ModSeq(end).sql()])?;
            self.modseq_reserved = end;
        }
        self.modseq = next;
        Ok(ModSeq(next))
    }

    /// The next UIDVALIDITY, synced in the index and, for the time after its loss, in the Maildir.
    pub fn take_validity(&mut self) -> Result<u32, StoreError> {
        index::set_commit(&self.conn, Commit::Synced)?;
        let sql = "UPDATE account SET last_validity = last_validity + 1 RETURNING last_validity";
        let validity: u32 = self.conn.query_row(sql, [], |row| row.get(0))?;
        let record = self.maildir.join(LAST_VALIDITY);
        durable::write(&record, validity.to_string().as_bytes(), 0o600).map_err(at(&record))?;
        Ok(validity)
    }

    /// Runs `work` in one transaction of the given hardness.
    pub fn commit<T>(
        &mut self,
        commit: Commit,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        index::set_commit(&self.conn, commit)?;
        let transaction = self.conn.transaction()?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Does something to a folder's files, such that changes by others before it are still noticed afterwards.
    /// After a failure the folder is compared anew.
    pub fn touch<T>(
        &mut self,
        id: FolderId,
        work: impl FnOnce(&mut Inner) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let state = self.state(id)?;
        let undisturbed = state.stamp.is_some() && maildir::stamp(&state.path) == state.stamp;
        let result = work(self);
        if let Ok(state) = self.state(id) {
            state.stamp = if undisturbed && result.is_ok() { maildir::stamp(&state.path) } else { None };
        }
        result
    }
}
