//! Reports as messages: found in what comes, composed for what goes (RFC 7489 §7.2.1.1, RFC 8460 §5.3).

use crate::dmarc::Aggregate;
use crate::tls::TlsReport;
use crate::{ReportError, limits, unpack};
use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;
use mail_parser::MessageParser;

/// A report of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    Dmarc(Box<Aggregate>),
    Tls(Box<TlsReport>),
}

/// Who sends a report of ours to whom.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub from: &'a str,
    pub to: &'a str,
    /// The box's own name.
    pub hostname: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// Finds the report in a message: in the first part that holds one.
pub fn read(message: &[u8]) -> Result<Report, ReportError> {
    let parsed = MessageParser::new().parse(message).ok_or(ReportError::None)?;
    let mut trouble = ReportError::None;
    for part in parsed.parts().take(limits::PARTS) {
        let kind = part.content_type().map(|it| format!("{}/{}", it.ctype(), it.subtype().unwrap_or_default()));
        let (kind, name) = (kind.unwrap_or_default().to_ascii_lowercase(), part.attachment_name().unwrap_or_default());
        if !may_hold_a_report(&kind, name) {
            continue;
        }
        match unpack::unpack(&part.decoded()).and_then(|bytes| either(&bytes)) {
            Ok(report) => return Ok(report),
            Err(ReportError::None) => {}
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

fn may_hold_a_report(kind: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ending = [".xml", ".xml.gz", ".zip", ".gz", ".json", ".json.gz"].iter().any(|ending| name.ends_with(ending));
    let typed = [
        "application/gzip",
        "application/x-gzip",
        "application/zip",
        "application/x-zip-compressed",
        "application/xml",
        "text/xml",
        "application/tlsrpt+gzip",
        "application/tlsrpt+json",
        "application/json",
    ];
    ending || typed.contains(&kind)
}

fn either(bytes: &[u8]) -> Result<Report, ReportError> {
    let start = bytes.iter().find(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf));
    match start {
        Some(b'<') => Aggregate::parse(bytes).map(|report| Report::Dmarc(Box::new(report))),
        Some(b'{') => TlsReport::parse(bytes).map(|report| Report::Tls(Box::new(report))),
        _ => Err(ReportError::None),
    }
}

impl Aggregate {
    /// The message that brings this report to its domain's owner.
    pub fn to_mail(&self, it: Envelope<'_>) -> Result<Vec<u8>, ReportError> {
        let domain = &self.policy_published.domain;
        let id = &self.report_metadata.report_id;
        let subject = format!("Report Domain: {domain} Submitter: {} Report-ID: <{id}>", it.hostname);
        let text = format!(
            "This is a DMARC aggregate report about mail that named {domain} as its author and came to {}.\r\n\
             It was asked for by the rua= address of _dmarc.{domain}.\r\n",
            it.hostname
        );
        let packed = unpack::gzip(self.to_xml()?.as_bytes());
        message(it, id, &subject)
            .text_body(text)
            .attachment("application/gzip", self.file_name(it.hostname, "xml.gz"), packed)
            .write_to_vec()
            .map_err(|error| ReportError::Xml(error.to_string()))
    }
}

impl TlsReport {
    /// The message that brings this report about `domain` to its owner.
    pub fn to_mail(&self, domain: &str, it: Envelope<'_>) -> Result<Vec<u8>, ReportError> {
        use mail_builder::headers::content_type::ContentType;
        use mail_builder::mime::MimePart;
        let subject = format!(
            "Report Domain: {domain} Submitter: {} Report-ID: <{}@{}>",
            it.hostname, self.report_id, it.hostname
        );
        let text = format!(
            "This is a report about TLS on connections from {} to the mail servers of {domain} (RFC 8460).\r\n",
            it.hostname
        );
        let day = self.date_range.start_datetime.split('T').next().unwrap_or_default();
        let name = format!("{}!{domain}!{day}.json.gz", it.hostname);
        let packed = unpack::gzip(self.to_json()?.as_bytes());
        let kind = ContentType::new("multipart/report").attribute("report-type", "tlsrpt");
        let text = MimePart::new(ContentType::new("text/plain").attribute("charset", "utf-8"), text);
        let report = MimePart::new(ContentType::new("application/tlsrpt+gzip"), packed).attachment(name);
        message(it, &self.report_id, &subject)
            .header("TLS-Report-Domain", Raw::new(domain.to_owned()))
            .header("TLS-Report-Submitter", Raw::new(it.hostname.to_owned()))
            .body(MimePart::new(kind, vec![text, report]))
            .write_to_vec()
            .map_err(|error| ReportError::Json(error.to_string()))
    }
}

fn message<'a>(it: Envelope<'a>, id: &str, subject: &str) -> MessageBuilder<'a> {
    MessageBuilder::new()
        .from(("Mail reports", it.from))
        .to(it.to)
        .header("Subject", Raw::new(subject.to_owned()))
        .message_id(format!("{}.{}@{}", it.now, id, it.hostname))
        .date(i64::try_from(it.now).unwrap_or_default())
        .header("Auto-Submitted", Raw::new("auto-generated"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dmarc::tests::GOOGLE;
    use crate::tls::tests::EXAMPLE;
    use proptest::prelude::*;

    const ENVELOPE: Envelope<'static> =
        Envelope { from: "reports@example.net", to: "rua@example.org", hostname: "box.example.net", now: 0 };

    #[test]
    fn what_we_send_is_what_we_read() {
        let dmarc = Aggregate::parse(GOOGLE.as_bytes()).unwrap();
        let mail = dmarc.to_mail(ENVELOPE).unwrap();
        let text = String::from_utf8_lossy(&mail);
        let unfolded = text.replace("\r\n\t", " ").replace("\r\n ", " ");
        assert!(
            unfolded.contains("Subject: Report Domain: example.org Submitter: box.example.net Report-ID: <1"),
            "{text}"
        );
        assert_eq!(read(&mail), Ok(Report::Dmarc(Box::new(dmarc))));
        let tls = TlsReport::parse(EXAMPLE.as_bytes()).unwrap();
        let mail = tls.to_mail("company-y.example", ENVELOPE).unwrap();
        let text = String::from_utf8_lossy(&mail);
        assert!(
            text.contains("TLS-Report-Domain: company-y.example\r\n") && text.contains("application/tlsrpt+gzip"),
            "{text}"
        );
        assert_eq!(read(&mail), Ok(Report::Tls(Box::new(tls))));
    }

    #[test]
    fn mail_without_a_report_is_none() {
        assert_eq!(read(b"Subject: hi\r\n\r\nhello"), Err(ReportError::None));
        let broken =
            b"Content-Type: application/gzip\r\nContent-Disposition: attachment; filename=a.xml.gz\r\n\r\n\x1f\x8bxx";
        assert!(matches!(read(broken), Err(ReportError::Archive(_))));
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&[b"Content-Type: application/gzip\r\n\r\n".to_vec(), bytes].concat());
        }
    }
}
