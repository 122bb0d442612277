//! Archives: snapshot, tar, zstd, age; restore.
