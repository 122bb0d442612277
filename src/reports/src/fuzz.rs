//! The way in for the fuzz target of `tests/fuzz`, which this room's own tests use too. Nothing here decides anything.

use crate::dmarc::Aggregate;
use crate::tls::TlsReport;
use crate::{ReportError, read, unpack};

/// Any octets as a message with a report, as an archive, and as a report of either kind. What is read can be written,
/// and reads back the same.
///
/// # Panics
///
/// When it does not: that is a finding.
pub fn report(bytes: &[u8]) {
    let _ = read(bytes);
    let unpacked = unpack::unpack(bytes).unwrap_or_default();
    if let Ok(report) = Aggregate::parse(&unpacked) {
        match report.to_xml() {
            Ok(xml) => {
                // White space at the ends of texts is not kept, so it is the second reading that has to agree.
                let once = Aggregate::parse(xml.as_bytes());
                let twice = once.as_ref().ok().and_then(|once| once.to_xml().ok());
                assert_eq!(once.as_ref().ok(), twice.and_then(|xml| Aggregate::parse(xml.as_bytes()).ok()).as_ref());
                assert!(once.is_ok(), "what is written is read");
            }
            // A stranger's text may hold what XML cannot.
            Err(error) => assert!(matches!(error, ReportError::Xml(_))),
        }
    }
    if let Ok(report) = TlsReport::parse(&unpacked) {
        let again = report.to_json().and_then(|json| TlsReport::parse(json.as_bytes()));
        assert_eq!(again.as_ref(), Ok(&report));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_fuzz_target_keeps_is_answered() {
        let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/report");
        let mut played = 0;
        for file in std::fs::read_dir(&folder).unwrap() {
            super::report(&std::fs::read(file.unwrap().path()).unwrap());
            played += 1;
        }
        assert!(played > 0, "{}", folder.display());
    }
}
