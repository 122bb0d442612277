//! The doors: every request between processes, and the client and server that carry them.
