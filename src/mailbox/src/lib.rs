//! IMAP and LMTP over the store.
