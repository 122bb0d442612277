//! IDLE (RFC 2177): what others do is told as it happens.

use super::{Done, Session, Stop, retired};
use crate::imap::connection::End;
use crate::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until};

type Feed = tokio::sync::watch::Receiver<u64>;

enum Woken {
    Line(Result<Vec<u8>, End>),
    Changed,
    Heartbeat,
    TooLong,
    Retired,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn idle(&mut self) -> Done {
        self.user()?;
        self.say("+ idling");
        let until = Instant::now() + limits::IDLE;
        loop {
            self.sync(true).await.map_err(Stop::End)?;
            self.conn.flush().await.map_err(Stop::End)?;
            self.conn.rest();
            match self.next_event(until).await {
                Woken::Line(line) => {
                    let line = line.map_err(Stop::End)?;
                    if line.eq_ignore_ascii_case(b"DONE") {
                        return Ok("done".into());
                    }
                    return Err(Stop::Bad("IDLE is ended by DONE".into()));
                }
                Woken::Changed => self.tell_watched().await.map_err(Stop::End)?,
                Woken::Heartbeat => {
                    self.look_for_others().await?;
                    self.say("* OK still here");
                }
                Woken::TooLong => return Err(Stop::End(End::Bye("idle for too long"))),
                Woken::Retired => return Err(Stop::End(End::Bye("this account was removed"))),
            }
        }
    }

    async fn next_event(&mut self, until: Instant) -> Woken {
        let Some(user) = &self.user else { return Woken::TooLong };
        // The receivers are the session's own, so what happened before this wait counts as well.
        let changed = either(Some(user.feed.clone()), self.feed_of_shared.clone());
        let woken = tokio::select! {
            line = self.conn.line(limits::COMMAND_LINE) => Woken::Line(line),
            () = changed => Woken::Changed,
            () = sleep(limits::IDLE_HEARTBEAT) => Woken::Heartbeat,
            () = sleep_until(until) => Woken::TooLong,
            () = retired(user) => Woken::Retired,
        };
        if matches!(woken, Woken::Changed) {
            self.seen_feeds();
        }
        woken
    }
}

/// Returns when one of the feeds tells of a change.
pub(super) async fn either(own: Option<Feed>, shared: Option<Feed>) {
    let changed = |feed: Option<Feed>| async {
        let Some(mut feed) = feed else { return std::future::pending().await };
        if feed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = changed(own) => {}
        () = changed(shared) => {}
    }
}
