//! One run: what is due is done, each part on its own, so that trouble with one leaves the others alone.

use crate::authority::{self, Session};
use crate::issue::{self, Clerk, Outcome, Sought};
use crate::ledger::{Closed, Ledger};
use crate::limits::MAX_NAMES;
use crate::names::{self, Looked};
use crate::order::{Depth, Desk, Planned, Trouble};
use crate::pair::Pair;
use crate::renewal::{self, Window};
use crate::roll::{self, Published, Roll, World};
use crate::status::{self, Last};
use crate::zone::{self, Servers};
use crate::{Certificate, CertsError, local, owner, pair, profiles, served, trust};
use base::acme::{Authority, LETS_ENCRYPT};
use base::{BoxConfig, DnsMode, Paths, time};
use instant_acme::CertificateIdentifier;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::collections::BTreeMap;
use std::path::Path;
use wire::{Client, dns};

/// Why there is something to do now for these names, in words; `None` when all is good for a while.
pub fn due(paths: &Paths, names: &[String], now: u64) -> Result<Option<String>, CertsError> {
    let mut ledger = Ledger::load(paths);
    if owner::waiting(paths)?.again {
        ledger.lift_pauses();
    }
    if let Some(why) = due_by(paths, names, &ledger, now)? {
        return Ok(Some(why));
    }
    let fresh = BoxConfig::load(paths).is_ok_and(|config| profiles::are_current(paths, &config.hostname));
    Ok((!fresh).then(|| "the profiles for Apple's devices are of another certificate".to_owned()))
}

/// Why a certificate is due.
fn due_by(paths: &Paths, names: &[String], ledger: &Ledger, now: u64) -> Result<Option<String>, CertsError> {
    if Roll::load(paths, now)?.imported {
        return Ok(None);
    }
    let Some(certificate) = served(paths)? else { return Ok(Some("there is no certificate yet".to_owned())) };
    if is_own(&certificate) {
        return Ok(Some("the certificate is the box's own, which nobody trusts".to_owned()));
    }
    if is_foreign(paths, &certificate, now)? {
        return Ok(Some(format!("the certificate is from an authority that nobody trusts ({})", certificate.issuer)));
    }
    let window = Window::load(paths, &certificate_id(paths)?);
    if now >= renewal::at(&certificate, window.as_ref()) {
        return Ok(Some(format!("the certificate ends on {}", time::readable(certificate.not_after))));
    }
    let missing = names.iter().find(|name| !certificate.covers(name) && ledger.pausing(name, now).is_none());
    Ok(missing.map(|name| format!("the certificate does not cover {name}")))
}

/// Whether no authority issued it.
pub(crate) fn is_own(certificate: &Certificate) -> bool {
    certificate.self_signed || certificate.issuer.contains(local::DEMO_AUTHORITY)
}

/// Whether it is from an authority that nobody trusts, and that no authority of `box.yaml` is: a private one that the owner
/// named there is known to those who use the box.
fn is_foreign(paths: &Paths, certificate: &Certificate, now: u64) -> Result<bool, CertsError> {
    let chain = Pair::served(paths)?.chain;
    let Some(name) = certificate.names.first().map(|name| name.replacen("*.", "any.", 1)) else { return Ok(true) };
    Ok(!status::is_issued(paths, &chain)?
        && trust::is_of_nobody(&chain, &name, Path::new(base::tls::SYSTEM_ROOTS), now))
}

/// The unique identifier of the served certificate (RFC 9773 §4.1), for what has one.
fn identifier(paths: &Paths) -> Result<Option<CertificateIdentifier<'static>>, CertsError> {
    let Some(chain) = pair::read(&paths.tls().join("chain.pem"))? else { return Ok(None) };
    let Ok(der) = CertificateDer::from_pem_slice(chain.as_bytes()) else { return Ok(None) };
    Ok(CertificateIdentifier::try_from(&der).ok().map(CertificateIdentifier::into_owned))
}

pub(crate) fn certificate_id(paths: &Paths) -> Result<String, CertsError> {
    Ok(identifier(paths)?.map(|identifier| identifier.to_string()).unwrap_or_default())
}

