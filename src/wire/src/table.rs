//! What makes a line of a door's table into types.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A request of one kind: where it goes, who may make it, what comes back.
pub trait Ask: Serialize {
    type Reply: Serialize + DeserializeOwned;
    /// The role that answers.
    const DOOR: base::Role;
    /// The roles that may ask. The owner (root) always may.
    const FROM: &'static [base::Role];
    const NAME: &'static str;
}

/// What sort of refusal, for the asker to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The asker is not on the table's line.
    Forbidden,
    NotFound,
    /// It exists already, or something in use stands against it.
    Conflict,
    /// The request makes no sense as it is.
    Invalid,
    /// Not now; the same request may succeed later.
    Busy,
    /// The answering role failed; its log says more.
    Internal,
}

/// A request that was understood and not granted; `message` is a sentence for the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: Kind,
    pub message: String,
}

impl Refusal {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failure inside the answering role.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(Kind::Internal, error.to_string())
    }
}

/// Declares a door. Each line: `/// doc` `Name { field: Type, … } -> Reply, from [Roles];`
#[macro_export]
macro_rules! door {
    ($door:expr; $($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $type:ty),* $(,)? } -> $reply:ty, from [$($role:ident),*];)*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
            pub struct $name { $($(#[$fmeta])* pub $field: $type),* }

            impl $crate::Ask for $name {
                type Reply = $reply;
                const DOOR: base::Role = $door;
                const FROM: &'static [base::Role] = &[$(base::Role::$role),*];
                const NAME: &'static str = stringify!($name);
            }

            impl $name {
                /// The reply to this request, of the type that the table promises.
                pub fn answer(&self, reply: $reply) -> Result<$crate::Answer, $crate::Refusal> {
                    $crate::Answer::new(&reply)
                }
            }
        )*

        /// Every request of this door.
        #[derive(Debug, Clone, serde::Deserialize)]
        pub enum Request { $($name($name)),* }

        impl $crate::server::Request for Request {
            const DOOR: base::Role = $door;
            fn from(&self) -> &'static [base::Role] {
                match self { $(Request::$name(_) => <$name as $crate::Ask>::FROM),* }
            }
            fn name(&self) -> &'static str {
                match self { $(Request::$name(_) => stringify!($name)),* }
            }
        }
    };
}
