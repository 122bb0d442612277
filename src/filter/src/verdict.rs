//! From reasons to a decision, and the header fields that tell the reader of it. Pure.

use crate::authenticate::Identity;
use base::Domain;
use mail_auth::SpfResult;
use mail_auth::dmarc::Policy;
use std::fmt::Write;
use wire::filter::{Action, Judge, Reason, Verdict};

/// From this score on a message goes to Junk.
const JUNK: f32 = 5.0;

/// Decides. `own` are the domains of this box.
pub fn decide(
    ask: &Judge,
    identity: &Identity,
    own: &[Domain],
    is_list: bool,
    reasons: Vec<Reason>,
    auth: &str,
) -> Verdict {
    let sum: f32 = reasons.iter().map(|reason| reason.score).sum();
    let score = sum.clamp(0.0, 10.0);
    let action =
        forged(ask, identity, own, is_list).unwrap_or(if score >= JUNK { Action::Junk } else { Action::Accept });
    let strict = matches!(identity.policy, Some(Policy::Reject | Policy::Quarantine));
    let headers = auth.to_owned() + &fields(&action, score, &reasons);
    Verdict { action, score, reasons, headers, author: None, strict }
}

/// Mail that pretends to be from somewhere: refused, so that its sender learns of it if there is an honest one.
fn forged(ask: &Judge, identity: &Identity, own: &[Domain], is_list: bool) -> Option<Action> {
    if identity.unsure {
        return None;
    }
    let ours = |domain: &Domain| own.contains(domain);
    if ask.sender.as_ref().is_some_and(|sender| ours(sender.domain())) && identity.spf == SpfResult::Fail {
        return Some(refuse("only this box sends mail for that sender's domain; log in to send"));
    }
    // A list that breaks signatures may pass on what one of ours wrote to it.
    if identity.from.as_ref().is_some_and(ours) && !identity.aligned && !is_list {
        return Some(refuse("From: names a domain of this box, but the message was not sent by it"));
    }
    if identity.policy == Some(Policy::Reject) && !identity.aligned && identity.vouched.is_none() {
        return Some(refuse("DMARC: the domain in From: asks to refuse what is not authenticated as its own"));
    }
    None
}

/// RFC 7372 §3.3 gives 5.7.1 to failed authentication in general.
fn refuse(text: &str) -> Action {
    Action::Refuse { code: 550, enhanced: "5.7.1".to_owned(), text: text.to_owned() }
}

fn fields(action: &Action, score: f32, reasons: &[Reason]) -> String {
    let word = if *action == Action::Junk { "junk" } else { "accept" };
    let mut text = format!("X-Mailstead-Verdict: {word}; score={score:.1}\r\n");
    for (position, reason) in reasons.iter().filter(|reason| reason.score.abs() >= 0.1).enumerate() {
        text.push_str(if position == 0 { "X-Mailstead-Reasons: " } else { ",\r\n\t" });
        // Writing to a string does not fail.
        let _ = write!(text, "{} {:+.1} ({})", reason.rule, reason.score, reason.words);
    }
    if text.contains("X-Mailstead-Reasons") {
        text.push_str("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Address;

    fn ask(sender: &str) -> Judge {
        Judge {
            client: "192.0.2.9".parse().unwrap(),
            helo: "mail.peer.org".into(),
            sender: Some(Address::parse(sender).unwrap()),
            recipients: vec![],
            tls: true,
            notes: Vec::new(),
        }
    }

    fn identity(from: &str) -> Identity {
        Identity { unsure: false, spf: SpfResult::Fail, ..Identity::unknown(Domain::parse(from).ok()) }
    }

    fn own() -> Vec<Domain> {
        vec![Domain::parse("example.org").unwrap()]
    }

    fn reason(score: f32) -> Vec<Reason> {
        vec![Reason { rule: "words".into(), score, words: "because".into() }]
    }

    #[test]
    fn a_stranger_who_claims_to_be_one_of_us_is_refused() {
        let by_envelope = decide(&ask("ann@example.org"), &identity("peer.org"), &own(), false, vec![], "");
        let by_from = decide(&ask("x@peer.org"), &identity("example.org"), &own(), false, vec![], "");
        for verdict in [by_envelope, by_from] {
            assert!(matches!(verdict.action, Action::Refuse { code: 550, .. }));
        }
    }

    #[test]
    fn a_list_may_pass_on_what_one_of_us_wrote() {
        let verdict = decide(&ask("list@peer.org"), &identity("example.org"), &own(), true, vec![], "");
        assert_eq!(verdict.action, Action::Accept);
    }

    #[test]
    fn a_domain_that_asks_for_refusal_gets_it_unless_dns_is_unsure() {
        let mut forged = Identity { policy: Some(Policy::Reject), ..identity("bank.example") };
        assert!(matches!(decide(&ask("x@peer.org"), &forged, &own(), false, vec![], "").action, Action::Refuse { .. }));
        forged.unsure = true;
        assert_eq!(decide(&ask("x@peer.org"), &forged, &own(), false, vec![], "").action, Action::Accept);
    }

    #[test]
    fn what_a_known_forwarder_vouches_for_is_not_refused() {
        let vouched = Some("google.com".to_owned());
        let passed_on = Identity { policy: Some(Policy::Reject), vouched, ..identity("bank.example") };
        assert_eq!(decide(&ask("x@peer.org"), &passed_on, &own(), false, vec![], "").action, Action::Accept);
    }

    #[test]
    fn the_score_decides_between_inbox_and_junk_and_is_told_in_the_header() {
        let verdict = decide(&ask("x@peer.org"), &identity("peer.org"), &own(), false, reason(5.0), "A: b\r\n");
        assert_eq!(verdict.action, Action::Junk);
        assert_eq!(
            verdict.headers,
            "A: b\r\nX-Mailstead-Verdict: junk; score=5.0\r\nX-Mailstead-Reasons: words +5.0 (because)\r\n"
        );
        assert_eq!(
            decide(&ask("x@peer.org"), &identity("peer.org"), &own(), false, reason(4.9), "").action,
            Action::Accept
        );
    }
}
