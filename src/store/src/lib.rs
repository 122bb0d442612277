//! One account's mail: Maildir, index, change feed.
