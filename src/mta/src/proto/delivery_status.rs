//! What a sender wants to hear of a message's fate (RFC 3461): NOTIFY, ORCPT, RET and ENVID as values.

use serde::{Deserialize, Serialize};

/// Of what a recipient's sender is told (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
    /// Whether the sender said so, rather than leaving it to the server.
    pub asked: bool,
}

impl Default for Notify {
    /// Without a wish, failures and delays are told.
    fn default() -> Self {
        Self { success: false, failure: true, delay: true, asked: false }
    }
}

impl Notify {
    pub const NEVER: Self = Self { success: false, failure: false, delay: false, asked: true };
}

/// How much of the message a report on a failure returns (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    Full,
    #[default]
    Headers,
}

/// What MAIL says about reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportWish {
    /// `None`: the sender did not say; headers are returned, and RET is not passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// The sender's name for the transaction, decoded from xtext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
}
