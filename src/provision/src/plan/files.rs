//! The rendered files of a live machine.

use super::{Item, OnChange, Plan, PlanFacts, Stage, web};
use crate::ProvisionError;
use crate::templates::{self, render};
use base::DnsMode;
use minijinja::context;

/// Automatic security updates (apt.conf(5), unattended-upgrades).
const AUTO_UPGRADES: &str = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";
/// Logs have a bound, so that they never fill the disk.
const JOURNAL: &str = "[Journal]\nStorage=persistent\nSystemMaxUse=500M\nMaxRetentionSec=90day\n";
/// Ubuntu and Debian confine NSD where AppArmor is on; it has to read the box's zones.
const APPARMOR_NSD: &str = "/var/lib/mailstead/zones/ r,\n/var/lib/mailstead/zones/** r,\n/var/lib/mailstead/nsd/ r,\n/var/lib/mailstead/nsd/** r,\n";
/// The dns role renews signatures that ended while the machine was off before it opens its door; NSD serves them then. NSD
/// reads its configuration as a root that may not override permissions, so the group lets it into the keys of secondaries.
const NSD_AFTER_DNS: &str = "# Written by Mailstead; edits are replaced.\n[Unit]\nAfter=mailstead-dns.service\n\n[Service]\nSupplementaryGroups=nsd\nExecStartPre=-/opt/mailstead/current/mailstead dns wait\n";
pub(super) const NSD_DROP_IN: &str = "/etc/systemd/system/nsd.service.d/mailstead.conf";
const RESOLV: &str =
    "# Written by Mailstead: the box has a resolver of its own.\nnameserver 127.0.0.1\noptions edns0 trust-ad\n";

pub fn add(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    let host = serde_json::to_string_pretty(&facts.host)
        .map_err(|error| ProvisionError::Refused(format!("the host's facts cannot be written: {error}")))?;
    plan.file(Stage::Keys, "/etc/mailstead/host.json", host + "\n");
    plan.file(Stage::Files, "/etc/apt/apt.conf.d/20auto-upgrades", AUTO_UPGRADES.to_owned());
    plan.file(Stage::Files, "/etc/systemd/journald.conf.d/mailstead.conf", JOURNAL.to_owned());
    plan.file(Stage::Files, "/etc/apparmor.d/local/usr.sbin.nsd", APPARMOR_NSD.to_owned());
    web::add(facts, plan)?;
    if facts.config.dns == DnsMode::Box {
        plan.file(Stage::Files, "/etc/nsd/nsd.conf", nsd(facts)?);
        plan.file(Stage::Files, NSD_DROP_IN, NSD_AFTER_DNS.to_owned());
    }
    release(facts, plan);
    firewall(facts, plan)?;
    resolver(facts, plan)
}

/// Which release runs, and that root finds it by name.
fn release(facts: &PlanFacts, plan: &mut Plan) {
    let target = format!("releases/{}", facts.version);
    plan.add(Stage::Files, Item::Link { path: "/opt/mailstead/current".to_owned(), target });
    let target = "/opt/mailstead/current/mailstead".to_owned();
    plan.add(Stage::Files, Item::Link { path: "/usr/local/bin/mailstead".to_owned(), target });
}

fn firewall(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    let mut tcp = facts.ssh_ports.clone();
    let dns = facts.config.dns == DnsMode::Box;
    tcp.extend(dns.then_some(53));
    tcp.extend([25, 80, 443, 465, 587, 993, 995, 4190]);
    tcp.sort_unstable();
    tcp.dedup();
    let rules = render(templates::NFTABLES, context! { tcp, dns })?;
    plan.add(Stage::Firewall, Item::File { path: "/etc/nftables.conf".to_owned(), content: rules, mode: 0o755 });
    plan.add(Stage::Firewall, unit("nftables.service", &["/etc/nftables.conf"], OnChange::Reload));
    Ok(())
}

/// Last of what changes the machine's names: every download is done by now.
fn resolver(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    let rules = render(
        templates::UNBOUND,
        context! { demo => false, port => 53, ipv6 => facts.host.ipv6.is_some(), demo_zones => Vec::<String>::new(),
        run => "", log => "", nsd_port => 0 },
    )?;
    plan.file(Stage::Resolver, "/etc/unbound/unbound.conf", rules);
    plan.add(Stage::Resolver, unit("unbound.service", &["/etc/unbound/unbound.conf"], OnChange::Restart));
    plan.file(Stage::Resolver, "/etc/resolv.conf", RESOLV.to_owned());
    plan.add(Stage::Resolver, Item::UnitOff { name: "systemd-resolved.service".to_owned() });
    Ok(())
}

fn nsd(facts: &PlanFacts) -> Result<String, ProvisionError> {
    let bind: Vec<String> = facts.host.bind.iter().map(ToString::to_string).collect();
    render(
        templates::NSD,
        context! { demo => false, bind, port => 53, run => "/run/nsd", log => "", control => "/run/nsd/nsd.ctl",
        zones => text(&facts.paths.zones()), transfers => text(&facts.paths.nsd()) },
    )
}

pub(super) fn unit(name: &str, inputs: &[&str], on_change: OnChange) -> Item {
    let inputs = inputs.iter().map(|path| (*path).to_owned()).collect();
    Item::Unit { name: name.to_owned(), inputs, on_change }
}

pub(super) fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
