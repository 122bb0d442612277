//! The rules: each looks at the findings and says what it thinks, in words. Pure.

use crate::authenticate::{Identity, ReverseDns};
use crate::tokens::{attachment_names, html_parts, is_shouting, link_hosts};
use mail_auth::SpfResult;
use mail_auth::dmarc::Policy;
use mail_parser::Message;
use memchr::memmem;
use wire::filter::{Judge, Reason};

/// Attached programs that no mail client should be asked to open; the list of Gmail's blocked types, in part.
const PROGRAMS: [&str; 14] =
    [".exe", ".scr", ".pif", ".com", ".bat", ".cmd", ".js", ".jse", ".vbs", ".vbe", ".wsf", ".msi", ".hta", ".lnk"];

/// The test string that every spam filter knows (Generic Test for Unsolicited Bulk Email).
const GTUBE: &[u8] = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// What the rules ask about.
pub struct Facts<'a> {
    pub ask: &'a Judge,
    pub identity: &'a Identity,
    pub raw: &'a [u8],
    pub message: Option<&'a Message<'a>>,
    /// The classifier's opinion, from 0 (wanted) to 1 (spam).
    pub probability: f32,
}

/// Every rule that has something to say.
pub fn reasons(facts: &Facts) -> Vec<Reason> {
    let mut reasons = facts.ask.notes.clone();
    words(facts, &mut reasons);
    identity(facts, &mut reasons);
    if let Some(message) = facts.message {
        form(message, &mut reasons);
        content(message, &mut reasons);
    }
    if memmem::find(facts.raw, GTUBE).is_some() {
        say(&mut reasons, "gtube", 10.0, "holds the test string that marks spam");
    }
    reasons
}

fn say(reasons: &mut Vec<Reason>, rule: &str, score: f32, words: &str) {
    reasons.push(Reason { rule: rule.to_owned(), score, words: words.to_owned() });
}

/// The classifier speaks from -1.5 to 6: sure spam is junk by itself, a doubt is not.
fn words(facts: &Facts, reasons: &mut Vec<Reason>) {
    let percent = (facts.probability * 100.0).round();
    let score = match facts.probability {
        p if p >= 0.98 => 6.0,
        p if p >= 0.9 => 4.0,
        p if p >= 0.75 => 2.0,
        p if p <= 0.1 => -1.5,
        p if p <= 0.3 => -0.5,
        _ => 0.0,
    };
    say(reasons, "words", score, &format!("its words are those of spam with {percent} %"));
}

fn identity(facts: &Facts, reasons: &mut Vec<Reason>) {
    let identity = facts.identity;
    match identity.spf {
        SpfResult::Fail => say(reasons, "spf-fail", 2.0, "the sender's domain says this server may not send for it"),
        SpfResult::SoftFail => say(reasons, "spf-softfail", 1.0, "the sender's domain doubts this server"),
        _ => {}
    }
    if let Some(sealer) = identity.vouched.as_ref().filter(|_| !identity.aligned) {
        say(reasons, "vouched-for", -0.5, &format!("{sealer} passed it on and vouches that it was its author's"));
    } else if identity.aligned {
        say(reasons, "authenticated", -0.5, "it is really from the domain that it names");
    } else if !identity.unsure {
        match identity.policy {
            Some(Policy::Quarantine) => say(
                reasons,
                "dmarc-quarantine",
                5.0,
                "it is not from the domain it names, which asks to put such mail aside",
            ),
            Some(Policy::Reject) => {
                say(reasons, "dmarc-reject", 8.0, "it is not from the domain it names, which asks to refuse such mail")
            }
            Some(_) => say(reasons, "dmarc-fail", 1.5, "it is not from the domain it names"),
            None => say(reasons, "unauthenticated", 1.0, "nothing shows that it is from the domain it names"),
        }
    }
    // What the MTA has found out itself stands among the reasons already.
    let noted = |rule: &str| facts.ask.notes.iter().any(|note| note.rule == rule);
    if identity.reverse_dns == ReverseDns::Missing && !noted("no-reverse-dns") {
        say(reasons, "no-reverse-dns", 1.5, "the sending server's address has no name that leads back to it");
    }
    if (facts.ask.helo.starts_with('[') || !facts.ask.helo.contains('.')) && !noted("odd-helo") {
        say(reasons, "odd-helo", 0.5, "the sending server does not greet with a name");
    }
}

fn form(message: &Message, reasons: &mut Vec<Reason>) {
    if message.date().is_none() {
        say(reasons, "no-date", 0.5, "it has no date");
    }
    if message.message_id().is_none() {
        say(reasons, "no-message-id", 0.5, "it has no Message-ID");
    }
    if message.subject().is_some_and(is_shouting) {
        say(reasons, "shouting", 0.5, "its subject is in capitals");
    }
}

fn content(message: &Message, reasons: &mut Vec<Reason>) {
    let names = attachment_names(message);
    if let Some(name) = names.iter().find(|name| PROGRAMS.iter().any(|ending| name.ends_with(ending))) {
        say(reasons, "program", 6.0, &format!("a program is attached ({})", name.replace(char::is_control, "?")));
    }
    let to_a_number = |text: std::borrow::Cow<'_, str>| {
        link_hosts(&text).any(|host| host.contains('.') && host.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    if html_parts(message).any(to_a_number) {
        say(reasons, "link-to-a-number", 1.5, "a link leads to a bare IP address");
    }
}
