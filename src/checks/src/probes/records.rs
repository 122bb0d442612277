//! The public records against those that the dns role wants: “you have …, wanted …”.

use crate::finding::{Finding, Problem};
use crate::names::canonical;
use crate::world::{World, each};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use tokio::task::JoinSet;
use wire::dns::{Need, Record};

/// A sort of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The addresses of the box's own name.
    Hostname,
    Mx,
    Spf,
    Dkim,
    Dmarc,
    MtaSts,
    TlsRpt,
    /// Whatever no other check looks at.
    Others,
}

impl Which {
    /// Which check a record belongs to; name servers and TLSA have checks of their own.
    fn of(record: &Record, hostname: &str) -> Option<Which> {
        let apex = record.name == record.zone.as_str();
        match record.kind.as_str() {
            "SOA" | "NS" | "TLSA" => None,
            "A" | "AAAA" if record.name == hostname => Some(Which::Hostname),
            "MX" if apex && record.value != "0 ." => Some(Which::Mx),
            "TXT" if record.name.contains("._domainkey.") => Some(Which::Dkim),
            "TXT" if record.name.starts_with("_dmarc.") => Some(Which::Dmarc),
            "TXT" if record.name.starts_with("_mta-sts.") => Some(Which::MtaSts),
            "TXT" if record.name.starts_with("_smtp._tls.") => Some(Which::TlsRpt),
            "TXT" if apex && record.name != hostname && is_spf(&record.value) => Some(Which::Spf),
            _ => Some(Which::Others),
        }
    }
}

pub async fn look(world: &World, which: Which) -> Finding {
    let wanted = "the records that the box needs";
    let mut records = match world.records().await {
        Ok(records) => records,
        Err(why) => return Finding::unknown(why, wanted),
    };
    records.retain(|record| Which::of(record, world.hostname()) == Some(which));
    if records.is_empty() {
        return Finding::skipped("the box needs no such record");
    }
    let seen = match look_up(world, &records).await {
        Ok(seen) => seen,
        Err(why) if world.is_demo() => return Finding::skipped(format!("this demo has no resolver ({why})")),
        Err(why) => return Finding::unknown(why, wanted),
    };
    let addresses: Vec<IpAddr> = world.host.addresses().collect();
    let problems = records.iter().filter_map(|record| {
        let values = seen.iter().find(|set| set.name == record.name && set.kind == record.kind)?;
        match &values.outcome {
            Ok(values) => judge(which, record, values, world.hostname(), &addresses),
            Err(trouble) => Some(trouble.clone()),
        }
        .map(|seen| problem(record, seen))
    });
    finish(which, &records, problems.collect())
}

/// A wanted record, and what the public has.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Compared {
    #[serde(flatten)]
    pub record: Record,
    /// The public values of its name and kind.
    pub seen: Vec<String>,
    /// What is wrong, if anything.
    pub problem: Option<String>,
}

/// Every record that is wanted against what public servers answer, by the rules of the checks.
pub async fn compare(world: &World) -> Result<Vec<Compared>, String> {
    let records = world.records().await?;
    let sets = look_up(world, &records).await?;
    let addresses: Vec<IpAddr> = world.host.addresses().collect();
    let compared = |record: Record| {
        let set = sets.iter().find(|set| set.name == record.name && set.kind == record.kind);
        let which = Which::of(&record, world.hostname()).unwrap_or(Which::Others);
        let (seen, problem) = match set.map(|set| &set.outcome) {
            Some(Ok(values)) => (values.clone(), judge(which, &record, values, world.hostname(), &addresses)),
            Some(Err(trouble)) => (Vec::new(), Some(trouble.clone())),
            None => (Vec::new(), Some("it was not looked up".to_owned())),
        };
        Compared { record, seen, problem }
    };
    Ok(records.into_iter().map(compared).collect())
}

