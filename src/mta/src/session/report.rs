//! Reports of other servers about our mail (RFC 7489 §7.2, RFC 8460): the filter keeps them, and no mailbox gets them.
//!
//! What holds no report is mail like any other, and so is all of it while the filter cannot take it: nothing is lost.

use super::Session;
use super::envelope::Envelope;
use crate::message::Message;
use wire::filter::{REPORTS_NAME, ReportKind, TakenReport, Verdict};
use wire::mta::{Step, What};

impl Session {
    /// Gives a message that is for the reports' address alone to the filter; tells whether that kept it.
    pub(super) async fn is_kept_report(
        &self,
        id: &str,
        envelope: &Envelope,
        verdict: &Verdict,
        message: &Message,
    ) -> bool {
        let [only] = envelope.recipients.as_slice() else { return false };
        // Who wants to be told of the delivery gets one.
        if only.address.account().local() != REPORTS_NAME || only.notify.success {
            return false;
        }
        let authenticated = verdict.reasons.iter().any(|reason| reason.rule == "authenticated");
        match self.house.neighbours.take_report(authenticated, message).await {
            Ok(taken) => {
                let words = words(&taken);
                tracing::info!("{id}: {words}");
                self.house.history.step(id, Some(&only.address), Step::new(What::Noted, words));
                true
            }
            Err(error) => {
                tracing::info!("{id}: not kept as a report, so the owner gets it: {error}");
                let words = format!("not kept as a report, so the owner gets it: {error}");
                self.house.history.step(id, Some(&only.address), Step::new(What::Noted, words));
                false
            }
        }
    }
}

fn words(taken: &TakenReport) -> String {
    let TakenReport { id, organisation, domain, good, bad, .. } = taken;
    let what = match taken.kind {
        ReportKind::Dmarc => format!("DMARC report: {good} messages authenticated, {bad} not"),
        ReportKind::Tls => format!("TLS report: {good} sessions good, {bad} failed"),
    };
    format!("{what}, of {organisation} about {domain}; kept, see: mailstead reports show {id}")
}