/// One run; says in words what was done.
pub async fn run(paths: Paths) -> Result<String, CertsError> {
    let config = BoxConfig::load(&paths)?;
    let now = time::now_unix();
    local::initial(&paths, &config)?;
    roll::settle(&paths, now)?;
    if config.demo.is_some() && config.acme.directory == LETS_ENCRYPT {
        let domains = Client::new(paths.clone()).ask(&wire::directory::Domains {}).await?;
        profiles::refresh(&paths, &config.hostname, &domains)?;
        return Ok("a demo keeps the certificate of its own authority".to_owned());
    }
    let wish = owner::take_wish(&paths)?;
    let looked = names::look(&paths, &config).await?;
    let mut run = Run { paths: &paths, config: &config, looked: &looked, ledger: Ledger::load(&paths), now };
    let mut said = Vec::new();
    if wish.renew || wish.again {
        run.ledger.lift_pauses();
    }
    let renewed = run.renew(wish.renew).await;
    // Whatever the authority says, the key's life goes on.
    let rolled = roll::advance(&paths, &mut run, wish.roll, now).await;
    let known: Vec<String> = names::wanted(&config, &looked.domains);
    let known: Vec<String> = looked.names.iter().map(|name| name.name.clone()).chain(known).collect();
    run.ledger.prune(&known, now);
    run.ledger.save(&paths)?;
    profiles::refresh(&paths, &config.hostname, &looked.domains)?;
    let mut trouble = None;
    for done in [renewed.map(Some), rolled] {
        match done {
            Ok(words) => said.extend(words),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    let words = trouble.as_ref().map_or_else(|| said.join("; "), ToString::to_string);
    status::save(&paths, &Last { at: now, words, failed: trouble.is_some(), elsewhere: looked.elsewhere })?;
    match trouble {
        Some(error) => Err(error),
        None => Ok(said.join("; ")),
    }
}

/// What one run works with.
struct Run<'a> {
    paths: &'a Paths,
    config: &'a BoxConfig,
    looked: &'a Looked,
    ledger: Ledger,
    now: u64,
}

impl Run<'_> {
    async fn renew(&mut self, wished: bool) -> Result<String, CertsError> {
        if Roll::load(self.paths, self.now)?.imported {
            return Ok("the certificate is the owner's own, which no renewal overwrites".to_owned());
        }
        if !self.looked.names.iter().any(|name| name.name == self.config.hostname.as_str()) {
            return Ok(format!(
                "{} does not lead to this box in public DNS yet, so no certificate is asked for",
                self.config.hostname
            ));
        }
        self.ask_for_window().await;
        let names: Vec<String> = self.looked.names.iter().map(|name| name.name.clone()).collect();
        let why = match self.due_for(&names)? {
            _ if wished => "the owner wants one".to_owned(),
            Some(why) => why,
            None => return Ok("the certificate is good for a while".to_owned()),
        };
        if let Some(words) = self.waits_for(wished)? {
            return Ok(words);
        }
        tracing::info!("asking for a certificate for {}: {why}", names.join(", "));
        let key = Pair::served(self.paths)?;
        let pair = Pair { chain: self.obtain(&key.key_pair()?).await?, ..key };
        pair.serve(self.paths)?;
        self.ask_for_window().await;
        let covered = served(self.paths)?.map(|certificate| certificate.names.join(", ")).unwrap_or_default();
        Ok(format!("a certificate was issued for {covered}"))
    }

    /// A name without which a certificate is of no use, and which is left alone for now.
    fn waits_for(&self, wished: bool) -> Result<Option<String>, CertsError> {
        let sought = self.sought()?;
        let waiting = sought.iter().filter(|one| one.is_must() && !wished);
        let waiting = waiting.filter_map(|one| Some((one.name(), self.ledger.pausing(one.name(), self.now)?)));
        Ok(waiting.max_by_key(|(_, failure)| failure.again).map(|(name, failure)| {
            format!("{name} failed ({}); it is asked for again {}", failure.why, time::readable(failure.again))
        }))
    }

    /// Why a certificate is due for these names.
    fn due_for(&self, names: &[String]) -> Result<Option<String>, CertsError> {
        due_by(self.paths, names, &self.ledger, self.now)
    }

    /// Whether somebody trusts it.
    fn is_of_use(&self, certificate: &Certificate) -> Result<bool, CertsError> {
        Ok(!is_own(certificate) && !is_foreign(self.paths, certificate, self.now)?)
    }

    /// What is sought: the names that are not left out for now, up to what one certificate takes.
    fn sought(&self) -> Result<Vec<Sought>, CertsError> {
        let certificate = served(self.paths)?.unwrap_or_default();
        let may_leave_out = !self.is_of_use(&certificate)? || renewal::may_leave_out(&certificate, self.now);
        let is_host = |name: &str| name == self.config.hostname.as_str();
        let names = self.looked.names.iter().filter(|name| {
            // A name that is served is asked for again with every renewal.
            is_host(&name.name) || certificate.covers(&name.name) || self.ledger.pausing(&name.name, self.now).is_none()
        });
        let must = |name: &str| is_host(name) || (!may_leave_out && certificate.covers(name));
        Ok(names.take(MAX_NAMES).map(|name| Sought::new(name.clone(), must(&name.name))).collect())
    }

    /// Gets a certificate for a key from the first authority that has one to give; returns the chain.
    async fn obtain(&mut self, key: &KeyPair) -> Result<String, CertsError> {
        let mut said = Vec::new();
        let mut failed = BTreeMap::new();
        for authority in self.config.acme.authorities() {
            let host = authority.host().to_owned();
            match self.obtain_from(&authority, key).await? {
                Ok((chain, left_out)) => {
                    self.note(left_out);
                    return Ok(chain);
                }
                Err((why, left_out)) => {
                    tracing::warn!("{host}: {why}");
                    said.push(format!("{host}: {why}"));
                    failed.extend(left_out);
                }
            }
        }
        self.note(failed);
        Err(CertsError::NotIssued(said.join("; ")))
    }

    fn note(&mut self, failed: BTreeMap<String, String>) {
        for (name, why) in failed {
            tracing::warn!("{name} is left out: {why}");
            self.ledger.failed(&name, &why, self.now);
        }
    }

    async fn obtain_from(&mut self, authority: &Authority, key: &KeyPair) -> Result<FromOne, CertsError> {
        let directory = &authority.directory;
        let sought = self.sought()?;
        let names: Vec<String> = sought.iter().map(|one| one.name().to_owned()).collect();
        if let Err(Closed { until, why, .. }) = self.ledger.open(directory, &names, self.now) {
            return Ok(Err((format!("it is left alone until {} ({why})", time::readable(until)), BTreeMap::new())));
        }
        let mut outcome = Outcome::UnknownAccount;
        // An account that the authority lost is registered again, once; so is one whose registering failed by its nonces.
        for _ in 0..2 {
            let told = pair::read(&self.paths.account_uri())?;
            let opened = authority::open(self.paths, self.config, authority).await;
            if pair::read(&self.paths.account_uri())? != told
                && let Err(error) = self.publish().await
            {
                // CAA records may still name the account of before; the next run meets the right ones.
                tracing::warn!("the zone does not name the account yet: {error}");
            }
            outcome = match opened {
                Ok(session) => {
                    let present = served(self.paths)?.unwrap_or_default();
                    let replaces =
                        identifier(self.paths)?.filter(|_| self.is_of_use(&present).is_ok_and(|of_use| of_use));
                    let desk = Desk { paths: self.paths, config: self.config, session: &session, key, replaces };
                    let mut clerk = Counting { desk, ledger: &mut self.ledger, now: self.now };
                    issue::obtain(&mut clerk, sought.clone()).await?
                }
                Err(Trouble::Account) => Outcome::UnknownAccount,
                Err(Trouble::Nonce(why)) => {
                    outcome = Outcome::Away { why, until: None };
                    continue;
                }
                Err(Trouble::Own(error)) => return Err(error),
                Err(Trouble::Authority { why, until }) => Outcome::Away { why, until },
                Err(Trouble::Order(why)) => Outcome::Away { why, until: None },
                Err(Trouble::Names(_)) => {
                    Outcome::Away { why: "it is not clear what it wants".to_owned(), until: None }
                }
            };
            match outcome {
                Outcome::UnknownAccount => authority::forget(self.paths, authority)?,
                _ => break,
            }
        }
        Ok(match outcome {
            Outcome::Issued { chain, names, failed } => {
                self.ledger.issued(directory, &names, self.now);
                Ok((chain, failed))
            }
            Outcome::Refused { failed, why } => Err((why, failed)),
            Outcome::Away { why, until } => {
                self.ledger.close(directory, &why, until, self.now);
                Err((why, BTreeMap::new()))
            }
            Outcome::UnknownAccount => Err(("it does not know the account".to_owned(), BTreeMap::new())),
        })
    }

    /// Asks the authority when it wants the certificate renewed, as often as it wishes to be asked (RFC 9773 §4.3.2).
    async fn ask_for_window(&self) {
        let (Ok(Some(identifier)), Ok(Some(certificate))) = (identifier(self.paths), served(self.paths)) else {
            return;
        };
        let known = Window::load(self.paths, &identifier.to_string());
        if is_own(&certificate) || known.is_some_and(|window| self.now < window.again) {
            return;
        }
        let Some(authority) = status::issuer(self.paths, self.config) else { return };
        let Ok(session) = authority::open(self.paths, self.config, &authority).await else { return };
        if let Some(window) = window(&session, &identifier, self.now).await
            && let Err(error) = window.save(self.paths)
        {
            tracing::warn!("{error}");
        }
    }
}