fn problem(record: &Record, seen: String) -> Problem {
    Problem::new(format!("{} {}", record.name, record.kind), seen, &record.value).detail(&record.reason)
}

/// Records that are only recommended never fail, they warn.
fn finish(which: Which, records: &[Record], problems: Vec<Problem>) -> Finding {
    if problems.is_empty() {
        let lines: Vec<String> =
            records.iter().take(6).map(|one| format!("{} {}: as wanted", one.name, one.kind)).collect();
        let more = records.len().saturating_sub(6);
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        return Finding::good(
            lines.join("\n") + &more,
            format!("{} records as in: mailstead dns records", records.len()),
        );
    }
    let required = |problem: &Problem| {
        records.iter().any(|one| one.need == Need::Required && format!("{} {}", one.name, one.kind) == problem.subject)
    };
    match which == Which::Others || problems.iter().any(required) {
        true => Finding::bad(problems),
        false => Finding::poor(problems),
    }
}

/// Receivers look up no more than ten names for an SPF record, and take one that needs more for broken
/// (RFC 7208 §4.6.4).
pub async fn spf_lookups(world: &World, most: usize) -> Finding {
    let wanted = format!("at most {most} look-ups");
    let domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let (mut problems, mut highest) = (Vec::new(), 0);
    let counts = each(domains.iter().map(|domain| count_lookups(world, domain.as_str(), most)).collect()).await;
    for (domain, count) in domains.iter().zip(counts) {
        match count {
            // No further was counted than to one too many, and to the end of that record.
            Ok(count) if count > most => {
                problems.push(Problem::new(format!("{domain} TXT"), format!("{count} look-ups"), &wanted));
            }
            Ok(count) => highest = highest.max(count),
            Err(why) if world.is_demo() => return Finding::skipped(format!("this demo has no resolver ({why})")),
            Err(why) => return Finding::unknown(why, wanted),
        }
    }
    Finding::judge(problems, format!("the most that a domain needs: {highest}"), wanted)
}

/// The look-ups of a domain's record and of those that it includes; no further than one too many.
async fn count_lookups(world: &World, domain: &str, most: usize) -> Result<usize, String> {
    let (mut count, mut left, mut seen) = (0, vec![domain.to_owned()], BTreeSet::new());
    while let Some(name) = left.pop() {
        if count > most || !seen.insert(name.clone()) {
            continue;
        }
        let answer = world.names.ask(&name, "TXT").await.map_err(|error| error.to_string())?;
        for value in answer.values.iter().filter(|value| is_spf(value)) {
            let (more, included) = mechanisms(value);
            count += more;
            left.extend(included);
        }
    }
    Ok(count)
}

/// How many terms of a record need a look-up, and whose records it brings in.
fn mechanisms(record: &str) -> (usize, Vec<String>) {
    let (mut count, mut included) = (0, Vec::new());
    for term in record.split_whitespace().skip(1) {
        let term = term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
        let name = term.split([':', '/', '=']).next().unwrap_or_default();
        if !matches!(name, "a" | "mx" | "ptr" | "exists" | "include" | "redirect") {
            continue;
        }
        count += 1;
        let target = term.strip_prefix("include:").or_else(|| term.strip_prefix("redirect="));
        // A macro's value depends on the message.
        included.extend(target.filter(|target| !target.contains('%')).map(str::to_owned));
    }
    (count, included)
}

/// What the public sees at one name.
struct Set {
    name: String,
    kind: String,
    /// The values, or why the look-up fails.
    outcome: Result<Vec<String>, String>,
}

