//! The asking side, with a limit on how long an answer may take. Connections are used again ([`crate::kept`]).

use crate::kept::{Kept, Stream};
use crate::{Ask, Refusal, frame};
use base::Paths;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::UnixStream;

/// Longest wait for an answer. The slowest request in use is the filter's look at a message, whose DNS queries have
/// twenty seconds in all.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the {role} service does not answer ({why}). See: systemctl status mailstead-{role}")]
    Away { role: base::Role, why: String },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl WireError {
    fn away(role: base::Role, why: impl std::fmt::Display) -> Self {
        Self::Away { role, why: why.to_string() }
    }

    /// Whether what was asked about is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind == crate::Kind::NotFound)
    }

    /// Whether what was asked for was wrong in itself.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind == crate::Kind::Invalid)
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused(refusal) => matches!(refusal.kind, crate::Kind::Busy | crate::Kind::Internal),
        }
    }
}

/// Asks other roles. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    paths: Paths,
    kept: Arc<Kept>,
}

impl Client {
    pub fn new(paths: Paths) -> Self {
        Self { paths, kept: Arc::default() }
    }

    /// Asks and waits for the answer.
    pub async fn ask<A: Ask>(&self, request: &A) -> Result<A::Reply, WireError> {
        self.ask_with_body(request, &[]).await.map(|(reply, _)| reply)
    }

    /// Asks for work that may take long, such as looking through a large mailbox.
    pub async fn ask_patiently<A: Ask>(&self, request: &A, within: Duration) -> Result<A::Reply, WireError> {
        match tokio::time::timeout(within, self.exchange(request, &[])).await {
            Ok(result) => result.map(|(reply, _)| reply),
            Err(_) => Err(WireError::away(A::DOOR, "it took too long")),
        }
    }

    /// Asks with a raw body (a message) and returns the answer with its body.
    pub async fn ask_with_body<A: Ask>(&self, request: &A, body: &[u8]) -> Result<(A::Reply, Vec<u8>), WireError> {
        match tokio::time::timeout(ANSWER_WITHIN, self.exchange(request, body)).await {
            Ok(result) => result,
            Err(_) => Err(WireError::away(A::DOOR, "no answer within a minute")),
        }
    }

    async fn exchange<A: Ask>(&self, request: &A, body: &[u8]) -> Result<(A::Reply, Vec<u8>), WireError> {
        let away = |why: &dyn std::fmt::Display| WireError::away(A::DOOR, why);
        let head = serde_json::to_vec(&std::collections::BTreeMap::from([(A::NAME, request)]))
            .map_err(|error| Refusal::internal(&error))?;
        let mut stream = self.connection(A::DOOR).await.map_err(|error| away(&error))?;
        // A refusal may be written before the whole body is read, so a failed write is not yet the end.
        let written = frame::write(&mut stream, &head, body).await;
        let (head, body) = match frame::read(&mut stream).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(away(&written.err().map_or("it closed the connection".into(), |e| e.to_string()))),
            Err(error) => return Err(away(&error)),
        };
        if written.is_ok() {
            self.kept.keep(A::DOOR, stream);
        }
        let reply: Result<A::Reply, Refusal> = serde_json::from_slice(&head).map_err(|error| away(&error))?;
        Ok((reply?, body))
    }

    async fn connection(&self, door: base::Role) -> std::io::Result<Stream> {
        if let Some(stream) = self.kept.take(door) {
            return Ok(stream);
        }
        UnixStream::connect(self.paths.socket(door, door.name())).await.map(BufReader::new)
    }
}
