//! Panel and status page.
