//! `mailstead trace`: what became of a message, step by step, in words.

use crate::output::say;
use crate::{commands, output};
use base::Paths;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use wire::Client;
use wire::mta::{Arrival, Step, Trace as Ask, Traced, Way, What};

/// Tell what became of messages: when and from where they came, how they were judged and why, where they were put, and
/// what other servers said.
///
/// WORDS are anything that you remember: a recipient, a sender, words of the subject, a Message-ID, a name from the
/// queue, an address of a server, a day (2026-11-20) or a time (2026-11-20 17:0). All of them must fit, in any case.
/// The history reaches back 90 days.
///
/// Examples: mailstead trace bob@example.net invoice; mailstead trace --since 2d newsletter; mailstead trace gmail.com
#[derive(Args)]
pub struct Trace {
    words: Vec<String>,
    /// Only messages of this time: a number with m, h or d for minutes, hours or days.
    #[arg(long, value_parser = commands::undelete::seconds)]
    since: Option<u64>,
    /// How many messages to show, the latest first.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Trace {
    /// Exit code 1 when nothing fits.
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        // "17:05 bob" and "17:05" "bob" mean the same.
        let words = self.words.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned).collect();
        let since = self.since.map(|ago| base::time::now_unix().saturating_sub(ago));
        let found = Client::new(paths).ask(&Ask { words, since, until: None, limit: self.limit }).await?;
        if self.json {
            output::json(&found.iter().map(Told::of).collect::<Vec<_>>())?;
        } else {
            // The latest last, where a terminal leaves the eye.
            found.iter().rev().for_each(tell);
            if found.is_empty() {
                say!("No message of the last 90 days fits.");
            }
        }
        Ok(if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// A message as JSON tells it: each refusal with its meaning.
#[derive(Serialize)]
struct Told<'a> {
    arrival: &'a Arrival,
    steps: Vec<ToldStep<'a>>,
}

#[derive(Serialize)]
struct ToldStep<'a> {
    #[serde(flatten)]
    step: &'a Step,
    means: Option<&'static str>,
    remedy: Option<&'static str>,
    source: Option<&'static str>,
}

impl<'a> Told<'a> {
    fn of(it: &'a Traced) -> Self {
        let told = |step: &'a Step| {
            let known = meaning(step);
            let (means, remedy) = (known.map(|it| it.means.as_str()), known.map(|it| it.remedy.as_str()));
            ToldStep { step, means, remedy, source: known.map(|it| it.source.as_str()) }
        };
        Self { arrival: &it.arrival, steps: it.steps.iter().map(told).collect() }
    }
}

fn tell(Traced { arrival, steps }: &Traced) {
    say!("{}", headline(arrival));
    say!("  {}", origin(arrival));
    if let Some(judged) = &arrival.judged {
        say!("  judged: {}, with {:.1} of 10 points", judged.action, f64::from(judged.tenths) / 10.0);
        judged.reasons.iter().for_each(|reason| say!("    {reason}"));
        if let Some(authentication) = &judged.authentication {
            say!("    {authentication}");
        }
    }
    for step in steps {
        say!("  {}", line(step));
        if let Some(meaning) = meaning(step) {
            say!("      {}", meaning.means);
            say!("      {} ({})", meaning.remedy, meaning.source);
        }
    }
    say!("");
}

fn headline(it: &Arrival) -> String {
    let sender = it.sender.as_ref().map_or("<>".to_owned(), ToString::to_string);
    let recipients: Vec<String> = it.recipients.iter().map(ToString::to_string).collect();
    let subject = it.subject.as_ref().map(|subject| format!("  “{subject}”")).unwrap_or_default();
    format!(
        "{}  {sender} -> {}{subject}  ({}, {} octets)",
        base::time::readable(it.at),
        recipients.join(", "),
        it.id,
        it.bytes
    )
}

fn origin(it: &Arrival) -> String {
    let client = it.client.map(|client| format!(" [{client}]")).unwrap_or_default();
    let helo = it.helo.as_deref().unwrap_or("a server");
    let tls = it.tls.as_ref().map_or("without TLS".to_owned(), |tls| format!("over {tls}"));
    let whose = it.account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
    match it.way {
        Way::Inbound => format!("came from {helo}{client} {tls}"),
        Way::Submitted => format!("sent by{} from{client} {tls}", whose.trim_start_matches(" of")),
        Way::Own => "written by this box".to_owned(),
        Way::Forwarded => format!("passed on by an alias or script{whose}"),
        Way::List => format!("passed on by the list{whose}"),
    }
}

/// What another server's refusal means.
fn meaning(step: &Step) -> Option<&'static mta::explain::Meaning> {
    let refused = matches!(step.what, What::PutOff | What::Failed);
    mta::explain::reply(step.server.as_deref(), step.enhanced.as_deref().unwrap_or_default(), &step.words)
        .filter(|_| refused)
}

fn line(step: &Step) -> String {
    let what = match step.what {
        What::Refused => "refused",
        What::Deferred => "put off, its sender keeps it",
        What::Stored => "stored",
        What::Queued => "queued",
        What::Sent => "sent",
        What::PutOff => "put off",
        What::Failed => "failed",
        What::Forwarded => "passed on",
        What::Held => "held back",
        What::Released => "let go",
        What::Removed => "taken out",
        What::Reported => "reported",
        What::Noted => "noted",
    };
    let to = step.recipient.as_ref().map(|to| format!(" for {to}")).unwrap_or_default();
    let codes: Vec<String> = step.code.map(|code| code.to_string()).into_iter().chain(step.enhanced.clone()).collect();
    let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(" ")) };
    let security = step.security.as_ref().map(|security| format!("; {security}")).unwrap_or_default();
    format!("{}  {what}{to}: {}{codes}{security}", base::time::readable(step.at), step.words)
}
