//! Our aggregate reports: one for each domain that asks and each day, by mail, through the MTA (RFC 7489 §7.2.1).

use super::database::Sent;
use super::notes::Asking;
use super::{DAY, Reports};
use crate::limits;
use base::{Address, Domain, Paths, Role};
use mail_auth::MessageAuthenticator;
use reports::Envelope;
use reports::dmarc::{Aggregate, DateRange, Metadata, Record};
use std::sync::Arc;
use wire::{Client, mta};

/// What sends them.
pub struct Sender {
    pub paths: Paths,
    pub reports: Arc<Reports>,
    pub client: Client,
    pub authenticator: Arc<MessageAuthenticator>,
    pub hostname: Domain,
    /// The owner's domain, whose postmaster signs.
    pub home: Domain,
}

impl Sender {
    /// Writes notes down and sends what is due, until the process ends.
    pub async fn run(self) {
        let mut looked = None::<std::time::Instant>;
        loop {
            tokio::time::sleep(limits::NOTES_WRITTEN_EVERY).await;
            if let Err(error) = self.reports.flush() {
                tracing::warn!("notes for reports are lost: {error}");
            }
            if looked.is_none_or(|at| at.elapsed() >= limits::REPORTS_SENT_EVERY) {
                looked = Some(std::time::Instant::now());
                if let Err(error) = self.send_due(base::time::now_unix()).await {
                    tracing::warn!("reports are not sent just now: {error}");
                }
            }
        }
    }

    /// Sends what is due; what cannot be sent now is tried again at the next look, for some days.
    pub async fn send_due(&self, now: u64) -> rusqlite::Result<()> {
        self.reports.flush()?;
        // Without an MTA nothing is begun, so that nothing is in doubt.
        if tokio::net::UnixStream::connect(self.paths.socket(Role::Mta, Role::Mta.name())).await.is_err() {
            return Ok(());
        }
        let today = now.saturating_sub(limits::REPORTS_SENT_AFTER) / DAY;
        self.reports.database().forget_before(today.saturating_sub(limits::REPORTS_SENT_DAYS))?;
        let due = self.reports.database().due(today)?;
        for (day, domain) in due {
            let noted = self.reports.database().noted(day, &domain)?;
            let Some((asking, records)) = noted else { continue };
            if self.report(day, &domain, &asking, records, now).await? {
                self.reports.database().forget(day, &domain)?;
            }
        }
        Ok(())
    }

    /// Sends one domain's report to each address; tells whether nothing is left to do.
    async fn report(
        &self,
        day: u64,
        domain: &str,
        asking: &Asking,
        records: Vec<Record>,
        now: u64,
    ) -> rusqlite::Result<bool> {
        let wanted: Vec<&str> = asking.to.iter().map(|(address, _)| address.as_str()).collect();
        // RFC 7489 §7.1: who gets reports about another domain has to agree.
        let allowed = self.authenticator.authorized_report_addresses((domain, wanted.as_slice())).await;
        let Ok(allowed) = allowed else { return Ok(false) };
        let report = self.compose(day, domain, asking, records);
        let mut finished = true;
        for (address, limit) in asking.to.iter().filter(|(to, _)| allowed.iter().any(|it| **it == to.as_str())) {
            let Ok(to) = Address::parse(address) else { continue };
            finished &= self.send_once(day, &report, (&to, *limit), now).await?;
        }
        Ok(finished)
    }

    fn compose(&self, day: u64, domain: &str, asking: &Asking, records: Vec<Record>) -> Aggregate {
        Aggregate {
            version: Some("1.0".to_owned()),
            report_metadata: Metadata {
                org_name: self.hostname.to_string(),
                email: format!("postmaster@{}", self.home),
                extra_contact_info: None,
                // The same name however often it is sent, so that a second copy is known as such.
                report_id: format!("{day}.{domain}"),
                date_range: DateRange { begin: day * DAY, end: day * DAY + DAY - 1 },
            },
            policy_published: asking.published.clone(),
            records,
        }
    }

    async fn send_once(
        &self,
        day: u64,
        report: &Aggregate,
        (to, limit): (&Address, usize),
        now: u64,
    ) -> rusqlite::Result<bool> {
        let (domain, address) = (report.policy_published.domain.as_str(), to.to_string());
        let state = self.reports.database().sent(day, domain, &address)?;
        let next = match state {
            None => Sent::Begun,
            Some(Sent::Begun) => Sent::BegunAgain,
            Some(Sent::BegunAgain | Sent::Done) => return Ok(true),
        };
        let from = match Address::new("postmaster", self.home.clone()) {
            Ok(from) => from,
            Err(_) => return Ok(true),
        };
        let (sender, receiver) = (from.to_string(), to.to_string());
        let envelope = Envelope { from: &sender, to: &receiver, hostname: self.hostname.as_str(), now };
        let mail = match report.to_mail(envelope) {
            Ok(mail) => mail,
            Err(error) => {
                tracing::warn!("the report about {domain} cannot be written: {error}");
                return Ok(true);
            }
        };
        let limit = if limit == 0 { limits::REPORT_SIZE } else { limit.min(limits::REPORT_SIZE) };
        if mail.len() > limit {
            tracing::info!("the report about {domain} is larger than {to} takes ({limit} octets); it is not sent");
            return Ok(true);
        }
        self.reports.database().mark(day, domain, &address, Some(next))?;
        match self.client.ask_with_body(&mta::Send { from, to: to.clone() }, &mail).await {
            Ok(_) => {
                tracing::info!("the report about {domain} is on its way to {to}");
                self.reports.database().mark(day, domain, &address, Some(Sent::Done))?;
                Ok(true)
            }
            // The MTA says that it did not take it.
            Err(wire::WireError::Refused(refusal)) => {
                tracing::info!("the report about {domain} to {to} waits: {refusal}");
                self.reports.database().mark(day, domain, &address, state)?;
                Ok(false)
            }
            Err(error) => {
                tracing::info!("whether the report about {domain} went to {to} is not known: {error}");
                Ok(false)
            }
        }
    }
}
