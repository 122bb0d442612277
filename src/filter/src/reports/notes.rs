//! How strangers' mail came out, for the domains that ask to be told: in memory for some seconds, then on the disk.

use crate::limits;
use mail_auth::dmarc::{self, DmarcRecord, FailureOptions, Policy as Wish};
use mail_auth::{DkimOutput, DkimResult, DmarcOutput, DmarcResult, MessageAuthenticator, SpfOutput, SpfResult};
use reports::dmarc::{AuthResults, Dkim, Evaluated, Identifiers, Policy, Reason, Record, Row, Spf};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use wire::filter::{Action, Judge, REPORTS_NAME};

/// What a domain asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    pub published: Policy,
    /// Addresses, each with the largest report in octets (0: no limit).
    pub to: Vec<(String, usize)>,
}

/// How one message came out, of a domain that asks to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    asking: Asking,
    /// Without disposition and count.
    record: Record,
    wish: Wish,
}

impl Asked {
    /// The domain whose record it is.
    pub fn domain(&self) -> &str {
        &self.asking.published.domain
    }

    pub fn author(&self) -> &str {
        &self.record.identifiers.header_from
    }
}

/// What is to be noted of a message; `None` where nobody asks, or DNS left it open. Reports are not reported about:
/// two boxes would write to each other for ever.
pub async fn asked(
    authenticator: &MessageAuthenticator,
    ask: &Judge,
    spf_domain: &str,
    spf: &SpfOutput,
    dkim: &[DkimOutput<'_>],
    dmarc: &DmarcOutput,
) -> Option<Asked> {
    let record = dmarc.record().filter(|record| !record.rua().is_empty())?;
    let open = |result: &DmarcResult| matches!(result, DmarcResult::TempError(_));
    if open(dmarc.dkim_result()) || open(dmarc.spf_result()) || spf.result() == SpfResult::TempError {
        return None;
    }
    if !ask.recipients.is_empty() && ask.recipients.iter().all(|to| to.account().local() == REPORTS_NAME) {
        return None;
    }
    let domain = policy_domain(authenticator, dmarc.domain()).await?;
    let to = record.rua().iter().take(limits::REPORT_ADDRESSES);
    let asking = Asking {
        published: published(domain, record),
        to: to.map(|uri| (uri.uri().to_owned(), uri.max_size())).collect(),
    };
    Some(Asked { asking, record: row(ask, spf_domain, spf, dkim, dmarc), wish: dmarc.policy() })
}

/// The name whose `_dmarc` record holds for an author: the author's domain itself, or the closest above it that has one.
async fn policy_domain(authenticator: &MessageAuthenticator, author: &str) -> Option<String> {
    let labels = author.trim_end_matches('.').split('.').count();
    for skip in 0..labels.saturating_sub(1).min(8) {
        let name = author.splitn(skip + 1, '.').last()?;
        let found = authenticator.txt_raw_lookup(format!("_dmarc.{name}.")).await;
        if found.is_ok_and(|text| text.windows(8).any(|part| part.eq_ignore_ascii_case(b"v=DMARC1"))) {
            return Some(name.to_ascii_lowercase());
        }
    }
    None
}

fn published(domain: String, record: &DmarcRecord) -> Policy {
    Policy {
        domain,
        adkim: Some(record.adkim.to_string()),
        aspf: Some(record.aspf.to_string()),
        p: record.p.to_string(),
        sp: Some(record.sp.to_string()),
        pct: Some("100".to_owned()),
        fo: Some(failures(&record.fo).to_owned()),
    }
}

/// The words of RFC 7489 §6.3, `fo`.
fn failures(wish: &FailureOptions) -> &'static str {
    match wish {
        FailureOptions::All => "0",
        FailureOptions::Any => "1",
        FailureOptions::Dkim => "d",
        FailureOptions::Spf => "s",
        FailureOptions::DkimSpf => "d:s",
    }
}

