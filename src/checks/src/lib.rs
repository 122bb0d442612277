//! The status checks: what is right, what is wrong, why it matters and exactly what to do.
//!
//! `checks/*.yaml` holds the texts, [`probes`] look, [`engine`] runs them side by side, [`running`] shows what they find as
//! it comes, [`history`] remembers, [`steady`] decides what is news, and [`mail`] and [`push`] tell it. This room knows the
//! other roles by their doors alone.

mod engine;
mod error;
pub mod facts;
mod finding;
mod growth;
mod history;
mod limits;
mod mail;
mod metrics;
mod probes;
mod push;
mod render;
mod running;
mod steady;
mod talk;
mod text;
mod tls;
mod world;

pub use error::ChecksError;
pub use history::{Change, latest, past};
pub use probes::records::Compared;
pub use render::{exit_code, render_text};
pub use text::Mend;
pub use wire::status::{CheckResult, State};

use base::{BoxConfig, DnsMode, Paths};
use engine::Job;
use finding::{Finding, Problem};
use lookup as names;
use running::Running;
use std::sync::Arc;
use std::time::Instant;
use text::{CheckText, Known};
use world::World;

/// One run, as the timer starts it: looks at everything, writes the results and what changed, and mails the owner when
/// it is time. A mail that cannot be sent now is sent by a later run.
pub async fn run(paths: Paths) -> Result<(), ChecksError> {
    let (began, now) = (Instant::now(), base::time::now_unix());
    let mut running = Running::begin(&paths, text::all()?.len(), now);
    let results = check(paths.clone(), Ask::default(), &mut |result| running.tell(result)).await?;
    history::keep(&paths, &results)?;
    // Now that all of it stands in the results.
    drop(running);
    // Figures: a disk that takes them no more is what the owner has to hear of.
    for kept in [metrics::write(&paths, &results, began.elapsed()), growth::note(&paths, now)] {
        if let Err(error) = kept {
            tracing::warn!("{error}");
        }
    }
    let worst = results.iter().map(|result| result.state).max().unwrap_or(State::Ok);
    tracing::info!("{} checks done; the worst is {}", results.len(), worst.name());
    if let Ok(config) = BoxConfig::load(&paths) {
        mail::tell_everybody(&paths, &config, &results).await?;
        push::tell(&paths, &config, &results, base::time::now_unix()).await?;
    }
    Ok(())
}

/// Every record that the box needs against what the public servers answer.
pub async fn compare_records(paths: &Paths, config: BoxConfig) -> Result<Vec<Compared>, String> {
    let world = World::new(paths, config).map_err(|error| error.to_string())?;
    probes::records::compare(&world).await
}

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Whether good answers of strangers that an earlier run got are left aside.
    pub fresh: bool,
    /// Only the groups and checks with these names; empty for all.
    pub only: Vec<String>,
}

impl Ask {
    fn wants(&self, text: &CheckText) -> bool {
        let named = |name: &String| *name == text.id || name.eq_ignore_ascii_case(text.group.name());
        self.only.is_empty() || self.only.iter().any(named)
    }
}

/// One check, as the list of all of them names it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KnownCheck {
    pub group: String,
    pub id: String,
    pub title: String,
    /// Whether the box can mend it by itself.
    pub mends: bool,
}

/// Every check, in the order of the page.
pub fn known() -> Result<Vec<KnownCheck>, ChecksError> {
    let known = |text: CheckText| KnownCheck {
        group: text.group.name().to_owned(),
        id: text.id,
        title: text.title,
        mends: text.mend.is_some(),
    };
    Ok(text::all()?.into_iter().map(known).collect())
}

/// What the box can do by itself about a check that is not in order; `None` where it can do nothing.
pub fn mend(id: &str) -> Result<Option<Mend>, ChecksError> {
    let text = text::all()?.into_iter().find(|text| text.id == id);
    text.map(|text| text.mend).ok_or_else(|| ChecksError::NoSuchCheck(id.to_owned()))
}

