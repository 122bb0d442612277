//! How the box's mail is taken elsewhere: put off, refused, reported on; and relays and mail that the owner keeps back.

use crate::finding::{Finding, Problem};
use crate::talk::Talk;
use crate::world::{World, each};
use std::net::SocketAddr;
use wire::directory::{Relay, Relays};
use wire::filter::{DmarcEvidence, Evidence, ReportKind, Reports, TakenReport};
use wire::mta::{ProviderDay, ProviderVolume, Queue, Volume, Waiting};

const DAY: u64 = 86_400;

/// What became of mail that a large provider did not take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turned {
    PutOff,
    Refused,
}

impl Turned {
    fn of(self, day: &ProviderDay) -> u64 {
        match self {
            Turned::PutOff => day.put_off,
            Turned::Refused => day.refused,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Turned::PutOff => "put off",
            Turned::Refused => "refused",
        }
    }
}

/// No large provider turns much of the box's mail away: yesterday and today together.
pub async fn turned_away(world: &World, how: Turned, most_percent: u64, least: u64) -> Finding {
    let wanted = format!("fewer than {most_percent} % {}", how.words());
    match world.client.ask(&Volume {}).await {
        Ok(volumes) => judge_turned(&volumes, how, world.now, most_percent, least, &wanted),
        Err(_) => Finding::skipped("the mail server does not answer, which another check tells"),
    }
}

fn judge_turned(
    volumes: &[ProviderVolume],
    how: Turned,
    now: u64,
    most_percent: u64,
    least: u64,
    wanted: &str,
) -> Finding {
    let since = (now / DAY).saturating_sub(1) * DAY;
    let mut problems = Vec::new();
    for volume in volumes {
        let lately: Vec<&ProviderDay> = volume.days.iter().filter(|day| day.day >= since).collect();
        let tries: u64 = lately.iter().map(|day| day.sent + day.put_off + day.refused).sum();
        let turned: u64 = lately.iter().map(|day| how.of(day)).sum();
        if turned >= least && turned * 100 >= tries * most_percent {
            let seen = format!("{turned} of {tries} tries since yesterday {}", how.words());
            problems.push(Problem::new(&volume.provider, seen, wanted).detail(answered(volume, how)));
        }
    }
    Finding::judge(problems, format!("providers that got mail lately: {}", volumes.len()), wanted)
}