/// The chain and the names that were left out, or why there is none.
type FromOne = Result<(String, BTreeMap<String, String>), (String, BTreeMap<String, String>)>;

/// The longest and shortest that an authority's word is taken on when to ask again.
const ASK_AGAIN: std::ops::RangeInclusive<u64> = 3_600..=86_400;

async fn window(session: &Session, identifier: &CertificateIdentifier<'_>, now: u64) -> Option<Window> {
    let (info, again) = match session.account.renewal_info(identifier).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!("no renewal window: {error}");
            return None;
        }
    };
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Some(Window {
        certificate: identifier.to_string(),
        start: seconds(info.suggested_window.start.unix_timestamp()),
        end: seconds(info.suggested_window.end.unix_timestamp()),
        again: now + again.as_secs().clamp(*ASK_AGAIN.start(), *ASK_AGAIN.end()),
        explanation: info.explanation_url,
    })
}

/// Makes orders, and writes each down first.
struct Counting<'a> {
    desk: Desk<'a>,
    ledger: &'a mut Ledger,
    now: u64,
}

impl Clerk for Counting<'_> {
    async fn order(&mut self, names: &[Planned], depth: Depth) -> Result<String, Trouble> {
        let directory = &self.desk.session.authority.directory;
        self.ledger.ordered(directory, self.now);
        self.ledger.save(self.desk.paths)?;
        let chain = self.desk.order(names, depth).await?;
        if depth == Depth::Issued {
            status::issued_by(self.desk.paths, directory, &Pair::parse(&chain).chain)?;
        }
        Ok(chain)
    }
}

impl World for Run<'_> {
    async fn publish(&mut self) -> Result<(), CertsError> {
        Client::new(self.paths.clone()).ask(&dns::Publish { dry_run: false }).await?;
        Ok(())
    }

    async fn published(&mut self) -> Result<Published, String> {
        let name = format!("_25._tcp.{}", self.config.hostname);
        if self.config.dns == DnsMode::External {
            return zone::tlsa_in_public(self.config, &name).await.map_err(|error| error.to_string());
        }
        let host = self.looked.names.iter().find(|name| name.name == self.config.hostname.as_str());
        let zone = host.and_then(|name| name.zone.as_ref()).ok_or("the hostname does not lead to this box")?;
        Servers::of(self.paths, self.config, zone.as_str()).await?.tlsa(&name).await
    }

    async fn order(&mut self, key: &KeyPair) -> Result<String, CertsError> {
        let chain = self.obtain(key).await?;
        match Certificate::first_of(&chain) {
            Ok(certificate) if certificate.spki == crate::inspect::spki(key) => Ok(chain),
            _ => Err(CertsError::NotIssued("the authority sent a certificate for another key".to_owned())),
        }
    }
}
