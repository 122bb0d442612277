//! The systemd units: one service for each role, sandboxed; timers; and the watches that hand changes over.

use super::files::unit;
use super::{OnChange, Plan, PlanFacts, Stage};
use crate::ProvisionError;
use crate::templates::{self, render};
use base::{BoxConfig, DnsMode, Role};
use minijinja::context;

/// What a role may do beyond the common sandbox.
#[derive(Default)]
struct Needs {
    /// Folders it writes.
    writes: &'static [&'static str],
    capabilities: &'static str,
    /// Whether it speaks to the network.
    network: bool,
    /// Whether it has to see other processes and the machine's state.
    sees_processes: bool,
    after: &'static [&'static str],
    /// A command that root runs beforehand.
    before: &'static str,
}

fn needs(role: Role, config: &BoxConfig) -> Needs {
    match role {
        Role::Directory => Needs { writes: &["/var/lib/mailstead/directory"], ..Needs::default() },
        Role::Mailbox => Needs {
            writes: &["/var/lib/mailstead/mail"],
            capabilities: "CAP_NET_BIND_SERVICE",
            network: true,
            after: &["directory"],
            ..Needs::default()
        },
        Role::Mta => Needs {
            writes: &["/var/lib/mailstead/queue"],
            capabilities: "CAP_NET_BIND_SERVICE",
            network: true,
            after: &["directory", "filter", "mailbox"],
            ..Needs::default()
        },
        Role::Filter => Needs { writes: &["/var/lib/mailstead/filter"], network: true, ..Needs::default() },
        Role::Dns => Needs {
            writes: &["/var/lib/mailstead/dns", "/var/lib/mailstead/zones", "/var/lib/mailstead/nsd"],
            // A key goes only when the parent's servers were seen to vouch for the next one.
            network: true,
            ..Needs::default()
        },
        Role::Web => Needs {
            writes: &["/var/lib/mailstead/web"],
            // Peers have their ports looked at from here; else nginx alone speaks to the panel.
            network: !config.peers.is_empty(),
            ..Needs::default()
        },
        Role::Certs => Needs {
            writes: &["/var/lib/mailstead/certs", "/var/lib/mailstead/tls", "/var/lib/mailstead/acme"],
            network: true,
            ..Needs::default()
        },
        Role::Checks => Needs {
            writes: &["/var/lib/mailstead/checks"],
            network: true,
            sees_processes: true,
            before: "/opt/mailstead/current/mailstead facts",
            ..Needs::default()
        },
        Role::Backup => Needs {
            writes: &["/var/backups/mailstead"],
            // Reads what others own, and writes nothing but its archives.
            capabilities: "CAP_DAC_READ_SEARCH",
            ..Needs::default()
        },
        Role::Owner => Needs::default(),
    }
}

pub fn add(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    for role in Role::DAEMONS.into_iter().chain(Role::TIMED) {
        service(facts, plan, role)?;
    }
    timers(facts, plan)?;
    handovers(facts, plan)?;
    start(facts, plan);
    Ok(())
}

fn unit_file(name: &str) -> String {
    format!("/etc/systemd/system/{name}")
}

fn service(facts: &PlanFacts, plan: &mut Plan, role: Role) -> Result<(), ProvisionError> {
    let needs = needs(role, &facts.config);
    let hidden: &[&str] = match role {
        Role::Backup => &[],
        _ => &["/var/backups/mailstead", "/etc/mailstead/recovery.key"],
    };
    let families = if needs.network { "AF_UNIX AF_INET AF_INET6 AF_NETLINK" } else { "AF_UNIX" };
    let content = render(
        templates::ROLE_SERVICE,
        context! {
            role => role.name(), user => role.user(), timed => Role::TIMED.contains(&role), before => needs.before,
            capabilities => needs.capabilities, writes => needs.writes.to_vec(), hidden => hidden.to_vec(), families, after => needs.after.to_vec(),
            sees_processes => needs.sees_processes,
        },
    )?;
    plan.file(Stage::Files, &unit_file(&format!("mailstead-{role}.service")), content);
    Ok(())
}

