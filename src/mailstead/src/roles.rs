//! Starting a role's room.

use base::{Paths, Role};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a role until it ends or the process is told to stop. What was acknowledged is on the disk, so stopping at any
/// point is safe.
pub async fn run(role: Role, paths: Paths) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        ended = room(role, paths) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn room(role: Role, paths: Paths) -> anyhow::Result<()> {
    match role {
        Role::Directory => Ok(directory::run(paths).await?),
        Role::Mailbox => Ok(mailbox::run(paths).await?),
        Role::Mta => Ok(mta::run(paths).await?),
        Role::Filter => Ok(filter::run(paths).await?),
        Role::Dns => Ok(dns::run(paths).await?),
        Role::Web => Ok(web::run(paths).await?),
        Role::Certs => {
            let words = certs::run(paths).await?;
            tracing::info!("{words}");
            Ok(())
        }
        Role::Checks => Ok(checks::run(paths).await?),
        Role::Backup => {
            let archive = backup::run(paths).await?;
            tracing::info!("wrote {}", archive.display());
            Ok(())
        }
        Role::Owner => anyhow::bail!("the owner is not a role that runs"),
    }
}
