//! ACME, key and certificate life cycle.
