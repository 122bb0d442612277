//! The filter's door: one `match` over its requests.

use crate::authenticate::{Identity, authenticate};
use crate::classifier::Classifier;
use crate::keys::Keys;
use crate::limits::MAX_LEARNED;
use crate::reports::{Asked, Reports, TakeError};
use crate::rules::{Facts, reasons};
use crate::tokens::tokens;
use crate::{FilterError, verdict};
use base::{Address, BoxConfig, Domain, Paths, Role};
use mail_auth::{AuthenticatedMessage, MessageAuthenticator};
use mail_parser::MessageParser;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::doors::Snapshot;
use wire::filter::{Action, Judge, Learn, Lessons, Request, Signed, TakeReport, TakenReport, Verdict};
use wire::{Answer, Client, Kind, Refusal, Serve, directory};

pub struct Filter {
    paths: Paths,
    config: BoxConfig,
    client: Client,
    authenticator: Arc<MessageAuthenticator>,
    classifier: Mutex<Classifier>,
    keys: Keys,
    reports: Arc<Reports>,
}

impl Filter {
    pub fn new(
        paths: Paths,
        config: BoxConfig,
        authenticator: Arc<MessageAuthenticator>,
        classifier: Classifier,
        keys: Keys,
        reports: Arc<Reports>,
    ) -> Self {
        let client = Client::new(paths.clone());
        Self { paths, config, client, authenticator, classifier: Mutex::new(classifier), keys, reports }
    }

    fn classifier(&self) -> MutexGuard<'_, Classifier> {
        self.classifier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn judge(&self, ask: &Judge, raw: &[u8]) -> Result<Verdict, Refusal> {
        // Without the list of our domains a forgery of one of us could not be told, so the sender comes again.
        let (own, (identity, field)) = tokio::join!(self.own(), self.identify(ask, raw));
        let own = own?;
        let verdict = self.decide(ask, &identity, &own, &field, raw);
        if let Some(asked) = &identity.asked {
            self.note(asked, &verdict.action, &own);
        }
        tracing::info!(
            "mail from {} ({}): {:?}, score {:.1}",
            ask.sender.as_ref().map_or("<>".to_owned(), ToString::to_string),
            ask.client,
            verdict.action,
            verdict.score
        );
        Ok(verdict)
    }

    /// What the findings, the message's form and its words amount to. Parsing and counting words is work for the processor, a
    /// millisecond or so for most mail.
    fn decide(&self, ask: &Judge, identity: &Identity, own: &[Domain], field: &str, raw: &[u8]) -> Verdict {
        let probability = self.classifier().probability(&tokens(raw));
        let message = MessageParser::new().parse(raw);
        let is_list = message.as_ref().is_some_and(|message| message.list_id().is_some());
        let facts = Facts { ask, identity, raw, message: message.as_ref(), probability };
        let mut verdict = verdict::decide(ask, identity, own, is_list, reasons(&facts), field);
        verdict.author = author(identity, message.as_ref());
        verdict
    }

    /// The same without asking anybody: as from a server of which nothing is known.
    fn weigh(&self, raw: &[u8]) -> Verdict {
        let ask = Judge {
            client: Ipv4Addr::LOCALHOST.into(),
            helo: self.config.hostname.to_string(),
            sender: None,
            recipients: Vec::new(),
            tls: true,
            notes: Vec::new(),
        };
        self.decide(&ask, &Identity::unknown(None), &[], "", raw)
    }

    /// The domains of this box.
    async fn own(&self) -> Result<Vec<Domain>, Refusal> {
        let own = self.client.ask(&directory::Domains {}).await;
        own.map_err(|error| Refusal::new(Kind::Busy, error.to_string()))
    }

    /// Notes for a report how a message came out; nobody is told of our own domains.
    fn note(&self, asked: &Asked, action: &Action, own: &[Domain]) {
        let ours = |name: &str| own.iter().any(|domain| domain.as_str() == name);
        if !ours(asked.domain()) && !ours(asked.author()) {
            self.reports.note(asked, action, base::time::now_unix());
        }
    }

    async fn take_report(&self, ask: &TakeReport, message: &[u8]) -> Result<TakenReport, Refusal> {
        let own = self.own().await?;
        let taken = self.reports.take(message, &own, ask.authenticated, base::time::now_unix());
        let taken = taken.map_err(|error| match error {
            TakeError::Database(error) => Refusal::internal(error),
            other => Refusal::new(Kind::Invalid, other.to_string()),
        })?;
        tracing::info!(
            "report of {} about {}: {} good, {} bad",
            taken.organisation,
            taken.domain,
            taken.good,
            taken.bad
        );
        Ok(taken)
    }

    async fn identify(&self, ask: &Judge, raw: &[u8]) -> (Identity, String) {
        match AuthenticatedMessage::parse(raw) {
            Some(message) => authenticate(&self.authenticator, &self.config.hostname, ask, &message).await,
            None => {
                let field = format!("Authentication-Results: {}; none\r\n", self.config.hostname);
                (Identity { unsure: false, ..Identity::unknown(None) }, field)
            }
        }
    }

