//! What every room needs and nothing else: names, answers, paths, durable files, TLS, logging, time.
//!
//! This room knows no other room. It does no protocol work and holds no policy.

pub mod acme;
pub mod address;
pub mod config;
pub mod durable;
pub mod endpoints;
pub mod facts;
pub mod logging;
pub mod names;
pub mod paths;
pub mod role;
pub mod sasl;
pub mod secret;
pub mod sites;
pub mod tell;
pub mod time;
pub mod tls;

pub use address::{Address, Domain, NameError};
pub use config::{BoxConfig, DnsMode};
pub use endpoints::Endpoints;
pub use facts::HostFacts;
pub use paths::Paths;
pub use role::Role;
pub use secret::Secret;
