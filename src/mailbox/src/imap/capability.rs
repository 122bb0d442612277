//! What is offered: one table, each line with its RFC and when it is told. A line stands here only when it works.
//!
//! Not announced, for a reason: LITERAL-, since LITERAL+ takes all that it takes and RFC 7888 §5 forbids to announce
//! both; STARTTLS and LOGINDISABLED, since there is no connection without TLS.

use crate::limits;
use base::sasl::Offer;

/// When a capability is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Until the login.
    Before,
    /// Until the login, where the connection offers it.
    Mechanism,
    After,
    Always,
    /// After the login, until compression is on.
    Uncompressed,
}

use Told::{After, Always, Before, Mechanism, Uncompressed};

/// Name, where it is specified, when it is told.
const TABLE: &[(&str, &str, Told)] = &[
    ("IMAP4rev1", "RFC 3501", Always),
    ("IMAP4rev2", "RFC 9051", Always),
    ("LITERAL+", "RFC 7888", Always),
    ("ID", "RFC 2971", Always),
    ("ENABLE", "RFC 5161", Always),
    ("SASL-IR", "RFC 4959", Before),
    ("AUTH=SCRAM-SHA-256-PLUS", "RFC 7677", Mechanism),
    ("AUTH=SCRAM-SHA-256", "RFC 7677", Mechanism),
    ("AUTH=PLAIN", "RFC 4616", Mechanism),
    ("AUTH=LOGIN", "RFC 9051", Mechanism),
    ("ACL", "RFC 4314", After),
    ("BINARY", "RFC 3516", After),
    ("CATENATE", "RFC 4469", After),
    ("CHILDREN", "RFC 3348", After),
    ("COMPRESS=DEFLATE", "RFC 4978", Uncompressed),
    ("CONDSTORE", "RFC 7162", After),
    ("CREATE-SPECIAL-USE", "RFC 6154", After),
    ("ESEARCH", "RFC 4731", After),
    ("ESORT", "RFC 5267", After),
    ("IDLE", "RFC 2177", After),
    ("INPROGRESS", "RFC 9585", After),
    ("LIST-EXTENDED", "RFC 5258", After),
    ("LIST-METADATA", "RFC 9590", After),
    ("LIST-MYRIGHTS", "RFC 8440", After),
    ("LIST-STATUS", "RFC 5819", After),
    ("METADATA", "RFC 5464", After),
    ("MOVE", "RFC 6851", After),
    ("MULTIAPPEND", "RFC 3502", After),
    ("MULTISEARCH", "RFC 7377", After),
    ("NAMESPACE", "RFC 2342", After),
    ("NOTIFY", "RFC 5465", After),
    ("OBJECTID", "RFC 8474", After),
    ("PARTIAL", "RFC 9394", After),
    ("PREVIEW", "RFC 8970", After),
    ("QRESYNC", "RFC 7162", After),
    ("QUOTA", "RFC 9208", After),
    ("QUOTA=RES-STORAGE", "RFC 9208", After),
    ("REPLACE", "RFC 8508", After),
    ("RIGHTS=kxte", "RFC 4314", After),
    ("SAVEDATE", "RFC 8514", After),
    ("SEARCH=FUZZY", "RFC 6203", After),
    ("SEARCHRES", "RFC 5182", After),
    ("SORT", "RFC 5256", After),
    ("SORT=DISPLAY", "RFC 5957", After),
    ("SPECIAL-USE", "RFC 6154", After),
    ("STATUS=SIZE", "RFC 8438", After),
    ("THREAD=ORDEREDSUBJECT", "RFC 5256", After),
    ("THREAD=REFERENCES", "RFC 5256", After),
    ("UIDONLY", "RFC 9586", After),
    ("UIDPLUS", "RFC 4315", After),
    ("UNSELECT", "RFC 3691", After),
    ("UTF8=ACCEPT", "RFC 9755", After),
    ("WITHIN", "RFC 5032", After),
];

/// What CAPABILITY tells.
pub fn offered(offer: &Offer, logged_in: bool, compressed: bool) -> String {
    let mechanism = |name: &str| {
        let name = name.trim_start_matches("AUTH=");
        offer.mechanisms().any(|offered| offered.name() == name)
    };
    let fits = |name: &str, told: Told| match told {
        Always => true,
        Before => !logged_in,
        Mechanism => !logged_in && mechanism(name),
        After => logged_in,
        Uncompressed => logged_in && !compressed,
    };
    let mut names: Vec<String> =
        TABLE.iter().filter(|(name, _, told)| fits(name, *told)).map(|(name, _, _)| (*name).to_owned()).collect();
    if logged_in {
        // RFC 7889: the number is part of the name.
        names.push(format!("APPENDLIMIT={}", limits::MESSAGE));
    }
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_capability_stands_once_and_with_its_rfc() {
        let names: BTreeSet<&str> = TABLE.iter().map(|(name, _, _)| *name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.iter().all(|(_, rfc, _)| rfc.starts_with("RFC ")));
    }

    #[test]
    fn what_is_offered_depends_on_the_state() {
        let offer = Offer { scram: true, binding: Some(vec![1]) };
        let (before, after) = (offered(&offer, false, false), offered(&offer, true, false));
        assert!(before.contains("AUTH=SCRAM-SHA-256-PLUS "));
        assert!(!offered(&Offer::default(), false, false).contains("SCRAM"));
        assert!(before.contains("AUTH=PLAIN") && !before.contains("IDLE") && !before.contains("APPENDLIMIT"));
        assert!(after.contains("IDLE") && !after.contains("AUTH=") && after.contains("COMPRESS=DEFLATE"));
        assert!(!offered(&offer, true, true).contains("COMPRESS"));
    }
}
