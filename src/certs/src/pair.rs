//! The certificate in service and its key: `tls/pair.pem`, with `chain.pem` and `key.pem` beside it for those who look for
//! them apart.
//!
//! Invariants:
//! - `pair.pem` is what is served, and is replaced in one rename; it never holds a certificate with another's key.
//! - `chain.pem` and `key.pem` follow it; an interruption in between is made good by [`settle`], which every run begins with.

use crate::CertsError;
use base::{Paths, durable};
use rcgen::KeyPair;
use std::io::ErrorKind;
use std::path::Path;

/// A chain and its key, both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub chain: String,
    pub key: String,
}

impl Pair {
    /// Takes a text apart that holds certificates and a key in any order.
    pub fn parse(text: &str) -> Self {
        let (mut chain, mut key) = (String::new(), String::new());
        for block in blocks(text) {
            match block.label {
                "CERTIFICATE" => chain.push_str(&block.text()),
                label if label.ends_with("PRIVATE KEY") && key.is_empty() => key = block.text(),
                _ => {}
            }
        }
        Self { chain, key }
    }

    fn text(&self) -> String {
        format!("{}{}", self.chain, self.key)
    }

    /// What is in service.
    pub fn served(paths: &Paths) -> Result<Self, CertsError> {
        Ok(Self::parse(&read(&paths.tls_pair())?.unwrap_or_default()))
    }

    pub fn key_pair(&self) -> Result<KeyPair, CertsError> {
        Ok(KeyPair::from_pem(&self.key)?)
    }

    /// Puts it into service.
    pub fn serve(&self, paths: &Paths) -> Result<(), CertsError> {
        write(&paths.tls_pair(), &self.text(), 0o640)?;
        self.beside(paths)
    }

    /// The copies of its parts.
    pub fn beside(&self, paths: &Paths) -> Result<(), CertsError> {
        for (name, text, mode) in [("key.pem", &self.key, 0o640), ("chain.pem", &self.chain, 0o644)] {
            let path = paths.tls().join(name);
            if read(&path)?.as_ref() != Some(text) {
                write(&path, text, mode)?;
            }
        }
        Ok(())
    }
}

/// Makes good what an interrupted run left, and what an earlier release kept apart.
pub fn settle(paths: &Paths) -> Result<(), CertsError> {
    if let Some(text) = read(&paths.tls_pair())? {
        return Pair::parse(&text).beside(paths);
    }
    let part = |name: &str| read(&paths.tls().join(name));
    match (part("chain.pem")?, part("key.pem")?) {
        (Some(chain), Some(key)) => Pair { chain, key }.serve(paths),
        _ => Ok(()),
    }
}

struct Block<'a> {
    label: &'a str,
    lines: Vec<&'a str>,
}

impl Block<'_> {
    fn text(&self) -> String {
        format!("-----BEGIN {0}-----\n{1}\n-----END {0}-----\n", self.label, self.lines.join("\n"))
    }
}

/// The blocks of a PEM text (RFC 7468 §2); what stands between them is a comment.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut found, mut open) = (Vec::new(), None::<Block<'_>>);
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            open = Some(Block { label, lines: Vec::new() });
        } else if line.starts_with("-----END ") {
            found.extend(open.take());
        } else if let Some(block) = &mut open {
            block.lines.push(line);
        }
    }
    found
}

/// A file's text; `None` when it is not there.
pub fn read(path: &Path) -> Result<Option<String>, CertsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CertsError::file(path, error)),
    }
}

pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    durable::write(path, text.as_bytes(), mode).map_err(|error| CertsError::file(path, error))
}

pub fn remove(path: &Path) -> Result<(), CertsError> {
    durable::remove(path).map_err(|error| CertsError::file(path, error))
}
