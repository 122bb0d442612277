//! `mailstead queue`: what waits for delivery, and what its owner does with it.

use crate::output::say;
use crate::{commands, output};
use base::{Address, Paths};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use wire::Client;
use wire::mta::{ChangeQueue, HowFull, QueueChange, QueueShow, Queued, Waiting, Which};

/// Look at the mail that waits for delivery, try it now, hold it back, or take it out.
///
/// Without a command it lists what waits. Mail is retried by itself: after 5 minutes, then at rising intervals up to 4
/// hours. Its sender is told after 4 hours that it takes long, and after 5 days that it was given up.
#[derive(Args)]
pub struct Queue {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List what waits, with what the last try met (the default).
    List,
    /// Tell how many messages wait, how large they are, and how old the oldest is.
    Size,
    /// Show one message: its recipients and how far each is.
    Show { id: String },
    /// Try messages now, whatever waits there are.
    Retry(Selection),
    /// Keep messages back until they are released.
    Hold(Selection),
    /// Let messages go that are kept back.
    Release(Selection),
    /// Take messages out of the queue for good. Their senders are not told.
    Remove(Selection),
    /// Write one message, as it would be sent, to a file or to standard output.
    Export {
        id: String,
        /// Where to write it; it must not be there yet.
        file: Option<PathBuf>,
    },
}

/// Which messages: by their names, or by where they go or come from.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// Names as `mailstead queue` shows them.
    ids: Vec<String>,
    /// All that wait for this address or domain.
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    to: Option<String>,
    /// All from this sender or its domain; "<>" for delivery reports.
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    from: Option<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

impl Selection {
    fn which(self) -> Which {
        match self {
            Self { to: Some(to), .. } => Which::To(to),
            Self { from: Some(from), .. } => Which::From(from),
            Self { all: true, .. } => Which::All,
            Self { ids, .. } => Which::Ids(ids),
        }
    }
}

impl Queue {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        match self.command.unwrap_or(Command::List) {
            Command::List => list(&client.ask(&wire::mta::Queue {}).await?, self.json),
            Command::Size => size(&client, self.json).await,
            Command::Show { id } => show(&client.ask(&QueueShow { id }).await?, self.json),
            Command::Retry(which) => change(&client, which, QueueChange::Retry, self.json).await,
            Command::Hold(which) => change(&client, which, QueueChange::Hold, self.json).await,
            Command::Release(which) => change(&client, which, QueueChange::Release, self.json).await,
            Command::Remove(which) => change(&client, which, QueueChange::Remove, self.json).await,
            Command::Export { id, file } => export(&client, id, file).await,
        }
    }
}

fn list(waiting: &[Waiting], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&waiting)?;
        return Ok(ExitCode::SUCCESS);
    }
    if waiting.is_empty() {
        say!("The queue is empty.");
    }
    let rows = waiting.iter().map(|entry| {
        let state = match (entry.held, entry.tries) {
            (true, _) => "held back".to_owned(),
            (false, 0) => "not tried yet".to_owned(),
            (false, 1) => "1 try".to_owned(),
            (false, tries) => format!("{tries} tries"),
        };
        vec![
            entry.id.clone(),
            base::time::readable(entry.queued),
            shown(entry.sender.as_ref()),
            entry.recipient.to_string(),
            state,
            entry.last.clone().unwrap_or_default(),
        ]
    });
    output::table(&rows.collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn size(client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let size = client.ask(&HowFull {}).await?;
    if json {
        output::json(&size)?;
    } else {
        say!(
            "{} messages, {} kB; {} were tried before, {} are held back.",
            size.messages,
            size.bytes / 1_000,
            size.put_off,
            size.held
        );
        if let Some(oldest) = size.oldest {
            say!("The oldest came at {}.", base::time::readable(oldest));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(it: &Queued, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(it)?;
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{} from {}, {} octets, since {}",
        it.id,
        shown(it.sender.as_ref()),
        it.bytes,
        base::time::readable(it.queued)
    );
    if let Some(account) = &it.account {
        say!("  sent by {account}");
    }
    if it.held {
        say!("  held back; let it go with: mailstead queue release {}", it.id);
    }
    if it.require_tls {
        say!("  only over verified TLS (REQUIRETLS)");
    }
    for to in &it.recipients {
        say!("  to {}: {}, {} tries", to.address, to.state, to.tries);
        if let Some(last) = &to.last {
            say!("    {last}");
        }
        if to.state == "waiting" {
            say!("    next try at {}", base::time::readable(to.next_try));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(client: &Client, which: Selection, change: QueueChange, json: bool) -> anyhow::Result<ExitCode> {
    let changed = client.ask(&ChangeQueue { which: which.which(), change }).await?;
    if json {
        output::json(&changed)?;
    } else {
        let what = match change {
            QueueChange::Retry => "tried now",
            QueueChange::Hold => "held back",
            QueueChange::Release => "let go",
            QueueChange::Remove => "taken out",
        };
        changed.iter().for_each(|id| say!("{id} is {what}."));
    }
    if changed.is_empty() {
        anyhow::bail!("nothing in the queue fits; see: mailstead queue");
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(client: &Client, id: String, file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let (_, message) = client.ask_with_body(&QueueShow { id }, &[]).await?;
    match file {
        Some(file) => {
            let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            let written = made.and_then(|mut to| to.write_all(&message));
            written.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
            say!("{} octets are in {}.", message.len(), file.display());
        }
        None => std::io::stdout().lock().write_all(&message)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(sender: Option<&Address>) -> String {
    sender.map_or("<>".to_owned(), ToString::to_string)
}
