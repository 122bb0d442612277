//! The part of `box.yaml` that says which authorities certificates come from (RFC 8555).

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Let's Encrypt (RFC 8555 directory).
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Hosts of directories and the name by which CAA records know the authority (RFC 8659 §4.2), as each publishes it.
const KNOWN: [(&str, &str); 6] = [
    ("acme-v02.api.letsencrypt.org", "letsencrypt.org"),
    ("acme-staging-v02.api.letsencrypt.org", "letsencrypt.org"),
    ("dv.acme-v02.api.pki.goog", "pki.goog"),
    ("acme.zerossl.com", "sectigo.com"),
    ("acme.sectigo.com", "sectigo.com"),
    ("api.buypass.com", "buypass.com"),
];

/// The first authority, and those that are asked when it is in trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    #[serde(default = "lets_encrypt")]
    pub directory: String,
    /// A root certificate (PEM) by which the directory itself is verified, when the system does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab: Option<ExternalAccount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caa: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Authority>,
}

/// One authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    pub directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab: Option<ExternalAccount>,
    /// Its name in CAA records, where this program does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caa: Option<String>,
}

/// An account that the owner has with the authority already (RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    pub kid: String,
    /// A file that holds the HMAC key in base64url, as the authority gave it out; `ms-certs` must be able to read it.
    pub hmac_file: PathBuf,
}

impl Default for Acme {
    fn default() -> Self {
        Self { directory: lets_encrypt(), ca_file: None, eab: None, caa: None, fallback: Vec::new() }
    }
}

fn lets_encrypt() -> String {
    LETS_ENCRYPT.to_owned()
}

impl Acme {
    /// Every authority, in the order in which they are asked.
    pub fn authorities(&self) -> Vec<Authority> {
        let Self { directory, ca_file, eab, caa, fallback } = self.clone();
        std::iter::once(Authority { directory, ca_file, eab, caa }).chain(fallback).collect()
    }

    /// The names for CAA records; `None` when one of them is not known, since a record that leaves an authority out
    /// forbids it (RFC 8659 §4.2).
    pub fn issuers(&self) -> Option<Vec<String>> {
        let mut names = self.authorities().iter().map(Authority::issuer).collect::<Option<Vec<_>>>()?;
        names.dedup();
        Some(names)
    }
}

impl Authority {
    /// The host of the directory, by which people know the authority.
    pub fn host(&self) -> &str {
        let rest = self.directory.strip_prefix("https://").unwrap_or(&self.directory);
        rest.split(['/', ':']).next().unwrap_or(rest)
    }

    /// Its name in CAA records.
    pub fn issuer(&self) -> Option<String> {
        let known = KNOWN.iter().find(|(host, _)| *host == self.host()).map(|(_, name)| (*name).to_owned());
        self.caa.clone().or(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_for_caa_are_known_for_all_authorities_or_not_used() {
        assert_eq!(Acme::default().issuers(), Some(vec!["letsencrypt.org".to_owned()]));
        let mut acme: Acme =
            serde_yaml::from_str("fallback:\n- directory: https://dv.acme-v02.api.pki.goog/directory\n").unwrap();
        assert_eq!(acme.issuers().unwrap(), ["letsencrypt.org", "pki.goog"]);
        acme.fallback[0].directory = "https://acme.authority.org/dir".into();
        assert_eq!(acme.issuers(), None);
        acme.fallback[0].caa = Some("authority.org".into());
        assert_eq!(acme.issuers().unwrap(), ["letsencrypt.org", "authority.org"]);
    }
}
