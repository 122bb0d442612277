//! How other boxes see the ports of this one: each peer in `box.yaml` is asked over HTTPS, and looks at the address that asks.
//!
//! One peer that answers is enough to know; one that is away says nothing about this box.

use super::Family;
use crate::finding::{Finding, Problem, Verdict};
use crate::limits::SEEN_WITHIN;
use crate::probes::web;
use crate::world::{World, each};
use base::{DnsMode, Domain};
use reqwest::StatusCode;
use std::net::{IpAddr, SocketAddr};
use tokio::time::timeout;
use wire::view::{PATH, PORTS, Reached, View};

const SMTP: u16 = 25;
const DNS: u16 = 53;

/// Longest piece of a refusal that is passed on.
const MAX_SENTENCE: usize = 200;

/// What became of asking a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    View(View),
    /// It has no address of this family.
    Without,
    /// It does not look at this box's ports; why.
    Refuses(String),
    /// It could not be asked; why.
    Away(String),
}

/// The ports answer those who come from elsewhere.
pub async fn look(world: &World, family: Family) -> Finding {
    if world.is_demo() {
        return Finding::skipped("nobody comes to a demo from outside");
    }
    let peers = &world.config.peers;
    if peers.is_empty() {
        return Finding::skipped("no peer is configured (`peers:` in box.yaml)");
    }
    let of_family = |address: &IpAddr| address.is_ipv4() == (family == Family::Ipv4);
    let Some(public) = world.host.addresses().find(of_family) else {
        return Finding::skipped("the box has no such address");
    };
    let ports: Vec<u16> = PORTS.into_iter().filter(|port| *port != DNS || world.config.dns == DnsMode::Box).collect();
    let told = each(peers.iter().map(|peer| ask(world, peer, public, &ports)).collect()).await;
    let told: Vec<(&Domain, Told)> = peers.iter().zip(told).collect();
    Seen { told: &told, public, ports: &ports, hostname: world.hostname() }.judge()
}

async fn ask(world: &World, peer: &Domain, public: IpAddr, ports: &[u16]) -> Told {
    let late = || Told::Away(format!("no answer within {} s", SEEN_WITHIN.as_secs()));
    timeout(SEEN_WITHIN, ask_at_leisure(world, peer, public, ports)).await.unwrap_or_else(|_| late())
}

async fn ask_at_leisure(world: &World, peer: &Domain, public: IpAddr, ports: &[u16]) -> Told {
    let addresses = match world.names.addresses(peer.as_str()).await {
        Ok(addresses) if addresses.is_empty() => return Told::Away("there is no host of that name".to_owned()),
        Ok(addresses) => addresses,
        Err(error) => return Told::Away(error.to_string()),
    };
    let Some(there) = addresses.into_iter().find(|address| address.is_ipv4() == public.is_ipv4()) else {
        return Told::Without;
    };
    // The address that is published is the one to be looked at, where the machine has several.
    let from = world.host.bind.contains(&public).then_some(public);
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    match web::ask(SocketAddr::new(there, 443), peer.as_str(), &format!("{PATH}?ports={ports}"), from).await {
        Ok(page) => read(page.status, &page.text),
        Err(trouble) => Told::Away(trouble),
    }
}

fn read(status: StatusCode, text: &str) -> Told {
    match status {
        StatusCode::OK => match serde_json::from_str::<View>(text) {
            Ok(view) if !view.ports.is_empty() => Told::View(view),
            _ => Told::Away("it answers something else".to_owned()),
        },
        // Its words say which address it saw.
        StatusCode::FORBIDDEN => Told::Refuses(format!("it refuses: {}", first_line(text))),
        StatusCode::NOT_FOUND => {
            Told::Away("it knows nothing of peers: no Mailstead box, or one of an earlier release".to_owned())
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Told::Away("it was asked often just now, and looks again in a minute".to_owned())
        }
        status => Told::Away(format!("it answers {status}: {}", first_line(text))),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(MAX_SENTENCE).collect()
}

/// All that was told.
struct Seen<'a> {
    told: &'a [(&'a Domain, Told)],
    public: IpAddr,
    ports: &'a [u16],
    hostname: &'a str,
}