/// Looks every name up once. An error only when the resolver itself is away.
async fn look_up(world: &World, records: &[Record]) -> Result<Vec<Set>, String> {
    let questions: BTreeSet<(String, String)> =
        records.iter().map(|record| (record.name.clone(), record.kind.clone())).collect();
    let mut asking = JoinSet::new();
    for (name, kind) in questions {
        let names = world.names.clone();
        asking.spawn(async move {
            let outcome = names.ask(&name, &kind).await;
            (name, kind, outcome)
        });
    }
    let mut sets = Vec::new();
    while let Some(done) = asking.join_next().await {
        let (name, kind, outcome) = done.map_err(|error| error.to_string())?;
        let outcome = match outcome {
            Ok(answer) => Ok(answer.values),
            Err(error @ crate::names::NamesError::Away(..)) => return Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        sets.push(Set { name, kind, outcome });
    }
    Ok(sets)
}

/// What is wrong with the public values of one wanted record, if anything: what was seen instead.
fn judge(which: Which, record: &Record, values: &[String], hostname: &str, addresses: &[IpAddr]) -> Option<String> {
    let has = values.iter().any(|value| canonical(&record.kind, value) == canonical(&record.kind, &record.value));
    match which {
        Which::Spf => judge_spf(values, hostname, addresses).err(),
        Which::Dmarc => judge_dmarc(values).err(),
        Which::Dkim if !has => judge_dkim(values, &record.value).err(),
        Which::Mx if has => other_mx(values, hostname),
        Which::Hostname if has => other_address(values, addresses),
        _ if has => None,
        _ => Some(shown(values)),
    }
}

fn shown(values: &[String]) -> String {
    if values.is_empty() { "no such record".to_owned() } else { values.join("; ") }
}

fn is_spf(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower == "v=spf1" || lower.starts_with("v=spf1 ")
}

/// One record (RFC 7208 §4.5), that lets this box send and ends in `-all` or `~all`. More may be allowed in it: an
/// owner may send through others too.
fn judge_spf(texts: &[String], hostname: &str, addresses: &[IpAddr]) -> Result<(), String> {
    let found: Vec<&String> = texts.iter().filter(|text| is_spf(text)).collect();
    let text = match found.as_slice() {
        [] => return Err("no SPF record".to_owned()),
        [one] => one.to_ascii_lowercase(),
        many => return Err(format!("{} SPF records, where only one may be: {}", many.len(), shown(texts))),
    };
    let terms: Vec<&str> = text.split_whitespace().skip(1).collect();
    let last = terms.last().copied().unwrap_or_default();
    if matches!(last, "+all" | "all" | "?all") {
        return Err(format!("“{text}” lets everybody send"));
    }
    let redirects = last.starts_with("redirect=");
    if !redirects && !matches!(last, "-all" | "~all") {
        return Err(format!("“{text}” does not end in -all, so it forbids nobody"));
    }
    let allows = |term: &&str| {
        let term = term.trim_start_matches('+');
        let network = term.strip_prefix("ip4:").or_else(|| term.strip_prefix("ip6:"));
        let address = network.and_then(|network| network.split('/').next()?.parse::<IpAddr>().ok());
        term == "mx" || term == format!("a:{hostname}") || address.is_some_and(|address| addresses.contains(&address))
    };
    // What an include or redirect allows is not followed; it may well name this box.
    let delegated = |term: &&str| term.trim_start_matches('+').starts_with("include:") || term.starts_with("redirect=");
    match terms.iter().any(allows) || terms.iter().any(delegated) {
        true => Ok(()),
        false => Err(format!("“{text}” does not allow this box")),
    }
}

/// The value of a tag in `v=…; tag=value` lists (RFC 6376 §3.2).
fn tag<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    text.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim() == wanted).then(|| value.trim())
    })
}

/// One record (RFC 7489 §6.6.3) with a policy that receivers know.
fn judge_dmarc(texts: &[String]) -> Result<(), String> {
    let found: Vec<&String> = texts.iter().filter(|text| text.trim_start().starts_with("v=DMARC1")).collect();
    match found.as_slice() {
        [] => Err("no DMARC record".to_owned()),
        [one] => match tag(one, "p") {
            Some("none" | "quarantine" | "reject") => Ok(()),
            _ => Err(format!("“{one}” has no policy that receivers know")),
        },
        many => Err(format!("{} DMARC records, where only one may be", many.len())),
    }
}