/// Name, what it is for, when, random delay in seconds, the unit it starts (else its own service).
const TIMERS: [(&str, &str, &str, u32, &str); 5] = [
    ("checks", "status checks", "*:0/10", 60, ""),
    ("backup", "nightly backup", "*-*-* 02:30", 1800, ""),
    ("backup-rehearsal", "weekly look into the newest backup", "Sun *-*-* 05:10", 1800, ""),
    // Looks often and does little: a name that failed, a key that is to be changed. When a certificate is renewed is the
    // authority's word, which spreads it over days; authorities ask that not all come at the full hour.
    ("certs", "certificate renewal", "*-*-* *:17", 1800, ""),
    ("dns-sign", "zone signatures", "*-*-* 04:10", 1800, ""),
];

fn timers(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    for (name, what, calendar, delay, unit_name) in TIMERS {
        if name == "dns-sign" && facts.config.dns == DnsMode::External {
            continue;
        }
        let content = render(templates::ROLE_TIMER, context! { what, calendar, delay, unit => unit_name })?;
        plan.file(Stage::Files, &unit_file(&format!("mailstead-{name}.timer")), content);
    }
    let sign = context! { what => "zone signatures renewed when due",
    commands => ["/opt/mailstead/current/mailstead dns publish"] };
    plan.file(Stage::Files, &unit_file("mailstead-dns-sign.service"), render(templates::HANDOVER_SERVICE, sign)?);
    let rehearsal = render(templates::REHEARSAL_SERVICE, context! {})?;
    plan.file(Stage::Files, &unit_file("mailstead-backup-rehearsal.service"), rehearsal);
    Ok(())
}

const LOOK_AGAIN: &str = "mailstead-look-again.path";

/// Unprivileged roles write a file; these watches have the part that serves it look again.
fn handovers(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    let certificate = (
        "nginx-certificate",
        "nginx serves a new certificate",
        "/var/lib/mailstead/tls/pair.pem",
        vec!["systemctl reload nginx.service"],
    );
    let zones = (
        "nsd-zones",
        "NSD serves new zones",
        "/var/lib/mailstead/zones/published",
        vec!["nsd-control reconfig", "nsd-control reload"],
    );
    let wanted = [Some(certificate), (facts.config.dns == DnsMode::Box).then_some(zones)];
    for (name, what, path, commands) in wanted.into_iter().flatten() {
        let watch = render(templates::HANDOVER_PATH, context! { what, path, unit => "" })?;
        plan.file(Stage::Files, &unit_file(&format!("mailstead-{name}.path")), watch);
        let act = render(templates::HANDOVER_SERVICE, context! { what, commands })?;
        plan.file(Stage::Files, &unit_file(&format!("mailstead-{name}.service")), act);
    }
    // The panel has no right to start anything; it writes a mark.
    let asked = context! { what => "the checks run when the panel asks for it",
    path => super::files::text(&facts.paths.look_again()), unit => "mailstead-checks.service" };
    plan.file(Stage::Files, &unit_file(LOOK_AGAIN), render(templates::HANDOVER_PATH, asked)?);
    Ok(())
}

fn start(facts: &PlanFacts, plan: &mut Plan) {
    plan.add(
        Stage::Services,
        unit("systemd-journald.service", &["/etc/systemd/journald.conf.d/mailstead.conf"], OnChange::Restart),
    );
    for role in Role::DAEMONS {
        let name = format!("mailstead-{role}.service");
        // A new release, a changed unit, or changed answers: the role starts anew.
        let inputs = [unit_file(&name), "/opt/mailstead/current".to_owned(), "/etc/mailstead/box.yaml".to_owned()];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        plan.add(Stage::Services, unit(&name, &inputs, OnChange::Restart));
    }
    if facts.config.dns == DnsMode::Box {
        plan.add(
            Stage::Services,
            unit(
                "nsd.service",
                &["/etc/nsd/nsd.conf", "/etc/apparmor.d/local/usr.sbin.nsd", super::files::NSD_DROP_IN],
                OnChange::Restart,
            ),
        );
    }
    plan.add(Stage::Services, unit("nginx.service", &["/etc/nginx/nginx.conf"], OnChange::Reload));
    let watches = ["mailstead-nginx-certificate.path", "mailstead-nsd-zones.path", LOOK_AGAIN];
    let timers = TIMERS.map(|(name, ..)| format!("mailstead-{name}.timer"));
    for name in watches.into_iter().map(str::to_owned).chain(timers) {
        let file = unit_file(&name);
        if plan.content(&file).is_some() {
            plan.add(Stage::Services, unit(&name, &[&file], OnChange::Start));
        }
    }
}
