//! The plan of a demo: what a live machine has in files, below one folder and on high ports.

use super::files::text;
use super::{Item, Plan, PlanFacts, Stage, folders, keys, web};
use crate::ProvisionError;
use crate::templates::{self, render};
use base::{Endpoints, Role};
use minijinja::context;

pub fn plan(facts: &PlanFacts) -> Result<Plan, ProvisionError> {
    let mut plan = Plan::default();
    let host = serde_json::to_string_pretty(&facts.host)
        .map_err(|error| ProvisionError::Refused(format!("the host's facts cannot be written: {error}")))?;
    folders(&mut plan);
    for role in Role::DAEMONS {
        let path = format!("/run/mailstead/{role}");
        let (owner, group) = (role.user(), role.user());
        plan.add(Stage::Users, Item::Folder { path, owner, group, mode: 0o755 });
    }
    plan.file(Stage::Keys, "/etc/mailstead/host.json", host + "\n");
    keys(&mut plan);
    web::add(facts, &mut plan)?;
    plan.file(Stage::Files, "/etc/nsd/nsd.conf", nsd(facts)?);
    plan.file(Stage::Files, "/etc/unbound/unbound.conf", unbound(facts)?);
    Ok(plan)
}

fn nsd(facts: &PlanFacts) -> Result<String, ProvisionError> {
    let (paths, endpoints) = (&facts.paths, Endpoints::of(&facts.config));
    render(
        templates::NSD,
        context! { demo => true, bind => vec!["127.0.0.1"], port => endpoints.dns.port, run => text(&paths.run()),
        log => text(&paths.log()), control => text(&paths.run().join("nsd.ctl")),
        zones => text(&paths.zones()), transfers => text(&paths.nsd()) },
    )
}

fn unbound(facts: &PlanFacts) -> Result<String, ProvisionError> {
    let (paths, endpoints) = (&facts.paths, Endpoints::of(&facts.config));
    let zone = facts.config.email.domain().to_string();
    render(
        templates::UNBOUND,
        context! { demo => true, port => endpoints.resolver.port(), ipv6 => false, demo_zones => vec![zone],
        run => text(&paths.run()), log => text(&paths.log()), nsd_port => endpoints.dns.port },
    )
}