/// The key itself counts; spaces and further tags do not.
fn judge_dkim(texts: &[String], wanted: &str) -> Result<(), String> {
    let key = |text: &str| tag(text, "p").map(|key| key.split_whitespace().collect::<String>());
    let wanted = key(wanted);
    match texts {
        [] => Err("no DKIM record".to_owned()),
        [one] if key(one) == wanted => Ok(()),
        [one] if key(one).is_some_and(|key| key.is_empty()) => Err("a record that revokes the key".to_owned()),
        [one] => {
            let length = key(one).map_or(0, |key| key.len());
            let full = wanted.map_or(0, |key| key.len());
            let cut = if length < full { ", cut short" } else { "" };
            Err(format!("another key ({length} characters, wanted {full}{cut}): {one}"))
        }
        many => Err(format!("{} records, where only one may be", many.len())),
    }
}

/// Other servers beside this box: mail that goes there is not here.
fn other_mx(values: &[String], hostname: &str) -> Option<String> {
    let others: Vec<String> = values
        .iter()
        .filter(|value| {
            let host = value.split_whitespace().nth(1).unwrap_or_default();
            !host.trim_end_matches('.').eq_ignore_ascii_case(hostname)
        })
        .cloned()
        .collect();
    (!others.is_empty()).then(|| format!("this box and also {}", others.join("; ")))
}

