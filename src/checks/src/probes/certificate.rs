//! The certificate: does the world trust it, how long, for which names, and do all listeners serve the same?

use crate::finding::{Finding, Problem};
use crate::names::canonical;
use crate::probes::listeners::Listener;
use crate::tls::Certificate;
use crate::world::{World, each};
use wire::dns::Record;

const DAY: i64 = 86_400;

/// The certificate of a listener.
async fn served(world: &World, listener: Listener) -> Result<Certificate, String> {
    let greeting = world.greeting(listener).await?;
    let first = greeting.chain.first().ok_or("it served no certificate")?;
    Certificate::read(first)
}

pub async fn trusted(world: &World) -> Finding {
    let wanted = "a certificate of an authority that the world trusts";
    let greeting = match world.greeting(Listener::Https).await {
        Ok(greeting) => greeting,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let Some(certificate) = greeting.chain.first().and_then(|first| Certificate::read(first).ok()) else {
        return Finding::unknown("no certificate was served", wanted);
    };
    if certificate.self_signed {
        let seen = "self-signed: none has been issued yet";
        return Finding::bad(vec![Problem::new("", seen, wanted)]);
    }
    match world.tls.judge(&greeting.chain, world.hostname(), world.now) {
        Ok(()) => Finding::good(format!("issued by {}", certificate.issuer), wanted),
        Err(why) => Finding::bad(vec![Problem::new("", format!("issued by {}: {why}", certificate.issuer), wanted)]),
    }
}

pub async fn days(world: &World, warn: i64, fail: i64) -> Finding {
    match served(world, Listener::Https).await {
        Ok(certificate) => judge_days(certificate.expires, i64::try_from(world.now).unwrap_or(i64::MAX), warn, fail),
        Err(why) => Finding::unknown(why, format!("a certificate good for {warn} days more")),
    }
}

fn judge_days(expires: i64, now: i64, warn: i64, fail: i64) -> Finding {
    let wanted = format!("good for {warn} days or more");
    let left = (expires - now).div_euclid(DAY);
    let until = base::time::readable(u64::try_from(expires).unwrap_or(0));
    match left {
        left if left < 0 => Finding::bad(vec![Problem::new("", format!("expired at {until}"), wanted)]),
        left if left < fail => Finding::bad(vec![Problem::new("", format!("{left} days left, until {until}"), wanted)]),
        left if left < warn => {
            Finding::poor(vec![Problem::new("", format!("{left} days left, until {until}"), wanted)])
        }
        left => Finding::good(format!("{left} days left, until {until}"), wanted),
    }
}

pub async fn names(world: &World) -> Finding {
    let wanted = "every name under which the box serves TLS";
    let certificate = match served(world, Listener::Https).await {
        Ok(certificate) => certificate,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let records = match world.records().await {
        Ok(records) => records,
        Err(why) => return Finding::unknown(why, wanted),
    };
    judge_names(&certificate, &names_to_cover(&records, world.hostname()))
}

/// The hostname, and the names that the zone has for senders and mail programs.
fn names_to_cover(records: &[Record], hostname: &str) -> Vec<String> {
    let serving = |name: &str| ["mta-sts.", "autoconfig.", "autodiscover."].iter().any(|start| name.starts_with(start));
    let found = records.iter().filter(|record| matches!(record.kind.as_str(), "A" | "AAAA") && serving(&record.name));
    let mut names: Vec<String> = found.map(|record| record.name.clone()).collect();
    names.push(hostname.to_owned());
    names.sort();
    names.dedup();
    names
}

/// Without the hostname mail clients refuse; without another name only that name's use is lost.
fn judge_names(certificate: &Certificate, wanted: &[String]) -> Finding {
    let missing: Vec<&str> = wanted.iter().filter(|name| !certificate.covers(name)).map(String::as_str).collect();
    let list = wanted.join(", ");
    if missing.is_empty() {
        return Finding::good(format!("all {} names", wanted.len()), list);
    }
    let seen = format!("not in the certificate: {}", missing.join(", "));
    Finding::bad(vec![Problem::new("", seen, list).detail(missing.join(", "))])
}

pub async fn everywhere(world: &World) -> Finding {
    let wanted = "the same certificate on every port";
    let mut seen = Vec::new();
    for listener in Listener::ALL {
        match served(world, listener).await {
            Ok(certificate) => seen.push((listener.address(world).port(), certificate.fingerprint)),
            Err(why) => return Finding::unknown(format!("port {}: {why}", listener.address(world).port()), wanted),
        }
    }
    judge_everywhere(&seen)
}

fn judge_everywhere(seen: &[(u16, String)]) -> Finding {
    let wanted = "the same certificate on every port";
    let short = |print: &str| print.chars().take(16).collect::<String>();
    let Some((_, first)) = seen.first() else { return Finding::unknown("no port answers", wanted) };
    if seen.iter().all(|(_, print)| print == first) {
        return Finding::good(format!("{} on {} ports", short(first), seen.len()), wanted);
    }
    let lines =
        seen.iter().map(|(port, print)| Problem::new(format!("port {port}"), short(print), "the same as the others"));
    Finding::bad(lines.collect())
}

/// One listener's certificate is what mail programs take: trusted, for the box's name, and not about to end.
pub async fn listener(world: &World, listener: Listener, least_days: i64) -> Finding {
    let wanted = format!("a certificate that mail programs take, good for {least_days} days more");
    let greeting = match world.greeting(listener).await {
        Ok(greeting) => greeting,
        Err(_) => return Finding::skipped("it does not answer, which another check tells"),
    };
    let port = format!("port {}", listener.address(world).port());
    let Some(certificate) = greeting.chain.first().and_then(|first| Certificate::read(first).ok()) else {
        return Finding::skipped("it offers no TLS, which another check tells");
    };
    let now = i64::try_from(world.now).unwrap_or(i64::MAX);
    let trusted = match certificate.self_signed {
        true => Err("self-signed".to_owned()),
        false => world.tls.judge(&greeting.chain, world.hostname(), world.now),
    };
    let days = (certificate.expires - now).div_euclid(DAY);
    match trusted {
        Err(why) => Finding::bad(vec![Problem::new(port, format!("issued by {}: {why}", certificate.issuer), wanted)]),
        Ok(()) if days < least_days => Finding::bad(vec![Problem::new(port, format!("{days} days left"), wanted)]),
        Ok(()) => Finding::good(format!("issued by {}, {days} days left", certificate.issuer), wanted),
    }
}

/// The other ports' TLSA records, by which mail programs that know DANE verify (RFC 7673).
pub async fn tlsa_of_clients(world: &World) -> Finding {
    let wanted = "TLSA records of the keys that these ports serve";
    let listeners = [Listener::Submissions, Listener::Submission, Listener::Imaps, Listener::Https];
    let (mut problems, mut right) = (Vec::new(), 0);
    let look = |listener: Listener| async move {
        // A port that is down has a check of its own.
        let certificate = served(world, listener).await.ok()?;
        let name = format!("_{}._tcp.{}", listener.address(world).port(), world.hostname());
        let answer = world.names.ask(&name, "TLSA").await;
        Some((name, certificate, answer))
    };
    let looked = each(listeners.into_iter().map(look).collect()).await;
    for (name, certificate, answer) in looked.into_iter().flatten() {
        match answer {
            Ok(answer) => match judge_tlsa(&name, &answer.values, &certificate.key_hash) {
                Finding { problems: found, .. } if !found.is_empty() => problems.extend(found),
                _ => right += 1,
            },
            Err(error) if world.is_demo() => return Finding::skipped(format!("this demo has no resolver ({error})")),
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        }
    }
    Finding::judge(problems, format!("ports whose records match: {right}"), wanted)
}

/// The authority is allowed by the public CAA records (RFC 8659), else the next certificate is refused.
pub async fn caa(world: &World) -> Finding {
    let wanted = "CAA records that let the box's authority issue";
    let issuer = match world.records().await {
        Ok(records) => {
            records.into_iter().filter(|record| record.kind == "CAA").find_map(|record| issuer(&record.value))
        }
        Err(why) => return Finding::unknown(why, wanted),
    };
    let Some(issuer) = issuer else { return Finding::skipped("the box wants no CAA record") };
    // The closest name that has any counts (RFC 8659 §3).
    let mut name = world.hostname();
    loop {
        match world.names.ask(name, "CAA").await {
            Ok(answer) if !answer.values.is_empty() => return judge_caa(name, &answer.values, &issuer),
            Ok(_) => {}
            Err(error) if world.is_demo() => return Finding::skipped(format!("this demo has no resolver ({error})")),
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        }
        match name.split_once('.') {
            Some((_, parent)) if parent.contains('.') => name = parent,
            _ => return Finding::good("none, so that every authority may", wanted),
        }
    }
}

/// `0 issue "letsencrypt.org; accounturi=…"`: the authority's name.
fn issuer(value: &str) -> Option<String> {
    let (head, rest) = value.split_once(' ').and_then(|(_, rest)| rest.split_once(' '))?;
    let name = rest.trim_matches('"').split(';').next().unwrap_or_default().trim();
    (head == "issue").then(|| name.to_owned())
}

fn judge_caa(name: &str, values: &[String], wanted: &str) -> Finding {
    let allowed: Vec<String> = values.iter().filter_map(|value| issuer(value)).collect();
    let words = format!("issue \"{wanted}\"");
    match allowed.is_empty() || allowed.iter().any(|issuer| issuer == wanted) {
        true => Finding::good(values.join("; "), words),
        false => Finding::bad(vec![Problem::new(format!("{name} CAA"), values.join("; "), words)]),
    }
}

pub async fn tlsa(world: &World) -> Finding {
    let name = format!("_25._tcp.{}", world.hostname());
    let wanted = "a TLSA record of the key that port 25 serves";
    let certificate = match served(world, Listener::Smtp).await {
        Ok(certificate) => certificate,
        Err(why) => return Finding::unknown(why, wanted),
    };
    match world.names.ask(&name, "TLSA").await {
        Ok(answer) => judge_tlsa(&name, &answer.values, &certificate.key_hash),
        Err(error) if world.is_demo() => Finding::skipped(format!("this demo has no resolver ({error})")),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

/// RFC 7672 §3.1: one usable record has to match. None at all only means no DANE.
fn judge_tlsa(name: &str, public: &[String], key_hash: &str) -> Finding {
    let wanted = format!("3 1 1 {key_hash}");
    if public.iter().any(|value| canonical("TLSA", value) == wanted) {
        return Finding::good(&wanted, &wanted);
    }
    let subject = format!("{name} TLSA");
    match public.is_empty() {
        true => Finding::poor(vec![Problem::new(subject, "no such record", wanted)]),
        false => Finding::bad(vec![Problem::new(subject, public.join("; "), wanted)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn certificate(names: &[&str]) -> Certificate {
        Certificate::read(&crate::tls::tests::self_signed(names)).unwrap()
    }

    #[test]
    fn a_certificate_is_told_of_before_it_expires() {
        let now = 1_800_000_000;
        let judge = |left: i64| judge_days(now + left * DAY + 60, now, 21, 7);
        assert_eq!(judge(60).verdict, Verdict::Good);
        assert_eq!(judge(20).verdict, Verdict::Poor);
        assert_eq!(judge(6).verdict, Verdict::Bad);
        assert!(judge(-2).seen.contains("expired"));
    }

    #[test]
    fn a_name_that_is_not_in_the_certificate_is_named() {
        let wanted = ["box.example.org".to_owned(), "mta-sts.example.org".to_owned()];
        assert_eq!(judge_names(&certificate(&["box.example.org", "*.example.org"]), &wanted).verdict, Verdict::Good);
        let missing = judge_names(&certificate(&["box.example.org"]), &wanted);
        assert!(missing.verdict == Verdict::Bad && missing.problems[0].detail == "mta-sts.example.org");
    }

    #[test]
    fn an_old_certificate_on_one_port_is_found() {
        let same = [(25, "aa".to_owned()), (993, "aa".to_owned())];
        assert_eq!(judge_everywhere(&same).verdict, Verdict::Good);
        let old = [(25, "aa".to_owned()), (993, "bb".to_owned())];
        assert!(judge_everywhere(&old).seen.contains("port 993: bb"));
    }

    #[test]
    fn caa_records_that_shut_out_the_boxs_authority_are_told_of() {
        let judge = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            judge_caa("example.org", &values, "letsencrypt.org").verdict
        };
        assert_eq!(
            judge(&["0 issue \"letsencrypt.org; accounturi=https://a.example/1\"", "0 iodef \"mailto:a@b.example\""]),
            Verdict::Good
        );
        assert_eq!(judge(&["0 iodef \"mailto:a@b.example\""]), Verdict::Good);
        assert_eq!(judge(&["0 issue \"other.example\""]), Verdict::Bad);
        assert_eq!(judge(&["0 issue \";\""]), Verdict::Bad);
    }

    #[test]
    fn a_wrong_tlsa_record_is_worse_than_none() {
        let judge = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            judge_tlsa("_25._tcp.box.example.org", &values, "abcd").verdict
        };
        assert_eq!(judge(&["3 1 1 ABCD"]), Verdict::Good);
        assert_eq!(judge(&["3 1 1 0000", "3 1 1 abcd"]), Verdict::Good);
        assert_eq!(judge(&[]), Verdict::Poor);
        assert_eq!(judge(&["3 1 1 0000"]), Verdict::Bad);
    }
}