fn row(ask: &Judge, spf_domain: &str, spf: &SpfOutput, dkim: &[DkimOutput<'_>], dmarc: &DmarcOutput) -> Record {
    let word = |result: &DmarcResult| if *result == DmarcResult::Pass { "pass" } else { "fail" }.to_owned();
    let signatures = dkim.iter().take(limits::NOTED_SIGNATURES).filter_map(|output| {
        let signature = output.signature()?;
        let (domain, selector) = (super::cut(&signature.d), Some(super::cut(&signature.s)));
        Some(Dkim { domain, selector, result: dkim_word(output.result()).to_owned() })
    });
    let scope = if ask.sender.is_some() { "mfrom" } else { "helo" };
    Record {
        row: Row {
            source_ip: ask.client.to_canonical().to_string(),
            count: 0,
            policy_evaluated: Evaluated {
                disposition: String::new(),
                dkim: word(dmarc.dkim_result()),
                spf: word(dmarc.spf_result()),
                reasons: Vec::new(),
            },
        },
        identifiers: Identifiers {
            envelope_from: Some(ask.sender.as_ref().map(|it| it.domain().to_string()).unwrap_or_default()),
            header_from: super::cut(dmarc.domain()),
        },
        auth_results: AuthResults {
            dkim: signatures.collect(),
            spf: vec![Spf {
                domain: super::cut(spf_domain),
                scope: Some(scope.to_owned()),
                result: spf.result().to_string(),
            }],
        },
    }
}

/// The words of RFC 7489 appendix C.
fn dkim_word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

/// What rows beyond the bound are counted as. Appendix C wants an address and a result in every row.
pub fn together(domain: &str) -> Record {
    let comment = "more sources than are told one by one".to_owned();
    let row = Row {
        source_ip: "0.0.0.0".to_owned(),
        policy_evaluated: Evaluated {
            disposition: "none".to_owned(),
            dkim: "fail".to_owned(),
            spf: "fail".to_owned(),
            reasons: vec![Reason { kind: "other".to_owned(), comment: Some(comment) }],
        },
        ..Row::default()
    };
    let spf = Spf { domain: domain.to_owned(), scope: Some("mfrom".to_owned()), result: "none".to_owned() };
    Record {
        row,
        identifiers: Identifiers { envelope_from: Some(String::new()), header_from: domain.to_owned() },
        auth_results: AuthResults { dkim: Vec::new(), spf: vec![spf] },
    }
}

/// What was done with a message because of its domain's policy, and why not more.
fn disposition(record: &Record, wish: Wish, action: &Action) -> (&'static str, Vec<Reason>) {
    let local = |comment: &str| vec![Reason { kind: "local_policy".to_owned(), comment: Some(comment.to_owned()) }];
    match (wish, action) {
        _ if record.is_aligned() => ("none", Vec::new()),
        (dmarc::Policy::Reject, Action::Refuse { .. }) => ("reject", Vec::new()),
        (dmarc::Policy::Quarantine, Action::Junk) => ("quarantine", Vec::new()),
        (dmarc::Policy::Reject, Action::Junk) => ("quarantine", local("treated as junk")),
        (dmarc::Policy::Quarantine | dmarc::Policy::Reject, _) => ("none", local("other signs spoke for it")),
        _ => ("none", Vec::new()),
    }
}

/// Of one domain on one day.
#[derive(Debug)]
pub struct Noted {
    pub policy: Asking,
    /// Rows as JSON, with how many messages each stands for.
    pub rows: BTreeMap<String, u64>,
}

/// What was not yet written.
#[derive(Debug, Default)]
pub struct Notes(HashMap<(u64, String), Noted>);

impl Notes {
    pub fn add(&mut self, day: u64, asked: &Asked, action: &Action) {
        let key = (day, asked.domain().to_owned());
        if self.0.len() >= limits::NOTED_DOMAINS && !self.0.contains_key(&key) {
            return;
        }
        let mut record = asked.record.clone();
        let (disposition, reasons) = disposition(&record, asked.wish, action);
        record.row.policy_evaluated.disposition = disposition.to_owned();
        record.row.policy_evaluated.reasons = reasons;
        let noted = self.0.entry(key).or_insert_with(|| Noted { policy: asked.asking.clone(), rows: BTreeMap::new() });
        noted.policy = asked.asking.clone();
        let Ok(mut row) = serde_json::to_string(&record) else { return };
        if noted.rows.len() >= limits::NOTED_ROWS && !noted.rows.contains_key(&row) {
            row = serde_json::to_string(&together(asked.domain())).unwrap_or_default();
        }
        *noted.rows.entry(row).or_default() += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_days(self) -> impl Iterator<Item = ((u64, String), Noted)> {
        self.0.into_iter()
    }
}

#[cfg(test)]
use mail_auth::dns::TxtRecordParser;

#[cfg(test)]
impl Asked {
    pub fn published(&self) -> &Policy {
        &self.asking.published
    }

    /// A message of a domain that asks for reports at `to`.
    pub fn example(domain: &str, to: &[(&str, usize)], client: &str, aligned: bool) -> Self {
        let word = if aligned { "pass" } else { "fail" }.to_owned();
        let record = DmarcRecord::parse(b"v=DMARC1; p=reject; fo=d; rua=mailto:rua@peer.example").unwrap();
        let published = published(domain.to_owned(), &record);
        let evaluated = Evaluated { dkim: word.clone(), spf: word.clone(), ..Evaluated::default() };
        let spf = Spf { domain: domain.into(), scope: Some("mfrom".into()), result: word };
        Self {
            asking: Asking { published, to: to.iter().map(|(to, size)| ((*to).to_owned(), *size)).collect() },
            record: Record {
                row: Row { source_ip: client.into(), count: 0, policy_evaluated: evaluated },
                identifiers: Identifiers { envelope_from: Some(domain.into()), header_from: domain.into() },
                auth_results: AuthResults { dkim: Vec::new(), spf: vec![spf] },
            },
            wish: Wish::Reject,
        }
    }
}
