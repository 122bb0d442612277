//! An open account: the writer's lock, the images that readers see, its counters, and the feed of changes.
//!
//! Only who holds the lock ([`Inner`]) changes anything. Readers need no lock for what an [`Image`] tells, and a reading
//! connection of their own for the rest, so that neither a long search nor a slow disk stops the others.

use crate::arrivals::Arrivals;
use crate::error::{StoreError, at};
use crate::folders::SpecialUse;
use crate::fulltext::{self, FullText};
use crate::image::Image;
use crate::index::{self, Commit};
use crate::name::FolderName;
use crate::types::{Counts, FolderId, ModSeq, Row, Uid};
use crate::{kept, limits, maildir, reconcile};
use base::durable;
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// One account's mail. Open it once per process and share it; every method blocks on the disk.
pub struct Account {
    dir: PathBuf,
    inner: Mutex<Inner>,
    reader: Mutex<Connection>,
    images: Arc<Images>,
    fulltext: Arc<FullText>,
    arrivals: Arrivals,
    feed: watch::Sender<u64>,
    retired: AtomicBool,
}

/// The images of the folders in use, with the time of their last use.
#[derive(Default)]
pub(crate) struct Images(RwLock<HashMap<FolderId, (Arc<Image>, Instant)>>);

/// What the lock guards.
pub(crate) struct Inner {
    pub conn: Connection,
    pub maildir: PathBuf,
    pub folders: HashMap<FolderId, FolderState>,
    images: Arc<Images>,
    fulltext: Arc<FullText>,
    modseq: u64,
    modseq_reserved: u64,
    /// How hard the next commit is, to save asking SQLite.
    hardness: Commit,
    changes: u64,
}

/// What is kept in memory of a folder.
pub(crate) struct FolderState {
    pub path: PathBuf,
    uid_next: u32,
    uid_reserved: u32,
    pub highest: ModSeq,
    /// The directories' times when index and files were last known to agree; `None` calls for a comparison.
    pub stamp: Option<Stamp>,
    /// Whether index and files were compared since the opening, or need not be.
    pub compared: bool,
    /// Counted when first asked for, and kept up from then on.
    pub counts: Option<Counts>,
}

/// When `cur/` and `new/` last changed.
pub(crate) type Stamp = (SystemTime, SystemTime);

impl Account {
    /// Opens the account in `dir`, making it if it is not there. Each folder is compared with its files when it is
    /// first used, unless the account was closed cleanly and nothing has changed since.
    pub fn open(dir: &Path) -> Result<Account, StoreError> {
        let maildir = dir.join("Maildir");
        maildir::create(&maildir, false)?;
        let conn = open_or_rebuild(dir)?;
        let (images, fulltext) = (Arc::<Images>::default(), Arc::<FullText>::default());
        let mut inner = Inner {
            conn,
            maildir,
            folders: HashMap::new(),
            images: Arc::clone(&images),
            fulltext: Arc::clone(&fulltext),
            modseq: 0,
            modseq_reserved: 0,
            hardness: Commit::Synced,
            changes: 0,
        };
        inner.start()?;
        let reader = Mutex::new(index::reader(&dir.join("index.db"))?);
        let feed = watch::Sender::new(0);
        Ok(Account {
            dir: dir.to_owned(),
            inner: Mutex::new(inner),
            reader,
            images,
            fulltext,
            arrivals: Arrivals::default(),
            feed,
            retired: AtomicBool::new(false),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells when anything in the account changed; what did is seen by comparing images.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.feed.subscribe()
    }

    /// Refuses all further work, so that the folder can be moved away.
    pub fn retire(&self) {
        // Behind the lock, so that what is under way is finished first.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.retired.store(true, Ordering::SeqCst);
        inner.close();
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

    /// The reading connection; held for short.
    pub(crate) fn reader(&self) -> Result<MutexGuard<'_, Connection>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_retired() { Err(StoreError::Retired) } else { Ok(reader) }
    }

    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    pub(crate) fn fulltext(&self) -> &FullText {
        &self.fulltext
    }

    /// Lets the watchers know, after a change.
    pub(crate) fn announce(&self, inner: &Inner) {
        self.feed.send_if_modified(|told| std::mem::replace(told, inner.changes) != inner.changes);
    }

    /// A folder's messages as they are now; loaded from the index if nobody has used the folder lately.
    pub fn image(&self, id: FolderId) -> Result<Arc<Image>, StoreError> {
        match self.images.get(id) {
            Some(image) if !self.is_retired() => Ok(image),
            _ => self.lock()?.image(id),
        }
    }

    /// The same without ever waiting; `None` when it is not in memory.
    pub fn image_in_memory(&self, id: FolderId) -> Option<Arc<Image>> {
        if self.is_retired() { None } else { self.images.get(id) }
    }

    /// Drops images that nobody has used for a while. To be called now and then.
    pub fn tidy(&self) {
        self.images.forget_unused(Duration::from_secs(limits::IMAGE_KEPT_SECONDS));
        // Whoever is at work keeps what is in use.
        if let Ok(inner) = self.inner.try_lock() {
            index::relax(&inner.conn);
        }
        if let Ok(reader) = self.reader.try_lock() {
            index::relax(&reader);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.is_retired() {
            self.inner.get_mut().unwrap_or_else(PoisonError::into_inner).close();
        }
    }
}

impl Images {
    fn get(&self, id: FolderId) -> Option<Arc<Image>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).map(|(image, _)| Arc::clone(image))
    }

    pub fn put(&self, id: FolderId, image: Arc<Image>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, (image, Instant::now()));
    }

