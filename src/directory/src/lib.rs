//! Domains, accounts, aliases, credentials, authentication.
