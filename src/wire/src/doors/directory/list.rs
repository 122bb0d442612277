//! What a mailing list is: who may post, who gets what is posted.

use base::Address;
use serde::{Deserialize, Serialize};

/// Who may post.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Posting {
    /// Everyone.
    Open,
    /// Members; a moderator decides on what others post, and where there is none it is refused.
    #[default]
    Members,
    /// A moderator decides on everything that no moderator posts.
    Moderated,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailingList {
    pub address: Address,
    /// What people read: in List-Id, and in From where it is rewritten.
    pub name: String,
    pub posting: Posting,
    /// Who decides, and who is told of what goes wrong. The first is the list's owner.
    pub moderators: Vec<Address>,
    /// Seconds since 1970.
    pub created: u64,
    /// Those who get mail at the moment.
    pub members: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub address: Address,
    /// Seconds since 1970.
    pub joined: u64,
    /// Days in a row of trouble on which mail to the member came back.
    pub bounces: u32,
    /// Whether nothing is sent any more, because too much came back.
    pub suspended: bool,
}

/// What a bounce led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bounced {
    Noted,
    /// That was one too many.
    Suspended,
    /// No such member, or suspended before.
    Nothing,
}
