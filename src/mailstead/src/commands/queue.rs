//! `mailstead queue`: what waits for delivery.

use crate::output::say;
use crate::{commands, output};
use base::Paths;
use clap::Args;
use std::process::ExitCode;
use wire::Client;

/// List the mail that waits for delivery, with what the last try met.
#[derive(Args)]
pub struct Queue {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Queue {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let waiting = Client::new(paths).ask(&wire::mta::Queue {}).await?;
        if self.json {
            output::json(&waiting)?;
        } else if waiting.is_empty() {
            say!("The queue is empty.");
        } else {
            let rows = waiting.iter().map(|entry| {
                let sender = entry.sender.as_ref().map_or("<>".to_owned(), ToString::to_string);
                let last = entry.last.clone().unwrap_or_else(|| "not tried yet".to_owned());
                vec![
                    entry.id.clone(),
                    base::time::readable(entry.queued),
                    sender,
                    entry.recipient.to_string(),
                    format!("{} tries", entry.tries),
                    last,
                ]
            });
            output::table(&rows.collect::<Vec<_>>());
        }
        Ok(ExitCode::SUCCESS)
    }
}
