//! The `mailstead` program: reads the command line and hands over. Wiring only; every rule lives in a room.

mod commands;
mod converge;
mod output;
mod release;
mod roles;

use base::Paths;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

/// clap wants the version to live as long as the program.
static VERSION: LazyLock<String> = LazyLock::new(release::version);

/// A complete mail system for one machine: MTA, mailboxes, spam filter, DNS, certificates, checks and backups.
///
/// `mailstead setup` turns a fresh server into a box, and is the upgrade as well. `mailstead status` says what is
/// wrong and how to mend it. `mailstead demo` shows a whole box in a folder, without touching the machine.
///
/// Exit codes: 0 done, 1 something is wrong (the message says what and how to mend it), 2 a mistake on the command
/// line. `status` exits with 0 when all is well, 1 for warnings and 2 for failures.
#[derive(Parser)]
#[command(name = "mailstead", version = VERSION.as_str(), max_term_width = 100)]
struct Arguments {
    /// Work on the box in this folder (a demo) instead of this machine.
    #[arg(long = "box", value_name = "DIR", global = true, env = "MAILSTEAD_BOX")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(commands::setup::Setup),
    Plan(commands::plan::Plan),
    Apply(commands::plan::Apply),
    Status(commands::status::Status),
    User(commands::user::User),
    Alias(commands::alias::Alias),
    List(commands::list::List),
    BackupMx(commands::backup_mx::BackupMx),
    Quota(commands::quota::Quota),
    Relay(commands::relay::Relay),
    Undelete(commands::undelete::Undelete),
    Fsck(commands::fsck::Fsck),
    Filter(commands::filter::Filter),
    Dns(commands::dns::Dns),
    Certificate(commands::certificate::Certificate),
    Queue(commands::queue::Queue),
    Trace(commands::trace::Trace),
    Sending(commands::sending::Sending),
    Reports(commands::reports::Reports),
    Backup(commands::backup::Backup),
    Restore(commands::restore::Restore),
    Demo(commands::demo::Demo),
    Release(commands::release::Release),
    Run(commands::run::Run),
    Facts(commands::status::Facts),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let paths = match &arguments.folder {
        Some(folder) => match std::path::absolute(folder) {
            Ok(folder) => Paths::under(folder),
            Err(error) => return output::fail(&anyhow::anyhow!("{}: {error}", folder.display())),
        },
        None => Paths::live(),
    };
    // Two threads serve a family or a firm, and cost little memory where there is little.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::anyhow!("the runtime cannot be started: {error}")),
    };
    let done = runtime.block_on(dispatch(arguments.command, paths));
    // A question on a terminal or a blocking look-up must not hold up the end.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| output::fail(&error))
}

async fn dispatch(command: Command, paths: Paths) -> anyhow::Result<ExitCode> {
    match command {
        Command::Setup(command) => command.run(paths).await,
        Command::Plan(command) => command.run(paths).await,
        Command::Apply(command) => command.run(paths).await,
        Command::Status(command) => command.run(paths).await,
        Command::User(command) => command.run(paths).await,
        Command::Alias(command) => command.run(paths).await,
        Command::List(command) => command.run(paths).await,
        Command::BackupMx(command) => command.run(paths).await,
        Command::Quota(command) => command.run(paths).await,
        Command::Relay(command) => command.run(paths).await,
        Command::Undelete(command) => command.run(paths).await,
        Command::Fsck(command) => command.run(paths).await,
        Command::Filter(command) => command.run(paths).await,
        Command::Dns(command) => command.run(paths).await,
        Command::Certificate(command) => command.run(paths).await,
        Command::Queue(command) => command.run(paths).await,
        Command::Trace(command) => command.run(paths).await,
        Command::Sending(command) => command.run(paths).await,
        Command::Reports(command) => command.run(paths).await,
        Command::Backup(command) => command.run(paths).await,
        Command::Restore(command) => command.run(paths).await,
        Command::Demo(command) => command.run(paths).await,
        Command::Release(command) => command.run(),
        Command::Run(command) => command.run(paths).await,
        Command::Facts(command) => command.run(paths).await,
    }
}