impl Seen<'_> {
    fn judge(&self) -> Finding {
        let views: Vec<(&Domain, &View)> = self.views().collect();
        if views.is_empty() {
            return self.nothing_known();
        }
        let looked: Vec<(bool, Problem)> =
            self.ports.iter().filter_map(|port| self.closed(*port, &views)).chain(self.greeted(&views)).collect();
        let for_all = looked.iter().any(|(for_all, _)| *for_all);
        let problems: Vec<Problem> = looked.into_iter().map(|(_, problem)| problem).collect();
        match () {
            () if for_all => Finding::bad(problems),
            () if !problems.is_empty() => Finding::poor(problems),
            () => Finding::good(self.in_order(&views), self.wanted()),
        }
    }

    fn wanted(&self) -> String {
        format!("every port answers at {}, and {} greets at port 25", self.public, self.hostname)
    }

    fn views(&self) -> impl Iterator<Item = (&Domain, &View)> {
        self.told.iter().filter_map(|(peer, told)| match told {
            Told::View(view) => Some((*peer, view)),
            _ => None,
        })
    }

    /// Those that said nothing, with why.
    fn silent(&self) -> impl Iterator<Item = (&Domain, &str, &'static str)> {
        self.told.iter().filter_map(|(peer, told)| match told {
            Told::View(_) | Told::Without => None,
            Told::Refuses(why) => Some((*peer, why.as_str(), "refuses")),
            Told::Away(why) => Some((*peer, why.as_str(), "away")),
        })
    }

    fn in_order(&self, views: &[(&Domain, &View)]) -> String {
        let mut words: Vec<String> = views
            .iter()
            .map(|(peer, view)| {
                let open = view.ports.values().filter(|reached| **reached == Reached::Open).count();
                format!("{peer} reaches {open} ports")
            })
            .collect();
        words.extend(self.silent().map(|(peer, why, _)| format!("{peer} could not be asked: {why}")));
        words.join("\n")
    }

    fn nothing_known(&self) -> Finding {
        let problem = |(peer, why, detail): (&Domain, &str, &str)| {
            Problem::new(peer.as_str(), why, "it tells what it sees").detail(detail)
        };
        let problems: Vec<Problem> = self.silent().map(problem).collect();
        match problems.is_empty() {
            true => Finding::skipped("no peer has such an address"),
            // The ports may well be in order.
            false => Finding { verdict: Verdict::Unknown, ..Finding::poor(problems) },
        }
    }

    /// A port that some peers do not reach, and whether that goes for all who can tell.
    fn closed(&self, port: u16, views: &[(&Domain, &View)]) -> Option<(bool, Problem)> {
        let mut closed = Vec::new();
        let mut open = Vec::new();
        for (peer, view) in views {
            match view.ports.get(&port) {
                Some(Reached::Open) => open.push(peer.as_str()),
                // What it did not look at, or cannot, it says nothing about.
                None | Some(Reached::NotFromHere) => {}
                Some(reached) => closed.push(format!("{}, as {peer} sees it", reached.words())),
            }
        }
        if closed.is_empty() {
            return None;
        }
        let mut seen = closed.join("; ");
        if !open.is_empty() {
            seen.push_str(&format!("; {} gets through", open.join(", ")));
        }
        let subject = format!("port {port} at {}", self.public);
        Some((open.is_empty(), Problem::new(subject, seen, "open").detail(port.to_string())))
    }

    /// Peers whom another server greets at port 25, or none.
    fn greeted(&self, views: &[(&Domain, &View)]) -> impl Iterator<Item = (bool, Problem)> {
        let open = views.iter().filter(|(_, view)| view.ports.get(&SMTP) == Some(&Reached::Open));
        let wrong = open.filter_map(|(peer, view)| {
            let seen = match view.greeting.as_deref() {
                Some(line) if greets_as(line, self.hostname) => return None,
                Some(line) => format!("“{line}” greets {peer}"),
                None => format!("nobody greets {peer}"),
            };
            let wanted = format!("220 {}", self.hostname);
            let problem = Problem::new(format!("port {SMTP} at {}", self.public), seen, wanted);
            Some((true, problem.detail(if view.greeting.is_some() { "greeting".into() } else { SMTP.to_string() })))
        });
        wrong.collect::<Vec<_>>().into_iter()
    }
}