fn other_address(values: &[String], addresses: &[IpAddr]) -> Option<String> {
    let is_ours = |value: &&String| value.parse().is_ok_and(|address| addresses.contains(&address));
    let others: Vec<&str> = values.iter().filter(|value| !is_ours(value)).map(String::as_str).collect();
    (!others.is_empty()).then(|| format!("this box and also {}", others.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use base::Domain;

    fn record(name: &str, kind: &str, value: &str, need: Need) -> Record {
        Record {
            zone: Domain::parse("example.org").unwrap(),
            name: name.into(),
            ttl: 3600,
            kind: kind.into(),
            value: value.into(),
            need,
            reason: "Because.".into(),
        }
    }

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn an_spf_record_has_to_let_this_box_send_and_forbid_the_rest() {
        let ours: Vec<IpAddr> = vec!["192.0.2.25".parse().unwrap()];
        let judge = |values: &[&str]| judge_spf(&texts(values), "box.example.org", &ours);
        for good in [
            "v=spf1 mx -all",
            "V=SPF1 MX ~ALL",
            "v=spf1 include:_spf.relay.example mx -all",
            "v=spf1 ip4:192.0.2.25 -all",
            "v=spf1 a:box.example.org -all",
            "v=spf1 redirect=_spf.example.net",
        ] {
            assert_eq!(judge(&[good, "google-site-verification=x"]), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("v=spf1 mx +all", "everybody"),
            ("v=spf1 mx ?all", "everybody"),
            ("v=spf1 mx", "forbids nobody"),
            ("v=spf1 -all", "does not allow"),
            ("v=spf1 ip4:198.51.100.1 -all", "does not allow"),
            ("v=spf10 mx -all", "no SPF"),
        ] {
            assert!(judge(&[bad]).unwrap_err().contains(why), "{bad}");
        }
        assert!(judge(&[]).unwrap_err().contains("no SPF"));
        assert!(judge(&["v=spf1 mx -all", "v=spf1 -all"]).unwrap_err().contains("2 SPF"));
    }

    #[test]
    fn a_dmarc_record_needs_one_policy_that_receivers_know() {
        assert_eq!(judge_dmarc(&texts(&["v=DMARC1; p=none"])), Ok(()));
        assert_eq!(judge_dmarc(&texts(&["v=DMARC1;p=reject;rua=mailto:a@b.org"])), Ok(()));
        for bad in [&["v=DMARC1; sp=none"][..], &["v=DMARC1; p=maybe"], &[], &["v=DMARC1; p=none", "v=DMARC1; p=none"]]
        {
            assert!(judge_dmarc(&texts(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_dkim_key_is_compared_by_the_key_and_a_cut_one_is_told() {
        let wanted = "v=DKIM1; k=rsa; p=MIIBIjANBg";
        assert_eq!(judge_dkim(&texts(&["k=rsa; t=s; p=MIIB IjANBg;"]), wanted), Ok(()));
        assert!(judge_dkim(&texts(&["v=DKIM1; k=rsa; p=MIIBIj"]), wanted).unwrap_err().contains("cut short"));
        assert!(judge_dkim(&texts(&["v=DKIM1; p="]), wanted).unwrap_err().contains("revokes"));
        assert!(judge_dkim(&[], wanted).unwrap_err().contains("no DKIM"));
    }

    #[test]
    fn mail_that_also_goes_elsewhere_is_told() {
        let mx = record("example.org", "MX", "10 box.example.org.", Need::Required);
        let judge = |values: &[&str]| judge(Which::Mx, &mx, &texts(values), "box.example.org", &[]);
        assert_eq!(judge(&["10 Box.Example.org."]), None);
        assert!(judge(&["10 box.example.org.", "20 old.provider.example."]).unwrap().contains("old.provider"));
        assert_eq!(judge(&[]).unwrap(), "no such record");
    }

    #[test]
    fn each_record_belongs_to_one_check() {
        let which = |name, kind, value| Which::of(&record(name, kind, value, Need::Required), "box.example.org");
        assert_eq!(which("box.example.org", "AAAA", "2001:db8::1"), Some(Which::Hostname));
        assert_eq!(which("example.org", "MX", "10 box.example.org."), Some(Which::Mx));
        assert_eq!(which("example.org", "TXT", "v=spf1 mx -all"), Some(Which::Spf));
        assert_eq!(which("box.example.org", "TXT", "v=spf1 a -all"), Some(Which::Others));
        assert_eq!(which("mta-sts.example.org", "TXT", "v=spf1 -all"), Some(Which::Others));
        assert_eq!(which("ms1._domainkey.example.org", "TXT", "v=DKIM1"), Some(Which::Dkim));
        assert_eq!(which("_25._tcp.box.example.org", "TLSA", "3 1 1 ab"), None);
    }

    #[test]
    fn the_terms_that_need_a_look_up_are_counted() {
        let record = "v=spf1 mx a:mail.example.net ~ip4:192.0.2.1 ?include:_spf.example.com exists:%{i}.x.example -all";
        assert_eq!(mechanisms(record), (4, vec!["_spf.example.com".to_owned()]));
        assert_eq!(mechanisms("v=spf1 redirect=_spf.example.org"), (1, vec!["_spf.example.org".to_owned()]));
        assert_eq!(mechanisms("v=spf1 include:%{d}.example -all"), (1, Vec::new()));
        assert_eq!(mechanisms(""), (0, Vec::new()));
    }

    #[test]
    fn a_missing_required_record_is_worse_than_a_missing_recommended_one() {
        let required = record("_dmarc.example.org", "TXT", "v=DMARC1; p=none", Need::Required);
        let recommended = record("_mta-sts.example.org", "TXT", "v=STSv1; id=1", Need::Recommended);
        let missing = |record: &Record| vec![problem(record, "no such record".into())];
        assert_eq!(finish(Which::Dmarc, std::slice::from_ref(&required), missing(&required)).verdict, Verdict::Bad);
        let poor = finish(Which::MtaSts, std::slice::from_ref(&recommended), missing(&recommended));
        assert_eq!(poor.verdict, Verdict::Poor);
        assert_eq!(poor.wanted, "_mta-sts.example.org TXT: v=STSv1; id=1");
        assert_eq!(finish(Which::Dmarc, &[required], vec![]).verdict, Verdict::Good);
    }
}