    fn learn(&self, ask: &Learn, raw: &[u8]) -> Result<(), Refusal> {
        if raw.len() > MAX_LEARNED {
            return Ok(());
        }
        let words = tokens(raw);
        self.classifier().learn(&words, ask.spam).map_err(Refusal::internal)?;
        tracing::info!("learned from {} that a message is {}", ask.account, if ask.spam { "junk" } else { "wanted" });
        Ok(())
    }

    fn forget(&self) -> Result<Lessons, Refusal> {
        let lessons = self.classifier().forget().map_err(Refusal::internal)?;
        tracing::info!("what {} messages taught is forgotten", lessons.junk + lessons.wanted);
        Ok(lessons)
    }

    fn ensure(&self, domains: &[Domain]) -> Result<Vec<Domain>, FilterError> {
        let mut fresh = Vec::new();
        for domain in domains {
            if self.keys.ensure(domain)? {
                fresh.push(domain.clone());
            }
        }
        Ok(fresh)
    }

    fn sign(&self, domain: &Domain, raw: &[u8]) -> Result<Signed, FilterError> {
        self.keys.ensure(domain)?;
        Ok(Signed { headers: self.keys.sign(domain, raw)? })
    }

    fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let file = self.paths.filter().join("spam.db.snapshot");
        base::durable::remove(&file).map_err(Refusal::internal)?;
        self.classifier().copy_to(&file).map_err(Refusal::internal)?;
        let reports = self.paths.filter().join("reports.db.snapshot");
        base::durable::remove(&reports).map_err(Refusal::internal)?;
        self.reports.copy_to(&reports).map_err(Refusal::internal)?;
        Ok(Snapshot { file })
    }
}

/// The author, when there is just one and its domain has been shown to have sent the message.
fn author(identity: &Identity, message: Option<&mail_parser::Message<'_>>) -> Option<Address> {
    let mut named = message?.from()?.mailboxes();
    let (first, more) = (named.next()?, named.next());
    let author = Address::parse(first.address()?).ok()?;
    (identity.aligned && more.is_none() && identity.from.as_ref() == Some(author.domain())).then_some(author)
}

impl Serve for Filter {
    type Request = Request;

    async fn answer(&self, _peer: Role, request: Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Judge(ask) => ask.answer(self.judge(&ask, &body).await?),
            Request::Sign(ask) => ask.answer(self.sign(&ask.domain, &body).map_err(Refusal::internal)?),
            Request::Seal(ask) => {
                let (authenticator, hostname) = (&self.authenticator, &self.config.hostname);
                let headers = crate::seal::seal(authenticator, &self.keys, hostname, &ask, &body).await;
                ask.answer(Signed { headers: headers.map_err(Refusal::internal)? })
            }
            Request::Learn(ask) => ask.answer(self.learn(&ask, &body)?),
            Request::Weigh(ask) => ask.answer(self.weigh(&body)),
            Request::LearnedFrom(ask) => ask.answer(self.classifier().lessons().map_err(Refusal::internal)?),
            Request::ForgetLearned(ask) => ask.answer(self.forget()?),
            Request::EnsureKeys(ask) => ask.answer(self.ensure(&ask.domains).map_err(Refusal::internal)?),
            Request::MakeDkimKeys(ask) => {
                ask.answer(self.keys.make_next(&ask.domain, ask.generation).map_err(Refusal::internal)?)
            }
            Request::UseDkimKeys(ask) => {
                ask.answer(self.keys.sign_by(&ask.domain, ask.generation).map_err(Refusal::internal)?)
            }
            Request::DropDkimKeys(ask) => {
                let removed = self.keys.remove(&ask.domain, ask.generation).map_err(Refusal::internal)?;
                let words = || format!("the DKIM keys {} of {} sign now", ask.generation, ask.domain);
                if !removed {
                    return Err(Refusal::new(Kind::Conflict, words()));
                }
                ask.answer(())
            }
            Request::DkimKeys(ask) => {
                let keys: Result<Vec<_>, _> = ask.domains.iter().map(|domain| self.keys.public(domain)).collect();
                ask.answer(keys.map_err(Refusal::internal)?.concat())
            }
            Request::TakeReport(ask) => ask.answer(self.take_report(&ask, &body).await?),
            Request::DmarcEvidence(ask) => {
                let evidence = self.reports.evidence(&ask.domain, &ask.own, ask.since);
                ask.answer(evidence.map_err(Refusal::internal)?)
            }
            Request::Reports(ask) => ask.answer(self.reports.list().map_err(Refusal::internal)?),
            Request::ReportShow(ask) => {
                let found = self.reports.show(ask.id).map_err(Refusal::internal)?;
                let words = || format!("there is no report {}; see: mailstead reports list", ask.id);
                ask.answer(found.ok_or_else(|| Refusal::new(Kind::NotFound, words()))?)
            }
            Request::TakeSnapshot(ask) => ask.answer(self.snapshot()?),
        }
    }
}
