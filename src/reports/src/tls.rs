//! TLS reports (RFC 8460 §4): JSON to values and back.

use crate::{ReportError, limits};
use serde::{Deserialize, Serialize};

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TlsReport {
    pub organization_name: String,
    pub date_range: DateRange,
    #[serde(default)]
    pub contact_info: String,
    pub report_id: String,
    #[serde(default)]
    pub policies: Vec<PolicyResult>,
}

/// RFC 3339 date-times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    pub start_datetime: String,
    pub end_datetime: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyResult {
    pub policy: Policy,
    pub summary: Summary,
    #[serde(default, rename = "failure-details", skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_string: Vec<String>,
    pub policy_domain: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub mx_host: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    #[serde(default)]
    pub total_successful_session_count: u64,
    #[serde(default)]
    pub total_failure_session_count: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// RFC 8460 §4.3: `certificate-expired`, `starttls-not-supported` …
    pub result_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<String>,
    #[serde(default)]
    pub failed_session_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

/// RFC 8460's text says an array, its example is a string, and both are sent.
fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Form::deserialize(from)? {
        Form::One(one) => vec![one],
        Form::Many(many) => many,
    })
}

impl TlsReport {
    pub fn parse(json: &[u8]) -> Result<Self, ReportError> {
        if json.len() > limits::UNPACKED {
            return Err(ReportError::TooLarge);
        }
        let report: Self = serde_json::from_slice(json).map_err(|error| ReportError::Json(error.to_string()))?;
        let records = report.policies.iter().map(|policy| 1 + policy.failures.len()).sum::<usize>();
        if records > limits::RECORDS {
            return Err(ReportError::TooMany);
        }
        Ok(report)
    }

    pub fn to_json(&self) -> Result<String, ReportError> {
        serde_json::to_string_pretty(self).map_err(|error| ReportError::Json(error.to_string()))
    }

    /// Sessions that succeeded and that failed, over all policies.
    pub fn totals(&self) -> (u64, u64) {
        self.policies.iter().fold((0, 0), |(good, bad), policy| {
            let Summary { total_successful_session_count, total_failure_session_count } = policy.summary;
            (good.saturating_add(total_successful_session_count), bad.saturating_add(total_failure_session_count))
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8460 appendix B, whose mx-host is a string.
    pub const EXAMPLE: &str = r#"{
 "organization-name": "Company-X",
 "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
 "contact-info": "sts-reporting@company-x.example",
 "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
 "policies": [{
   "policy": {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
     "policy-domain": "company-y.example", "mx-host": "*.mail.company-y.example"},
   "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
   "failure-details": [
     {"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
      "receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100},
     {"result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1",
      "receiving-mx-hostname": "mx2.mail.company-y.example", "receiving-ip": "203.0.113.56", "failed-session-count": 200,
      "additional-information": "https://reports.company-x.example/report_info?id=5065427c"}]}]}"#;

    #[test]
    fn the_example_of_the_rfc_is_read_and_written_back() {
        let report = TlsReport::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(report.totals(), (5326, 303));
        assert_eq!(report.policies[0].policy.mx_host, ["*.mail.company-y.example"]);
        assert_eq!(TlsReport::parse(report.to_json().unwrap().as_bytes()).unwrap(), report);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_crash(cut in 0..EXAMPLE.len(), put in "[\\[\\]{}:,\"a-z0-9]{0,20}") {
            let mut text = EXAMPLE.to_owned();
            text.replace_range(cut.., &put);
            let _ = TlsReport::parse(text.as_bytes());
        }
    }
}
