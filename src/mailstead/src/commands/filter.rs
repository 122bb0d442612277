//! `mailstead filter`: what the filter has learned, how it would judge a message, and how it forgets.

use crate::commands;
use crate::output::{self, say};
use anyhow::Context;
use base::Paths;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::Client;
use wire::filter::{Action, ForgetLearned, LearnedFrom, Lessons, Reason, Weigh};
use wire::frame::MAX_BODY;

/// See what the filter has learned from Junk folders, try it on a message, or have it forget.
///
/// The filter comes with knowledge of its own, and learns from each message that somebody moves into Junk or out of it.
#[derive(Args)]
pub struct Filter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say from how many messages it has learned.
    Show {
        /// Print JSON: {"junk", "wanted"}.
        #[arg(long)]
        json: bool,
    },
    /// Judge a message in a file by its form and words alone. Who sent it is not looked up, and nothing is learned.
    Weigh {
        /// The message, with its header (- for standard input).
        file: PathBuf,
        /// Print JSON: {"junk", "score", "reasons"}.
        #[arg(long)]
        json: bool,
    },
    /// Forget all that was learned: it judges as on the first day. No mail is moved.
    Forget {
        /// Print JSON: {"junk", "wanted"}, what it had learned from.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Weighed {
    junk: bool,
    score: f32,
    reasons: Vec<Reason>,
}

impl Filter {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        match self.command {
            Command::Show { json } => tell(client.ask(&LearnedFrom {}).await?, "It has learned from", json)?,
            Command::Weigh { file, json } => weigh(&client, &file, json).await?,
            Command::Forget { json } => {
                tell(client.ask(&ForgetLearned {}).await?, "Forgotten is what it learned from", json)?
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(lessons: Lessons, words: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&lessons);
    }
    say!(
        "{words} {} messages that were moved into Junk, and {} that were moved out of it.",
        lessons.junk,
        lessons.wanted
    );
    Ok(())
}

async fn weigh(client: &Client, file: &Path, json: bool) -> anyhow::Result<()> {
    let message = read(file)?;
    let (verdict, _) = client.ask_with_body(&Weigh {}, &message).await?;
    let junk = verdict.action != Action::Accept;
    if json {
        return output::json(&Weighed { junk, score: verdict.score, reasons: verdict.reasons });
    }
    say!("{}, at {:.1} of 10 (junk from 5)", if junk { "Junk" } else { "Wanted" }, verdict.score);
    let row = |reason: &Reason| vec![format!("{:+.1}", reason.score), reason.rule.clone(), reason.words.clone()];
    output::table(&verdict.reasons.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// A message that is not larger than what one role hands another.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let name = || file.display().to_string();
    let source: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file).with_context(name)?),
    };
    let mut message = Vec::new();
    source.take(u64::from(MAX_BODY) + 1).read_to_end(&mut message).with_context(name)?;
    anyhow::ensure!(
        message.len() as u64 <= u64::from(MAX_BODY),
        "{} is larger than any message that the box takes",
        name()
    );
    anyhow::ensure!(!message.is_empty(), "{} is empty", name());
    Ok(message)
}
