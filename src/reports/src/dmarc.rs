//! DMARC aggregate reports (RFC 7489 appendix C; RFC 9990 keeps its form): XML to values and back.

use crate::{ReportError, limits};
use serde::{Deserialize, Serialize};

/// A `<feedback>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "feedback")]
pub struct Aggregate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub report_metadata: Metadata,
    pub policy_published: Policy,
    #[serde(default, rename = "record")]
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub org_name: String,
    #[serde(default)]
    pub email: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_contact_info: Option<String>,
    pub report_id: String,
    pub date_range: DateRange,
}

/// Seconds since 1970; some senders write a fraction or white space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateRange {
    #[serde(deserialize_with = "seconds")]
    pub begin: u64,
    #[serde(deserialize_with = "seconds")]
    pub end: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adkim: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aspf: Option<String>,
    #[serde(default)]
    pub p: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pct: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fo: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub row: Row,
    pub identifiers: Identifiers,
    #[serde(default)]
    pub auth_results: AuthResults,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub source_ip: String,
    #[serde(deserialize_with = "seconds", serialize_with = "digits")]
    pub count: u64,
    pub policy_evaluated: Evaluated,
}

/// `dkim` and `spf` are `pass` only where they are aligned with the From domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    #[serde(default)]
    pub disposition: String,
    #[serde(default)]
    pub dkim: String,
    #[serde(default)]
    pub spf: String,
    #[serde(default, rename = "reason")]
    pub reasons: Vec<Reason>,
}

/// Why a policy was not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifiers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_from: Option<String>,
    pub header_from: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthResults {
    #[serde(default)]
    pub dkim: Vec<Dkim>,
    #[serde(default)]
    pub spf: Vec<Spf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dkim {
    #[serde(default)]
    pub domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    #[serde(default)]
    pub result: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spf {
    #[serde(default)]
    pub domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default)]
    pub result: String,
}

fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let whole = text.trim().split('.').next().unwrap_or_default();
    whole.parse().map_err(|_| serde::de::Error::custom(format!("{:?} is not a number", cut(&text))))
}

/// The same in every format, so that what is kept as JSON reads back.
fn digits<S: serde::Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

fn cut(text: &str) -> String {
    text.chars().take(limits::TEXT).collect()
}

impl Record {
    /// Whether DMARC passed: SPF or DKIM, aligned.
    pub fn is_aligned(&self) -> bool {
        let pass = |result: &str| result.trim().eq_ignore_ascii_case("pass");
        pass(&self.row.policy_evaluated.dkim) || pass(&self.row.policy_evaluated.spf)
    }
}

impl Aggregate {
    /// Reads a report.
    pub fn parse(xml: &[u8]) -> Result<Self, ReportError> {
        if xml.len() > limits::UNPACKED {
            return Err(ReportError::TooLarge);
        }
        // Entities are never expanded beyond the five of XML; a document type declares nothing here.
        let text = String::from_utf8_lossy(xml);
        let report: Self = quick_xml::de::from_str(&text).map_err(|error| ReportError::Xml(cut(&error.to_string())))?;
        if report.records.len() > limits::RECORDS {
            return Err(ReportError::TooMany);
        }
        Ok(report)
    }

    /// The report as XML.
    pub fn to_xml(&self) -> Result<String, ReportError> {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let mut writer = quick_xml::se::Serializer::new(&mut text);
        writer.indent(' ', 1);
        self.serialize(writer).map_err(|error| ReportError::Xml(error.to_string()))?;
        text.push('\n');
        Ok(text)
    }

    /// `receiver!policy-domain!begin!end` with an ending (RFC 7489 §7.2.1.1).
    pub fn file_name(&self, receiver: &str, ending: &str) -> String {
        let DateRange { begin, end } = self.report_metadata.date_range;
        format!("{receiver}!{}!{begin}!{end}.{ending}", self.policy_published.domain)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Google sends them, in its order and with its white space.
    pub const GOOGLE: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>google.com</org_name>
    <email>noreply-dmarc-support@google.com</email>
    <extra_contact_info>https://support.google.com/a/answer/2466580</extra_contact_info>
    <report_id>1234567890123456789</report_id>
    <date_range><begin>1795132800</begin><end>1795219199</end></date_range>
  </report_metadata>
  <policy_published>
    <domain>example.org</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct><np>none</np>
  </policy_published>
  <record>
    <row>
      <source_ip>192.0.2.25</source_ip>
      <count>12</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated>
    </row>
    <identifiers><header_from>example.org</header_from></identifiers>
    <auth_results>
      <dkim><domain>example.org</domain><result>pass</result><selector>ms1</selector></dkim>
      <spf><domain>example.org</domain><result>pass</result></spf>
    </auth_results>
  </record>
  <record>
    <row>
      <source_ip>198.51.100.9</source_ip>
      <count>3</count>
      <policy_evaluated>
        <disposition>none</disposition><dkim>fail</dkim><spf>fail</spf>
        <reason><type>forwarded</type><comment>a &amp; b</comment></reason>
      </policy_evaluated>
    </row>
    <identifiers><envelope_from>list.net</envelope_from><header_from>example.org</header_from></identifiers>
    <auth_results><spf><domain>list.net</domain><scope>mfrom</scope><result>pass</result></spf></auth_results>
  </record>
</feedback>"#;

    #[test]
    fn a_report_of_google_is_read() {
        let report = Aggregate::parse(GOOGLE.as_bytes()).unwrap();
        assert_eq!(report.report_metadata.org_name, "google.com");
        assert_eq!(report.policy_published.domain, "example.org");
        let told: Vec<_> = report.records.iter().map(|it| (it.row.count, it.is_aligned())).collect();
        assert_eq!(told, [(12, true), (3, false)]);
        assert_eq!(report.records[1].row.policy_evaluated.reasons[0].comment.as_deref(), Some("a & b"));
    }

    #[test]
    fn the_rows_of_a_report_read_back_from_json() {
        let report = Aggregate::parse(GOOGLE.as_bytes()).unwrap();
        let json = serde_json::to_string(&report.records).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Record>>(&json).unwrap(), report.records);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let report = Aggregate::parse(GOOGLE.as_bytes()).unwrap();
        let xml = report.to_xml().unwrap();
        assert_eq!(Aggregate::parse(xml.as_bytes()).unwrap(), report, "{xml}");
        assert_eq!(
            report.file_name("box.example.net", "xml.gz"),
            "box.example.net!example.org!1795132800!1795219199.xml.gz"
        );
    }

    #[test]
    fn a_start_tag_of_very_many_attributes_costs_no_more_than_its_length() {
        // Each was once compared with each other one (RUSTSEC-2026-0194), for which this would take minutes.
        let attributes: String = (0..200_000).map(|number| format!(" a{number}=\"\"")).collect();
        assert!(Aggregate::parse(format!("<feedback{attributes}></feedback>").as_bytes()).is_err());
    }

    #[test]
    fn entities_of_a_strangers_document_type_are_not_expanded() {
        let bomb = GOOGLE.replace("<feedback>", "<!DOCTYPE f [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><feedback>");
        let bomb = bomb.replace("google.com</org_name>", "&b;</org_name>");
        assert!(matches!(Aggregate::parse(bomb.as_bytes()), Err(ReportError::Xml(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_crash(cut in 0..GOOGLE.len(), put in "[<>&;a-z/0-9 ]{0,20}") {
            let mut text = GOOGLE.to_owned();
            text.replace_range(cut.., &put);
            let _ = Aggregate::parse(text.as_bytes());
            let _ = Aggregate::parse(put.as_bytes());
        }
    }
}