/// The server's name comes first in its greeting (RFC 5321 §4.2). A 421 is a server that has too much to do (§3.8), which may well
/// be this one.
fn greets_as(line: &str, hostname: &str) -> bool {
    let Some((code, text)) = line.split_once([' ', '-']) else { return false };
    let name = text.split_whitespace().next().unwrap_or_default();
    code == "421" || (code == "220" && name.eq_ignore_ascii_case(hostname))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = "220 box.example.org ESMTP";

    fn view(ports: &[(u16, Reached)], greeting: &str) -> Told {
        let greeting = (!greeting.is_empty()).then(|| greeting.to_owned());
        Told::View(View { address: "192.0.2.25".parse().unwrap(), ports: ports.iter().copied().collect(), greeting })
    }

    fn judge(told: &[Told]) -> Finding {
        let names: Vec<Domain> =
            (1..=told.len()).map(|number| Domain::parse(&format!("box{number}.example.net")).unwrap()).collect();
        let told: Vec<(&Domain, Told)> = names.iter().zip(told.iter().cloned()).collect();
        let public = "192.0.2.25".parse().unwrap();
        Seen { told: &told, public, ports: &[25, 993], hostname: "box.example.org" }.judge()
    }

    fn all_open() -> Told {
        view(&[(25, Reached::Open), (993, Reached::Open)], OURS)
    }

    #[test]
    fn a_port_that_a_peer_does_not_reach_is_told_with_what_it_met() {
        let closed = view(&[(25, Reached::Open), (993, Reached::NoAnswer)], OURS);
        let found = judge(std::slice::from_ref(&closed));
        assert_eq!(found.verdict, Verdict::Bad);
        assert_eq!(found.seen, "port 993 at 192.0.2.25: no answer, as box1.example.net sees it");
        assert_eq!(found.problems[0].detail, "993");
        let found = judge(&[closed, all_open()]);
        assert_eq!(found.verdict, Verdict::Poor, "mail of most gets through");
        assert!(found.seen.ends_with("as box1.example.net sees it; box2.example.net gets through"), "{}", found.seen);
    }

    #[test]
    fn another_server_at_port_25_is_told_and_a_busy_one_is_none() {
        let greeted = |line: &str| judge(&[view(&[(25, Reached::Open), (993, Reached::Open)], line)]);
        assert_eq!(greeted("220 Box.Example.org ESMTP").verdict, Verdict::Good);
        assert_eq!(greeted("421 4.7.0 too many connections; come back later").verdict, Verdict::Good);
        let other = greeted("220 filter.provider.net for box.example.org");
        assert_eq!((other.verdict, other.problems[0].detail.as_str()), (Verdict::Bad, "greeting"));
        assert!(other.seen.contains("“220 filter.provider.net for box.example.org” greets box1.example.net"));
        assert_eq!(greeted("554 box.example.org is closed").verdict, Verdict::Bad);
        assert!(greeted("").seen.contains("nobody greets"));
    }

    #[test]
    fn a_peer_that_lets_no_mail_out_says_nothing_about_port_25() {
        assert_eq!(judge(&[view(&[(25, Reached::NotFromHere), (993, Reached::Open)], "")]).verdict, Verdict::Good);
    }

    #[test]
    fn one_peer_that_is_away_is_fine_while_another_answers() {
        let found = judge(&[Told::Away("connection refused".into()), all_open()]);
        assert_eq!(found.verdict, Verdict::Good);
        assert!(found.seen.contains("box2.example.net reaches 2 ports"), "{}", found.seen);
        assert!(found.seen.contains("box1.example.net could not be asked: connection refused"));
    }

    #[test]
    fn without_any_answer_nothing_is_known_and_each_peer_is_told_with_what_to_do() {
        let found = judge(&[Told::Away("no answer".into()), Told::Refuses("it refuses".into()), Told::Without]);
        assert_eq!(found.verdict, Verdict::Unknown);
        let details: Vec<&str> = found.problems.iter().map(|problem| problem.detail.as_str()).collect();
        assert_eq!(details, ["away", "refuses"]);
        assert_eq!(judge(&[Told::Without]).verdict, Verdict::Skipped);
    }

    #[test]
    fn the_remedy_fits_what_was_found() {
        let text = crate::text::all().unwrap().into_iter().find(|text| text.id == "peer-ports-ipv4").unwrap();
        let known = crate::text::Known { hostname: "box.example.org".into(), ..Default::default() };
        let remedy = |told: &[Told]| text.remedy(&known, &judge(told).problems).unwrap();
        let refused = remedy(&[Told::Refuses("it refuses".into())]);
        assert!(refused.contains("peers: [box.example.org]") && !refused.contains("nft"), "{refused}");
        let away = remedy(&[Told::Away("no answer".into())]);
        assert!(away.contains("https://box1.example.net/setup") && !away.contains("nft"), "{away}");
        let closed = remedy(&[view(&[(993, Reached::Refused)], "")]);
        assert!(closed.contains("nft list ruleset") && closed.contains("'sport = :993'"), "{closed}");
        let other = remedy(&[view(&[(25, Reached::Open)], "220 filter.provider.net")]);
        assert!(other.contains("take its mail filter away") && other.contains("nft list ruleset"), "{other}");
    }

    #[test]
    fn what_a_peer_answers_is_a_view_a_refusal_or_something_else() {
        let ok = StatusCode::OK;
        let text = r#"{"address":"192.0.2.25","ports":{"25":"open"},"greeting":"220 box.example.org ESMTP"}"#;
        assert_eq!(read(ok, text), view(&[(25, Reached::Open)], OURS));
        let refused = read(StatusCode::FORBIDDEN, "192.0.2.26 is a stranger\nmore");
        assert_eq!(refused, Told::Refuses("it refuses: 192.0.2.26 is a stranger".into()));
        assert_eq!(first_line(&"x".repeat(10_000)).len(), MAX_SENTENCE);
        assert!(matches!(read(StatusCode::NOT_FOUND, ""), Told::Away(why) if why.contains("no Mailstead box")));
        for other in ["", "<html>", "{}", r#"{"address":"192.0.2.25","ports":{}}"#] {
            assert_eq!(read(ok, other), Told::Away("it answers something else".into()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_and_any_greeting_judged(text in ".{0,60}") {
            let _ = read(StatusCode::OK, &text);
            let _ = greets_as(&text, "box.example.org");
        }
    }
}
