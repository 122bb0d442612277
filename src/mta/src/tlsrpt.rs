//! Our TLS reports (RFC 8460): once a day, to each domain that asks by `_smtp._tls`, how TLS went with its servers.
//!
//! A day's results are given up when its reports are made: a crash in between loses reports, and repeats none.

use crate::delivery::names::Names;
use crate::delivery::remote::Remote;
use crate::delivery::results::{Counted, PolicyKind};
use crate::house::House;
use crate::limits;
use base::{Address, Domain};
use reports::tls::{DateRange, Failure, Policy, PolicyResult, Summary, TlsReport};
use reports::{Envelope, unpack};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use wire::mta::Send;

/// Seconds of a day; days are counted from 1970-01-01, UTC.
const DAY: u64 = 86_400;

/// Where a domain wants its reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Mail(Address),
    Web(reqwest::Url),
}

/// Makes and sends the reports.
pub struct Reporter<N> {
    pub house: Arc<House>,
    pub remote: Arc<Remote<N>>,
}

impl<N: Names> Reporter<N> {
    /// Sends each day's reports when the day is over, until the process ends.
    pub async fn run(self) {
        let mut done = None;
        loop {
            let today = self.house.now().saturating_sub(limits::TLS_REPORTS_AFTER) / DAY;
            if done != Some(today) {
                for day in today.saturating_sub(limits::TLS_RESULT_DAYS.unsigned_abs())..today {
                    self.report(day).await;
                }
                done = Some(today);
            }
            tokio::time::sleep(limits::TLS_REPORTS_LOOK).await;
        }
    }

    async fn report(&self, day: u64) {
        let counted = match self.remote.results.take_day(day).await {
            Ok(counted) => counted,
            Err(error) => return tracing::warn!("TLS reports are not sent: {error}"),
        };
        let mut domains: BTreeMap<Domain, Vec<Counted>> = BTreeMap::new();
        for it in counted {
            domains.entry(it.result.domain.clone()).or_default().push(it);
        }
        for (domain, counted) in domains {
            let records = self.remote.names.txt(&format!("_smtp._tls.{domain}")).await.unwrap_or_default();
            let targets = targets(&records);
            if targets.is_empty() {
                continue;
            }
            let report = self.compose(&domain, day, &counted);
            for target in targets {
                match self.send(&domain, &report, &target).await {
                    Ok(()) => tracing::info!("the TLS report about {domain} is on its way"),
                    Err(why) => tracing::info!("the TLS report about {domain} cannot be sent: {why}"),
                }
            }
        }
    }

    fn compose(&self, domain: &Domain, day: u64, counted: &[Counted]) -> TlsReport {
        let own = self.house.own_addresses.first().map(ToString::to_string);
        TlsReport {
            organization_name: self.house.hostname.to_string(),
            date_range: DateRange {
                start_datetime: base::time::rfc3339(day * DAY),
                end_datetime: base::time::rfc3339(day * DAY + DAY - 1),
            },
            contact_info: format!("postmaster@{}", self.house.home),
            report_id: format!("{day}.{domain}"),
            policies: policies(counted, own.as_deref()),
        }
    }

    async fn send(&self, domain: &Domain, report: &TlsReport, target: &Target) -> Result<(), String> {
        match target {
            Target::Mail(to) => {
                let from = Address::new("postmaster", self.house.home.clone()).map_err(|error| error.to_string())?;
                let (sender, receiver) = (from.to_string(), to.to_string());
                let (hostname, now) = (self.house.hostname.as_str(), self.house.now());
                let envelope = Envelope { from: &sender, to: &receiver, hostname, now };
                let mail = report.to_mail(domain.as_str(), envelope).map_err(|error| error.to_string())?;
                let sent = self.house.send(&Send { from, to: to.clone() }, &mail).await;
                sent.map_err(|refusal| refusal.to_string())
            }
            Target::Web(url) => self.post(report, url).await,
        }
    }

