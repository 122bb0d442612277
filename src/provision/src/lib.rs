//! From answers to a working box: preflight, questions, plan, difference, steps.
//!
//! Everything that is configured follows one line:
//!
//! ```text
//! facts (box.yaml, host)  ->  plan  ->  difference from what is there  ->  steps  ->  journal
//! ```
//!
//! [`plan`] is pure. [`host::Host`] is the only way to the machine, with two implementations: the live machine and a
//! folder. Applying a plan twice changes nothing the second time, and an interrupted run picks up where it stopped:
//! nothing is remembered but what is really there, and which inputs a service was last started with.

pub mod answers;
pub mod apply;
pub mod difference;
pub mod discover;
pub mod host;
pub mod journal;
pub mod packages;
pub mod plan;
pub mod preflight;
pub mod progress;
pub mod release;
pub mod served;
pub mod templates;

pub use answers::Answers;
pub use host::{Folder, Host, Live};
pub use plan::{Item, Plan, Stage};
pub use progress::Progress;

/// What went wrong, in words for the owner.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("{path}: {source}")]
    File { path: std::path::PathBuf, source: std::io::Error },
    #[error("{0} cannot be started: {1}")]
    Command(String, std::io::Error),
    #[error("{command} failed ({status}): {output}")]
    Failed { command: String, status: String, output: String },
    #[error("the template {0}: {1}")]
    Template(&'static str, minijinja::Error),
    #[error("{0}")]
    Refused(String),
}

impl ProvisionError {
    pub fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}
