//! The status checks: what is right, what is wrong, why it matters and exactly what to do.
//!
//! `checks/*.yaml` holds the texts, [`probes`] look, [`engine`] runs them side by side, [`history`] remembers, and
//! [`mail`] tells the owner once a day what changed. This room knows the other roles by their doors alone.

mod engine;
mod error;
pub mod facts;
mod finding;
mod history;
mod limits;
mod mail;
mod probes;
mod render;
mod talk;
mod text;
mod tls;
mod world;

pub use error::ChecksError;
pub use history::latest;
pub use probes::records::Compared;
pub use render::{exit_code, render_text};
pub use wire::status::{CheckResult, State};

use base::{BoxConfig, DnsMode, Paths};
use engine::Job;
use finding::{Finding, Problem};
use lookup as names;
use std::sync::Arc;
use text::{CheckText, Known};
use world::World;

/// One run, as the timer starts it: looks at everything, writes the results and what changed, and mails the owner when
/// it is time. A mail that cannot be sent now is sent by a later run.
pub async fn run(paths: Paths) -> Result<(), ChecksError> {
    let results = check(paths.clone()).await?;
    history::keep(&paths, &results)?;
    let worst = results.iter().map(|result| result.state).max().unwrap_or(State::Ok);
    tracing::info!("{} checks done; the worst is {}", results.len(), worst.name());
    if let Ok(config) = BoxConfig::load(&paths) {
        mail::tell_owner(&paths, &config, &results).await?;
    }
    Ok(())
}

/// Every record that the box needs against what the public servers answer.
pub async fn compare_records(paths: &Paths, config: BoxConfig) -> Result<Vec<Compared>, String> {
    let world = World::new(paths, config).map_err(|error| error.to_string())?;
    probes::records::compare(&world).await
}

/// Looks at everything now and writes nothing. Results stand in the order of the page.
pub async fn check(paths: Paths) -> Result<Vec<CheckResult>, ChecksError> {
    let previous = history::latest(&paths).ok().flatten().unwrap_or_default();
    let texts = text::all()?;
    let now = base::time::now_unix();
    let mut results = match BoxConfig::load(&paths) {
        Ok(config) => look(Arc::new(World::new(&paths, config)?), texts, &previous).await,
        Err(error) => without_answers(&texts, &error.to_string(), now),
    };
    engine::carry_over(&mut results, &previous);
    Ok(results)
}

async fn look(world: Arc<World>, texts: Vec<CheckText>, previous: &[CheckResult]) -> Vec<CheckResult> {
    let known = world.known();
    let mut kept = Vec::new();
    let mut jobs = Vec::new();
    for (place, text) in texts.into_iter().enumerate() {
        let old = previous.iter().find(|old| old.id == text.id);
        match old.filter(|_| engine::still_good(&text, old, world.now)) {
            Some(old) => kept.push((place, old.clone())),
            None => jobs.push(job(&world, text)),
        }
    }
    let mut results = engine::run_all(jobs, limits::PROBE_WITHIN, &known, world.now).await;
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
