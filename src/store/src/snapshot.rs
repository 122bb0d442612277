//! Copies of the index for backups, and what is due when one is put back.

use crate::error::{StoreError, at};
use crate::{fulltext, index, limits};
use base::durable;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The consistent copy beside `index.db`.
pub const SNAPSHOT_NAME: &str = "index.db.snapshot";

/// Makes a consistent, synced copy of an account's index as [`SNAPSHOT_NAME`] beside it, while mail goes on, and
/// returns its size in octets. The Maildir needs no copy of its own: whatever it has more or less is found at opening.
pub fn snapshot(account_dir: &Path) -> Result<u64, StoreError> {
    let (source, target) = (account_dir.join("index.db"), account_dir.join(SNAPSHOT_NAME));
    let temporary = account_dir.join("index.db.snapshot.new");
    durable::remove(&temporary).map_err(at(&temporary))?;
    let from = Connection::open_with_flags(&source, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    from.busy_timeout(Duration::from_secs(10))?;
    {
        let mut to = Connection::open(&temporary)?;
        // All pages in one step: a reader's view of the log, so writers are not held up and never restart the copy.
        rusqlite::backup::Backup::new(&from, &mut to)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
        // The copy stands alone, without a log beside it.
        to.pragma_update(None, "journal_mode", "DELETE")?;
    }
    fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(at(&temporary))?;
    durable::rename(&temporary, &target).map_err(at(&target))?;
    Ok(fs::metadata(&target).map_err(at(&target))?.len())
}

/// To be called on an account's folder after it was restored and before it is opened: the index may have handed out
/// UIDs after its snapshot, so that each folder now skips [`limits::UID_SKIP_AFTER_RESTORE`] of them. Takes the
/// snapshot for the index where only the snapshot was restored. An index that cannot be used is left to the opening.
pub fn after_restore(account_dir: &Path) -> Result<(), StoreError> {
    let (path, snapshot) = (account_dir.join("index.db"), account_dir.join(SNAPSHOT_NAME));
    if snapshot.exists() {
        for stale in ["index.db-wal", "index.db-shm"] {
            let stale = account_dir.join(stale);
            durable::remove(&stale).map_err(at(&stale))?;
        }
        durable::rename(&snapshot, &path).map_err(at(&snapshot))?;
    }
    // Messages that came after the snapshot had numbers that are given to others now.
    fulltext::forget_index(account_dir)?;
    if !path.exists() {
        return Ok(());
    }
    let conn = match index::open(&path) {
        Ok(conn) => conn,
        Err(why) => {
            tracing::warn!("{} will be rebuilt: {why}", path.display());
            return Ok(());
        }
    };
    let skip = "UPDATE folders SET uid_reserved = min(uid_reserved + ?1, 4294967294)";
    conn.execute(skip, [limits::UID_SKIP_AFTER_RESTORE])?;
    let modseqs = i64::try_from(limits::MODSEQ_SKIP_AFTER_RESTORE).unwrap_or(i64::MAX);
    conn.execute("UPDATE account SET modseq_reserved = modseq_reserved + ?1", [modseqs])?;
    // UIDVALIDITY of folders made after the snapshot must not come again either.
    let now = u32::try_from(base::time::now_unix()).unwrap_or(0);
    conn.execute("UPDATE account SET last_validity = max(last_validity, ?1)", [now])?;
    Ok(())
}