    /// RFC 8460 §5.4.
    async fn post(&self, report: &TlsReport, url: &reqwest::Url) -> Result<(), String> {
        let host = Domain::parse(url.host_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        let addresses = self.remote.names.addresses(&host).await.map_err(|error| error.to_string())?;
        // The URL is a stranger's word: it must not lead into this machine or its network.
        let open = addresses.into_iter().filter(|it| is_public(*it) && !self.remote.own_addresses.contains(it));
        let addresses: Vec<_> =
            open.map(|it| SocketAddr::new(it, url.port_or_known_default().unwrap_or(443))).collect();
        if addresses.is_empty() {
            return Err(format!("{host} has no public address"));
        }
        let tls = self.remote.tls.web().map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(limits::TLS_REPORT_POSTED_WITHIN)
            .resolve_to_addrs(host.as_str(), &addresses)
            .build()
            .map_err(|error| error.to_string())?;
        let packed = unpack::gzip(report.to_json().map_err(|error| error.to_string())?.as_bytes());
        let ask =
            client.post(url.clone()).header(reqwest::header::CONTENT_TYPE, "application/tlsrpt+gzip").body(packed);
        let status = ask.send().await.map_err(|error| error.to_string())?.status();
        if status.is_success() { Ok(()) } else { Err(format!("{host} answers {status}")) }
    }
}

/// The results of one domain, by policy.
fn policies(counted: &[Counted], own: Option<&str>) -> Vec<PolicyResult> {
    let mut policies: Vec<PolicyResult> = Vec::new();
    for Counted { result, sessions } in counted {
        let named = result.policy != PolicyKind::None;
        let policy = Policy {
            policy_type: result.policy.as_str().to_owned(),
            policy_string: if named { result.lines.clone() } else { Vec::new() },
            policy_domain: result.domain.to_string(),
            mx_host: if named { result.patterns.clone() } else { Vec::new() },
        };
        let at = policies.iter().position(|it| it.policy == policy).unwrap_or_else(|| {
            policies.push(PolicyResult { policy, summary: Summary::default(), failures: Vec::new() });
            policies.len() - 1
        });
        let Some(entry) = policies.get_mut(at) else { continue };
        let Some(failure) = &result.failure else {
            entry.summary.total_successful_session_count += sessions;
            continue;
        };
        entry.summary.total_failure_session_count += sessions;
        entry.failures.push(Failure {
            result_type: failure.kind.as_str().to_owned(),
            sending_mta_ip: own.map(str::to_owned),
            receiving_mx_hostname: failure.host.as_ref().map(ToString::to_string),
            receiving_ip: failure.address.map(|address| address.to_string()),
            failed_session_count: *sessions,
            additional_information: None,
            failure_reason_code: Some(failure.reason.clone()).filter(|reason| !reason.is_empty()),
        });
    }
    policies
}

/// Where reports go (RFC 8460 §3): nowhere unless there is exactly one record.
pub fn targets(records: &[String]) -> Vec<Target> {
    let mut named = records.iter().filter(|record| {
        let version = record.split(';').next().unwrap_or_default();
        version.chars().filter(|it| !it.is_whitespace()).eq("v=TLSRPTv1".chars())
    });
    let (Some(record), None) = (named.next(), named.next()) else { return Vec::new() };
    let values = record.split(';').skip(1).filter_map(|field| field.split_once('='));
    let rua = values.filter(|(name, _)| name.trim() == "rua").flat_map(|(_, value)| value.split(','));
    rua.filter_map(|uri| target(uri.trim())).take(limits::TLS_REPORT_TARGETS).collect()
}

fn target(uri: &str) -> Option<Target> {
    let (scheme, rest) = uri.split_once(':')?;
    match scheme.to_ascii_lowercase().as_str() {
        "mailto" => Address::parse(rest.split('?').next()?).ok().map(Target::Mail),
        "https" => {
            let url = reqwest::Url::parse(uri).ok()?;
            (url.username().is_empty() && url.password().is_none()).then_some(Target::Web(url))
        }
        _ => None,
    }
}

/// Whether an address can be anybody's on the Internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => {
            let shared = it.octets()[0] == 100 && it.octets()[1] & 0xc0 == 64;
            let odd = it.is_private() || it.is_loopback() || it.is_link_local() || it.is_unspecified();
            !(odd || shared || it.is_multicast() || it.is_broadcast() || it.octets()[0] == 0)
        }
        IpAddr::V6(it) => {
            let local = it.is_unique_local() || it.is_unicast_link_local();
            !(local || it.is_loopback() || it.is_unspecified() || it.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::results::{self, FailureKind, TlsResult};
    use proptest::prelude::*;

    #[test]
    fn reports_go_to_the_addresses_that_the_one_record_names() {
        let one = |text: &str| targets(&[text.to_owned()]);
        let mail = |text| Target::Mail(Address::parse(text).unwrap());
        let web = Target::Web("https://tls.example.net/v1".parse().unwrap());
        let both = "v=TLSRPTv1; rua=mailto:tls@example.net,https://tls.example.net/v1";
        assert_eq!(one(both), [mail("tls@example.net"), web]);
        assert_eq!(targets(&["other".into(), "v=TLSRPTv1;rua=mailto:a@b.net;".into()]), [mail("a@b.net")]);
        for none in ["v=TLSRPTv2; rua=mailto:a@b.net", "v=TLSRPTv1; rua=http://b.net/", "v=TLSRPTv1; rua=", ""] {
            assert_eq!(one(none), [], "{none}");
        }
        assert_eq!(targets(&[both.to_owned(), both.to_owned()]), []);
    }

    #[test]
    fn sessions_are_summed_by_policy_and_failures_told_apart() {
        let good = TlsResult {
            domain: Domain::parse("example.net").unwrap(),
            policy: PolicyKind::Sts,
            lines: vec!["version: STSv1".into()],
            patterns: vec!["mx.example.net".into()],
            failure: None,
        };
        let failure = results::Failure {
            kind: FailureKind::CertificateExpired,
            host: None,
            address: Some("192.0.2.1".parse().unwrap()),
            reason: "expired".into(),
        };
        let bad = TlsResult { failure: Some(failure), ..good.clone() };
        let plain = TlsResult { policy: PolicyKind::None, ..good.clone() };
        let counted = [(good, 5), (bad, 2), (plain, 1)].map(|(result, sessions)| Counted { result, sessions });
        let policies = policies(&counted, Some("192.0.2.25"));
        let sums: Vec<_> = policies
            .iter()
            .map(|it| (it.summary.total_successful_session_count, it.summary.total_failure_session_count))
            .collect();
        assert_eq!(sums, [(5, 2), (1, 0)]);
        assert_eq!(policies[0].failures[0].result_type, "certificate-expired");
        assert!(policies[1].policy.policy_string.is_empty());
    }

    #[test]
    fn a_strangers_url_does_not_lead_into_the_own_network() {
        for inside in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        assert!(is_public("192.0.2.1".parse().unwrap()) && is_public("2001:db8::1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn any_record_is_read_without_a_crash(text in "(v=TLSRPTv1;)?[ -~]{0,60}") {
            let _ = targets(&[text]);
        }
    }
}
