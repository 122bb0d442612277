//! The system's packages, and the programs that the roles run.

use super::safety::reported;
use crate::facts::Packages;
use crate::finding::{Finding, Problem};
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
