//! The system's packages, Mailstead's own release, and who may become root.

use super::safety::reported;
use super::web::in_words;
use crate::facts::{Packages, People};
use crate::finding::{Finding, Problem};
use crate::limits::{FETCHED_WITHIN, MAX_PAGE};
use crate::world::World;

/// No package is kept at an old version.
pub fn held(world: &World) -> Finding {
    let wanted = "no package is kept back";
    listed(world, wanted, "kept at its version by hand", |packages| &packages.held)
}

/// Every package is installed whole.
pub fn broken(world: &World) -> Finding {
    let wanted = "every package is installed whole";
    listed(world, wanted, "not installed whole", |packages| &packages.broken)
}

fn listed(world: &World, wanted: &str, seen: &str, which: impl Fn(&Packages) -> &Vec<String>) -> Finding {
    match reported(world, |report| &report.packages, wanted) {
        Ok(packages) => {
            let problems = which(packages).iter().map(|name| Problem::new(name, seen, wanted).detail(name));
            Finding::judge(problems.collect(), "none is", wanted)
        }
        Err(finding) => finding,
    }
}

/// Security updates come by themselves.
pub fn automatic(world: &World) -> Finding {
    let wanted = "updates are looked for and installed every day";
    match reported(world, |report| &report.packages, wanted) {
        Ok(packages) if packages.automatic => Finding::good("they are", wanted),
        Ok(_) => Finding::bad(vec![Problem::new("", "apt is told not to", wanted)]),
        Err(finding) => finding,
    }
}

/// Every role runs the program that is installed.
pub fn outdated(world: &World) -> Finding {
    let wanted = "every role runs the program that is installed";
    match reported(world, |report| &report.outdated, wanted) {
        Ok(roles) => {
            let problem = |role: &String| {
                Problem::new(format!("mailstead-{role}"), "it still runs a program that was replaced", wanted)
                    .detail(role)
            };
            Finding::judge(roles.iter().map(problem).collect(), "they do", wanted)
        }
        Err(finding) => finding,
    }
}

/// Nobody logs in to the machine without a password.
pub fn passwords(world: &World) -> Finding {
    people(world, "no user has an empty password", "its password is empty", |people| &people.without_password)
}

/// Root is the only root.
pub fn roots(world: &World) -> Finding {
    people(world, "root alone has root's number", "it has root's number (0)", |people| &people.other_roots)
}

fn people(world: &World, wanted: &str, seen: &str, which: impl Fn(&People) -> &Vec<String>) -> Finding {
    match reported(world, |report| &report.people, wanted) {
        Ok(people) => {
            let problems = which(people).iter().map(|name| Problem::new(name, seen, wanted).detail(name));
            Finding::judge(problems.collect(), "it is so", wanted)
        }
        Err(finding) => finding,
    }
}

/// No newer release of Mailstead waits.
pub async fn release(world: &World, own: &str) -> Finding {
    let wanted = "the newest release";
    if world.is_demo() {
        return Finding::skipped("a demo is not upgraded");
    }
    let base = world.config.releases.as_str();
    let newest = match text(&format!("{base}/latest")).await {
        Ok(newest) => newest.trim().to_owned(),
        // That is no fault of the box, and its way out has checks of its own.
        Err(why) => return Finding::skipped(format!("{base}/latest cannot be fetched: {why}")),
    };
    match (version(&newest), version(own)) {
        (Some(there), Some(here)) if there > here => {
            // What is new in it is worth knowing, and its absence is no trouble.
            let changes = text(&format!("{base}/{newest}/changes")).await.unwrap_or_default();
            let changes =
                if changes.trim().is_empty() { "(it says nothing of what is new)".to_owned() } else { changes };
            let seen = format!("this is {own}, {newest} is out");
            Finding::bad(vec![Problem::new("", seen, newest).detail(changes.trim())])
        }
        (Some(_), Some(_)) => Finding::good(own, wanted),
        _ => Finding::unknown(format!("{base}/latest says “{newest}”, which is no version"), wanted),
    }
}

/// Three numbers, as install.sh takes them.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let found = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(found)
}

/// A short text from where releases are published.
async fn text(url: &str) -> Result<String, String> {
    let client = reqwest::Client::builder().no_proxy().timeout(FETCHED_WITHIN).build().map_err(in_words)?;
    let mut answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(in_words)?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(in_words)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > MAX_PAGE {
            return Err(format!("it is longer than {MAX_PAGE} octets"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("1.10.0") > version("1.9.9"));
        for wrong in ["", "1.2", "1.2.3.4", "1.2.x", "<html>"] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }
}