    pub fn forget(&self, id: FolderId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn forget_unused(&self, after: Duration) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (image, used)| {
            if Arc::strong_count(image) > 1 {
                *used = Instant::now();
            }
            used.elapsed() < after
        });
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
    // Messages get other numbers now.
    fulltext::forget_index(dir)?;
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
        let sql = "SELECT modseq_reserved, clean FROM account";
        let (reserved, clean): (i64, bool) = self.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        // Beginning after the last block is what makes an unsynced tail of the log harmless (invariants 3 and 5).
        self.modseq = ModSeq::from_sql(reserved).0;
        self.modseq_reserved = self.modseq;
        // Synced before anything changes: from here on, an end without a close is one that left the stamps behind.
        self.conn.execute("UPDATE account SET clean = 0", [])?;
        reconcile::folders(self, clean)?;
        if !clean {
            // What was removed and is kept back may be missing in an index that was lost, or lost its last commits.
            kept::compare(self)?;
        }
        for special in SpecialUse::STANDARD {
            self.make_standard(special)?;
        }
        self.forget_old_removals()?;
        Ok(())
    }

    /// Notes that index and files agree where they do, so that the next opening need not compare. A failure costs the
    /// next opening that comparison and nothing else.
    fn close(&mut self) {
        if let Err(why) = self.write_stamps() {
            tracing::debug!("{}: {why}", self.maildir.display());
        }
    }

    fn write_stamps(&mut self) -> Result<(), StoreError> {
        let stamps: Vec<_> = self.folders.iter().map(|(id, state)| (*id, state.settled())).collect();
        self.commit(Commit::Synced, |transaction| {
            let mut put = transaction.prepare("UPDATE folders SET stamp_cur = ?1, stamp_new = ?2 WHERE id = ?3")?;
            for (id, stamp) in stamps {
                put.execute((stamp.map(|stamp| nanos(stamp.0)), stamp.map(|stamp| nanos(stamp.1)), id.0))?;
            }
            transaction.execute("UPDATE account SET clean = 1", [])?;
            Ok(())
        })
    }

    /// The folder's image, loaded if it is not.
    pub fn image(&mut self, id: FolderId) -> Result<Arc<Image>, StoreError> {
        if let Some(image) = self.images.get(id) {
            return Ok(image);
        }
        self.first_look(id)?;
        let highest = self.state(id)?.highest;
        let image = Arc::new(Image::of(self.rows(id)?, highest));
        let mut counts = Counts::default();
        image.rows().for_each(|row| counts.add(row));
        self.state(id)?.counts = Some(counts);
        self.images.put(id, Arc::clone(&image));
        Ok(image)
    }

    /// Compares a folder with its files if that was not done since the opening.
    pub fn first_look(&mut self, id: FolderId) -> Result<(), StoreError> {
        if !self.state(id)?.compared {
            reconcile::folder_if_touched(self, id)?;
            self.state(id)?.compared = true;
        }
        Ok(())
    }

    /// How much the folder holds.
    pub fn counts(&mut self, id: FolderId) -> Result<Counts, StoreError> {
        if let Some(counts) = self.state(id)?.counts {
            return Ok(counts);
        }
        self.first_look(id)?;
        let counts = self.count(id)?;
        self.state(id)?.counts = Some(counts);
        Ok(counts)
    }

    /// Takes what was committed into memory: `gone` and `put` are rows of this folder as they were and are. A row in
    /// both is one that changed.
    pub fn note(&mut self, id: FolderId, gone: &[Row], put: &[Row], highest: ModSeq) -> Result<(), StoreError> {
        self.changes += 1;
        if gone.is_empty() {
            self.fulltext.arrived(put.iter().map(|row| row.id));
        }
        let state = self.state(id)?;
        state.highest = highest;
        if let Some(counts) = &mut state.counts {
            gone.iter().for_each(|row| counts.subtract(row));
            put.iter().for_each(|row| counts.add(row));
        }
        let Some(mut image) = self.images.get(id) else { return Ok(()) };
        let changed = Arc::make_mut(&mut image);
        changed.highest = highest;
        let stays: std::collections::HashSet<Uid> = put.iter().map(|row| row.uid).collect();
        let mut removed: Vec<Uid> = gone.iter().map(|row| row.uid).filter(|uid| !stays.contains(uid)).collect();
        if !removed.is_empty() {
            removed.sort_unstable();
            changed.remove(&removed);
        }
        put.iter().for_each(|row| changed.put(row.clone()));
        self.images.put(id, image);
        Ok(())
    }

    /// Counts a change that no image shows, so that sessions look.
    pub fn changed(&mut self) {
        self.changes += 1;
    }

    /// Forgets what is in memory of a folder's messages, after a failure that may have left it wrong.
    pub fn forget_image(&mut self, id: FolderId) {
        self.images.forget(id);
        if let Ok(state) = self.state(id) {
            state.counts = None;
        }
        self.changes += 1;
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
        let nth = "SELECT modseq FROM expunged ORDER BY modseq DESC LIMIT 1 OFFSET ?1";
        let oldest: Option<i64> = self.conn.query_row(nth, [limits::EXPUNGED_KEPT], |row| row.get(0)).optional()?;
        let Some(floor) = oldest else { return Ok(()) };
        self.commit(Commit::Ordinary, |transaction| {
            transaction.execute("DELETE FROM expunged WHERE modseq <= ?1", [floor])?;
            Ok(transaction.execute("UPDATE account SET expunged_from = ?1", [floor]).map(|_| ())?)
        })
    }

    pub fn state(&mut self, id: FolderId) -> Result<&mut FolderState, StoreError> {
        self.folders.get_mut(&id).ok_or(StoreError::FolderGone)
    }

    /// Puts a folder of the index into memory; `clean` tells whether its stamps can be believed.
    pub fn load_folder(&mut self, id: FolderId, dir: &str, clean: bool) -> Result<(), StoreError> {
        let sql = "SELECT uid_reserved, stamp_cur, stamp_new FROM folders WHERE id = ?1";
        let (reserved, cur, new): (i64, Option<i64>, Option<i64>) =
            self.conn.prepare_cached(sql)?.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let reserved = Uid::from_sql(reserved).0;
        let stamp = cur.zip(new).filter(|_| clean).map(|(cur, new)| (time(cur), time(new)));
        let path = if dir.is_empty() { self.maildir.clone() } else { self.maildir.join(dir) };
        let highest = ModSeq(self.modseq);
        let state = FolderState {
            path,
            uid_next: reserved,
            uid_reserved: reserved,
            highest,
            stamp,
            compared: false,
            counts: None,
        };
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
            self.harden(Commit::Synced)?;
            self.conn.execute("UPDATE folders SET uid_reserved = ?1 WHERE id = ?2", (end, id.0))?;
            self.state(id)?.uid_reserved = end;
        }
        self.state(id)?.uid_next = after;
        Ok(Uid(next))
    }

    /// Makes the next UIDs begin no lower than this.
    pub fn skip_uids(&mut self, id: FolderId, next: Uid) -> Result<(), StoreError> {
        let state = self.state(id)?;
        state.uid_next = state.uid_next.max(next.0);
        Ok(())
    }

    /// Makes the next modification sequences begin after this.
    pub fn skip_modseqs(&mut self, last: ModSeq) -> Result<(), StoreError> {
        self.modseq = self.modseq.max(last.0);
        self.modseq_reserved = self.modseq;
        self.take_modseq().map(|_| ())
    }

    /// The next modification sequence. Must not be called inside a transaction.
    pub fn take_modseq(&mut self) -> Result<ModSeq, StoreError> {
        let next = self.modseq + 1;
        if next >= self.modseq_reserved {
            let end = next + limits::MODSEQ_BLOCK;
            self.harden(Commit::Synced)?;
            self.conn.execute("UPDATE account SET modseq_reserved = ?1", [ModSeq(end).sql()])?;
            self.modseq_reserved = end;
        }
        self.modseq = next;
        Ok(ModSeq(next))
    }

    /// The next UIDVALIDITY, synced in the index and, for the time after its loss, in the Maildir.
    pub fn take_validity(&mut self) -> Result<u32, StoreError> {
        self.harden(Commit::Synced)?;
        let sql = "UPDATE account SET last_validity = last_validity + 1 RETURNING last_validity";
        let validity: u32 = self.conn.query_row(sql, [], |row| row.get(0))?;
        let record = self.maildir.join(LAST_VALIDITY);
        durable::write(&record, validity.to_string().as_bytes(), 0o600).map_err(at(&record))?;
        Ok(validity)
    }

    fn harden(&mut self, commit: Commit) -> Result<(), StoreError> {
        if self.hardness != commit {
            index::set_commit(&self.conn, commit)?;
            self.hardness = commit;
        }
        Ok(())
    }

    /// Runs `work` in one transaction of the given hardness.
    pub fn commit<T>(
        &mut self,
        commit: Commit,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.harden(commit)?;
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
        if result.is_err() {
            self.forget_image(id);
        }
        result
    }
}

impl FolderState {
    /// The stamp, if it still holds and is old enough that no change can hide behind it.
    fn settled(&self) -> Option<Stamp> {
        self.stamp.filter(|stamp| maildir::stamp(&self.path) == Some(*stamp) && !reconcile::is_racy(*stamp))
    }
}

fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn time(nanos: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