/// Looks now and writes nothing. `tell` hears of each result as it comes; they are returned in the order of the page.
pub async fn check(
    paths: Paths,
    ask: Ask,
    tell: &mut (dyn FnMut(&CheckResult) + Send),
) -> Result<Vec<CheckResult>, ChecksError> {
    let earlier = Earlier::load(&paths);
    let mut texts = text::all()?;
    if let Some(unknown) = ask
        .only
        .iter()
        .find(|name| !texts.iter().any(|text| Ask { fresh: false, only: vec![(*name).clone()] }.wants(text)))
    {
        return Err(ChecksError::NoSuchCheck(unknown.clone()));
    }
    texts.retain(|text| ask.wants(text));
    let now = base::time::now_unix();
    let mut complete = |result: &mut CheckResult| {
        earlier.complete(result, now);
        tell(result);
    };
    match BoxConfig::load(&paths) {
        Ok(config) => {
            let kept = if ask.fresh { &[][..] } else { &earlier.results[..] };
            Ok(look(Arc::new(World::new(&paths, config)?), texts, kept, &mut complete).await)
        }
        Err(error) => {
            let mut results = without_answers(&texts, &error.to_string(), now);
            results.iter_mut().for_each(complete);
            Ok(results)
        }
    }
}

/// What earlier runs left, and a result takes over.
struct Earlier {
    results: Vec<CheckResult>,
    changes: Vec<Change>,
    is_live: bool,
}

impl Earlier {
    /// What cannot be read is as if it were not there.
    fn load(paths: &Paths) -> Self {
        Self {
            results: history::latest(paths).ok().flatten().unwrap_or_default(),
            changes: history::past(paths).unwrap_or_default(),
            is_live: paths.is_live(),
        }
    }

    fn complete(&self, result: &mut CheckResult, now: u64) {
        engine::carry_over(result, &self.results);
        let before = self.results.iter().find(|old| old.id == result.id).map(|old| old.state);
        result.flaps = steady::flaps(result, before, &self.changes, now);
        if !self.is_live {
            // Nobody but systemd could do it.
            result.mend = None;
        }
    }
}

async fn look(
    world: Arc<World>,
    texts: Vec<CheckText>,
    previous: &[CheckResult],
    tell: &mut (dyn FnMut(&mut CheckResult) + Send),
) -> Vec<CheckResult> {
    let known = world.known();
    let mut kept = Vec::new();
    let mut jobs = Vec::new();
    for (place, text) in texts.into_iter().enumerate() {
        let old = previous.iter().find(|old| old.id == text.id);
        match old.filter(|_| engine::still_good(&text, old, world.now)) {
            Some(old) => {
                let mut old = old.clone();
                tell(&mut old);
                kept.push((place, old));
            }
            None => jobs.push(job(&world, text)),
        }
    }
    let mut results = engine::run_all(jobs, &known, world.now, tell).await;
    for (place, old) in kept {
        results.insert(place.min(results.len()), old);
    }
    results
}

fn job(world: &Arc<World>, text: CheckText) -> (CheckText, Job) {
    let world = Arc::clone(world);
    let probe = text.probe.clone();
    let inapplicable = inapplicable(&world.config, &text);
    let job: Job = Box::pin(async move {
        match inapplicable {
            Some(why) => Finding::skipped(why),
            None => probe.look(&world).await,
        }
    });
    (text, job)
}

fn inapplicable(config: &BoxConfig, text: &CheckText) -> Option<&'static str> {
    if config.demo.is_some() && !text.in_demo {
        return Some("not applicable in a demo");
    }
    if config.dns == DnsMode::External && !text.with_external_dns {
        return Some("not applicable: the DNS of the domains is kept elsewhere");
    }
    None
}

/// Without box.yaml there is one thing to say, and nothing else can be known.
fn without_answers(texts: &[CheckText], why: &str, now: u64) -> Vec<CheckResult> {
    let finding = |text: &CheckText| match text.probe {
        probes::Probe::Configuration {} => Finding::bad(vec![Problem::new("", why, "the three answers, readable")]),
        _ => Finding::unknown("not looked at, since box.yaml cannot be used", ""),
    };
    texts.iter().map(|text| engine::result(text, finding(text), &Known::default(), now)).collect()
}
