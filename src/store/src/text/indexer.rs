//! Keeping the index up in the background, a batch at a time. Whoever drives it reads the messages and decides when.

use super::extract::Extract;
use super::limits::{BATCH_MESSAGES, BATCH_TEXT};
use super::{TextError, TextIndex};
use std::io;

/// What one batch did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Messages that were put into the index.
    pub indexed: usize,
    /// Messages that were gone when they were read.
    pub gone: Vec<i64>,
    /// Messages that could not be read, and why. They are still missing in the index.
    pub unreadable: Vec<(i64, String)>,
    /// How many of the given messages were looked at; the rest is for the next batch.
    pub looked_at: usize,
}

/// Indexes the first of the given messages in one transaction: as many as [`BATCH_MESSAGES`] and [`BATCH_TEXT`] allow, and
/// one at least; in whatever order they are given. `read` gives a message's bytes, or None if it is gone meanwhile. Only
/// one message is in memory at a time, and the text of all of them.
///
/// A message that cannot be read does not hold up the others. The index's own troubles are errors; after
/// [`TextError::MadeAnew`] every message of the account is missing in it.
pub fn index_batch(
    index: &mut TextIndex,
    ids: &[i64],
    mut read: impl FnMut(i64) -> io::Result<Option<Vec<u8>>>,
) -> Result<Batch, TextError> {
    let mut batch = Batch::default();
    let (mut extracts, mut bytes) = (Vec::new(), 0);
    for id in ids.iter().take(BATCH_MESSAGES) {
        if bytes >= BATCH_TEXT {
            break;
        }
        batch.looked_at += 1;
        match read(*id) {
            Ok(Some(message)) => {
                let extract = Extract::of(&message);
                bytes += extract.bytes();
                extracts.push((*id, extract));
            }
            Ok(None) => batch.gone.push(*id),
            Err(error) => batch.unreadable.push((*id, error.to_string())),
        }
    }
    batch.indexed = extracts.len();
    index.index_extracts(extracts)?;
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Query, Scope};

    #[test]
    fn a_batch_is_bounded_and_a_lost_message_does_not_hold_up_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = TextIndex::open(dir.path()).unwrap();
        // The newest first, as they are wanted most.
        let ids: Vec<i64> = (1..=500).rev().collect();
        let read = |id: i64| match id {
            499 => Ok(None),
            498 => Err(io::Error::other("the disk is tired")),
            id => Ok(Some(format!("Subject: number {id}\r\n\r\n").into_bytes())),
        };
        let batch = index_batch(&mut index, &ids, read).unwrap();
        assert_eq!((batch.looked_at, batch.indexed), (BATCH_MESSAGES, BATCH_MESSAGES - 2));
        assert_eq!(batch.gone, [499]);
        assert_eq!(batch.unreadable, [(498, "the disk is tired".to_owned())]);
        let missing = index.missing(&ids).unwrap();
        assert_eq!(missing.len(), 500 - batch.indexed);
        assert_eq!(&missing[..2], [499, 498]);
        let query = Query { scope: Scope::Subject, needle: "number 450".into() };
        assert_eq!(index.search(&query).unwrap().unwrap(), [450]);

        let large = |_: i64| Ok(Some(format!("\r\n{}", "word ".repeat(BATCH_TEXT / 5)).into_bytes()));
        let batch = index_batch(&mut index, &ids[300..], large).unwrap();
        assert_eq!(batch.looked_at, BATCH_TEXT / crate::text::limits::TEXT);
        assert_eq!(index_batch(&mut index, &[], large).unwrap(), Batch::default());
    }
}
