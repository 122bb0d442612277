//! Who can become root of the machine, as root itself saw.

use super::safety::reported;
use crate::facts::People;
use crate::finding::{Finding, Problem};
use crate::world::World;

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