/// What it said most often, with what that means and what helps, where it is known.
fn answered(volume: &ProviderVolume, how: Turned) -> String {
    let said = volume.answered.iter().find(|said| match how {
        Turned::PutOff => said.code < 500,
        Turned::Refused => said.code >= 500,
    });
    let Some(said) = said else { return "nothing that was kept".to_owned() };
    let parts = [Some(format!("“{}”", said.words)), said.means.clone(), said.remedy.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// No provider gets much more than it is used to.
pub async fn volume(world: &World) -> Finding {
    let wanted = "no more than is sensible today";
    match world.client.ask(&Volume {}).await {
        Ok(volumes) => judge_volume(&volumes, wanted),
        Err(_) => Finding::skipped("the mail server does not answer, which another check tells"),
    }
}

fn judge_volume(volumes: &[ProviderVolume], wanted: &str) -> Finding {
    let much = volumes.iter().filter(|volume| volume.advice.sent_today > volume.advice.sensible_today);
    let problems = much.map(|volume| {
        let advice = &volume.advice;
        let seen = format!("{} messages today, sensible are {}", advice.sent_today, advice.sensible_today);
        Problem::new(&volume.provider, seen, wanted).detail(&advice.words)
    });
    Finding::judge(problems.collect(), "no provider gets too much at once", wanted)
}

/// Nothing is kept back and forgotten.
pub async fn held(world: &World, oldest_days: u64) -> Finding {
    let wanted = format!("nothing is kept back for {oldest_days} days or longer");
    match world.client.ask(&Queue {}).await {
        Ok(waiting) => judge_held(&waiting, world.now, oldest_days, &wanted),
        Err(_) => Finding::skipped("the mail server does not answer, which another check tells"),
    }
}

fn judge_held(waiting: &[Waiting], now: u64, oldest_days: u64, wanted: &str) -> Finding {
    let old = waiting.iter().filter(|one| one.held && now.saturating_sub(one.queued) >= oldest_days * DAY);
    let problems = old.map(|one| {
        let days = now.saturating_sub(one.queued) / DAY;
        Problem::new(one.recipient.to_string(), format!("kept back, {days} days old"), wanted).detail(&one.id)
    });
    let held = waiting.iter().filter(|one| one.held).count();
    Finding::judge(problems.collect(), format!("kept back: {held}"), wanted)
}

/// Every relay takes a connection.
pub async fn relays(world: &World) -> Finding {
    let wanted = "every relay takes connections";
    let relays = match world.client.ask(&Relays {}).await {
        Ok(relays) if relays.is_empty() => return Finding::skipped("the box sends its mail by itself"),
        Ok(relays) => relays,
        Err(error) => return Finding::unknown(error.to_string(), wanted),
    };
    let mut problems = Vec::new();
    let reached = each(relays.iter().map(|relay| reach(world, relay)).collect()).await;
    for (relay, reached) in relays.iter().zip(reached) {
        if let Err(trouble) = reached {
            let name = format!("{}:{}", relay.host, relay.port);
            problems.push(Problem::new(name, trouble, wanted).detail(relay.scope.to_string()));
        }
    }
    Finding::judge(problems, format!("relays that take connections: {}", relays.len()), wanted)
}

async fn reach(world: &World, relay: &Relay) -> Result<(), String> {
    let addresses = world.names.addresses(relay.host.as_str()).await.map_err(|error| error.to_string())?;
    let address = addresses.first().ok_or_else(|| format!("{} has no address", relay.host))?;
    Talk::connect(SocketAddr::new(*address, relay.port)).await.map(drop)
}

/// Other servers report no failed TLS of the last week.
pub async fn tls_reports(world: &World, days: u64) -> Finding {
    let wanted = format!("no failed TLS session in reports of the last {days} days");
    match world.client.ask(&Reports {}).await {
        Ok(reports) => judge_tls(&reports, world.now.saturating_sub(days * DAY), &wanted),
        Err(_) => Finding::skipped("the filter does not answer, which another check tells"),
    }
}

fn judge_tls(reports: &[TakenReport], since: u64, wanted: &str) -> Finding {
    // Anybody can write a report; only what is shown to come from the domain that it names counts.
    let believed = reports.iter().filter(|report| report.authenticated);
    let lately = believed.filter(|report| report.kind == ReportKind::Tls && report.end >= since);
    let (failed, good): (Vec<_>, Vec<_>) = lately.partition(|report| report.bad > 0);
    let problems = failed.iter().map(|report| {
        let seen = format!("{} sessions with {} failed, {} succeeded", report.bad, report.organisation, report.good);
        Problem::new(report.domain.as_str(), seen, wanted).detail(report.id.to_string())
    });
    Finding::judge(problems.collect(), format!("reports without failures: {}", good.len()), wanted)
}

/// What the box sends is authenticated as its domains', as others see it (DMARC reports).
pub async fn aligned(world: &World, days: u64, most_percent: u64) -> Finding {
    let wanted = format!("fewer than {most_percent} % of the box's own mail without DKIM and SPF of its domain");
    let domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let own: Vec<_> = world.host.addresses().collect();
    let mut evidence = Vec::with_capacity(domains.len());
    for domain in domains {
        let since = world.now.saturating_sub(days * DAY);
        match world.client.ask(&DmarcEvidence { domain: domain.clone(), own: own.clone(), since }).await {
            Ok(found) => evidence.push((domain.to_string(), found)),
            Err(_) => return Finding::skipped("the filter does not answer, which another check tells"),
        }
    }
    judge_aligned(&evidence, most_percent, &wanted)
}

fn judge_aligned(evidence: &[(String, Evidence)], most_percent: u64, wanted: &str) -> Finding {
    let (mut problems, mut seen) = (Vec::new(), 0);
    for (domain, found) in evidence {
        let all = found.own_aligned + found.own_unaligned;
        seen += all;
        if found.own_unaligned > 0 && found.own_unaligned * 100 >= all * most_percent {
            let words = format!("{} of {all} messages were not authenticated as the domain's", found.own_unaligned);
            problems.push(Problem::new(domain, words, wanted));
        }
    }
    Finding::judge(problems, format!("messages reported on: {seen}"), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use base::{Address, Domain};
    use wire::mta::{Advice, Answered};

    fn volume(sent: u64, put_off: u64, refused: u64) -> ProviderVolume {
        let said = |code: u16, words: &str| Answered {
            code,
            status: String::new(),
            words: words.into(),
            count: 1,
            means: Some("It is tired.".into()),
            remedy: None,
        };
        ProviderVolume {
            provider: "Example Mail".into(),
            days: vec![ProviderDay { day: 10 * DAY, sent, put_off, refused }],
            answered: vec![said(421, "later"), said(550, "never")],
            advice: Advice { sensible_today: 50, sent_today: sent, words: "slowly".into() },
        }
    }

    #[test]
    fn a_provider_that_turns_much_away_is_told_with_its_own_words() {
        let judge = |one: ProviderVolume, how, now| judge_turned(&[one], how, now, 30, 10, "");
        let bad = judge(volume(10, 12, 0), Turned::PutOff, 11 * DAY);
        assert!(bad.verdict == Verdict::Bad && bad.seen.contains("12 of 22"));
        assert_eq!(bad.problems[0].detail, "“later” It is tired.");
        assert!(judge(volume(10, 0, 12), Turned::Refused, 11 * DAY).problems[0].detail.contains("never"));
        assert_eq!(judge(volume(100, 12, 0), Turned::PutOff, 11 * DAY).verdict, Verdict::Good, "a small share");
        assert_eq!(judge(volume(0, 9, 0), Turned::PutOff, 11 * DAY).verdict, Verdict::Good, "too few to tell");
        assert_eq!(judge(volume(10, 12, 0), Turned::PutOff, 12 * DAY).verdict, Verdict::Good, "long ago");
    }

    #[test]
    fn more_than_a_provider_is_used_to_is_told() {
        assert_eq!(judge_volume(&[volume(50, 0, 0)], "").verdict, Verdict::Good);
        assert!(judge_volume(&[volume(51, 0, 0)], "").seen.contains("sensible are 50"));
    }

    #[test]
    fn mail_that_was_kept_back_and_forgotten_is_named() {
        let one = |held, queued| Waiting {
            id: "A1".into(),
            sender: None,
            recipient: Address::parse("ann@example.net").unwrap(),
            bytes: 1,
            queued,
            next_try: 0,
            tries: 0,
            last: None,
            held,
        };
        assert_eq!(judge_held(&[one(false, 0), one(true, 9 * DAY)], 10 * DAY, 2, "").verdict, Verdict::Good);
        let old = judge_held(&[one(true, 8 * DAY)], 10 * DAY, 2, "");
        assert!(old.seen.contains("2 days old") && old.problems[0].detail == "A1");
    }

    #[test]
    fn failed_tls_that_others_report_is_told_while_it_is_new() {
        let report = |kind, end, bad| TakenReport {
            id: 7,
            kind,
            organisation: "Example".into(),
            domain: Domain::parse("example.org").unwrap(),
            begin: 0,
            end,
            good: 5,
            bad,
            authenticated: true,
        };
        let judge = |one| judge_tls(&[one], 100, "").verdict;
        assert_eq!(judge(report(ReportKind::Tls, 100, 3)), Verdict::Bad);
        let forged = TakenReport { authenticated: false, ..report(ReportKind::Tls, 100, 3) };
        assert_eq!(judge(forged), Verdict::Good, "anybody can write one");
        for harmless in
            [report(ReportKind::Tls, 99, 3), report(ReportKind::Tls, 100, 0), report(ReportKind::Dmarc, 100, 3)]
        {
            assert_eq!(judge(harmless), Verdict::Good);
        }
    }

    #[test]
    fn own_mail_that_is_not_authenticated_is_told() {
        let found = |own_aligned, own_unaligned| {
            let evidence = Evidence { own_aligned, own_unaligned, ..Evidence::default() };
            judge_aligned(&[("example.org".to_owned(), evidence)], 5, "").verdict
        };
        assert_eq!(found(0, 0), Verdict::Good);
        assert_eq!(found(96, 4), Verdict::Good);
        assert_eq!(found(95, 5), Verdict::Bad);
    }
}
