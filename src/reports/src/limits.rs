//! Every bound of this room.

/// A report when it is unpacked. Google's for a large domain are below 2 MiB; this bounds a "zip bomb".
pub const UNPACKED: usize = 10 << 20;
/// Records of one report.
pub const RECORDS: usize = 10_000;
/// MIME parts that are looked at for a report.
pub const PARTS: usize = 20;
/// Texts within a report (names of organisations, domains, addresses) are cut here.
pub const TEXT: usize = 500;
