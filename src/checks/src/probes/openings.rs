//! What can be reached from outside: the ports that the firewall lets in, and the programs that listen.

use super::safety::reported;
use crate::facts::{Firewall, Open, Socket, Ssh};
use crate::finding::{Finding, Problem};
use crate::world::World;

/// A port of the box is let in.
pub fn lets_in(world: &World, port: u16, protocol: &str) -> Finding {
    let wanted = format!("port {port} ({protocol}) is let in");
    match reported(world, |report| &report.firewall, &wanted) {
        Ok(firewall) => judge_port(firewall, port, protocol, wanted),
        Err(finding) => finding,
    }
}

fn judge_port(firewall: &Firewall, port: u16, protocol: &str, wanted: String) -> Finding {
    // Without rules everything is let in, which the check of the firewall itself tells.
    match !firewall.loaded || firewall.lets_in.contains(&format!("{port}/{protocol}")) {
        true => Finding::good("it is", wanted),
        false => Finding::bad(vec![Problem::new(format!("port {port}"), "the firewall keeps everybody out", wanted)]),
    }
}

/// The firewall lets in nothing that the box does not serve.
pub fn nothing_else(world: &World) -> Finding {
    let wanted = "only the ports of the box and of ssh";
    let report = reported(world, |report| &report.firewall, wanted);
    let ssh = world.report.as_ref().and_then(|report| report.ssh.as_ref().ok());
    match report {
        Ok(firewall) => judge_rest(firewall, &served(ssh), wanted),
        Err(finding) => finding,
    }
}

/// What a box serves: `port/protocol`.
fn served(ssh: Option<&Ssh>) -> Vec<String> {
    let ours = [25, 53, 80, 443, 465, 587, 993, 995, 4190];
    let ssh = ssh.map(|ssh| ssh.ports.clone()).unwrap_or_else(|| vec![22]);
    let mut all: Vec<String> = ours.into_iter().chain(ssh).map(|port| format!("{port}/tcp")).collect();
    // The name server, and the answers to a machine that asks for its IPv6 address (DHCPv6, RFC 8415 §7.2).
    all.extend(["53/udp".to_owned(), "546/udp".to_owned()]);
    all
}

fn judge_rest(firewall: &Firewall, served: &[String], wanted: &str) -> Finding {
    let more = firewall.lets_in.iter().filter(|port| !served.contains(port));
    let problems = more.map(|port| Problem::new(port, "the firewall lets it in", wanted));
    Finding::judge(problems.collect(), "nothing else", wanted)
}

/// No program that is not the box's waits for connections from outside.
pub fn strangers(world: &World) -> Finding {
    let wanted = "only the box's own programs and ssh listen";
    match reported(world, |report| &report.sockets, wanted) {
        Ok(sockets) => judge_strangers(sockets, wanted),
        Err(finding) => finding,
    }
}

/// Programs that belong here, and the network's own (DHCP, mDNS answers of systemd, time).
const KNOWN: [&str; 11] = [
    "mailstead",
    "nginx",
    "nsd",
    "unbound",
    "sshd",
    "systemd",
    "systemd-networkd",
    "systemd-resolved",
    "dhclient",
    "dhcpcd",
    "chronyd",
];

fn judge_strangers(sockets: &[Socket], wanted: &str) -> Finding {
    // Process names are cut to fifteen characters by the kernel.
    let known = |program: &str| KNOWN.iter().any(|name| program.starts_with(&name[..name.len().min(15)]));
    let strange = sockets.iter().filter(|socket| !socket.program.is_empty() && !known(&socket.program));
    let problems = strange.map(|socket| {
        let Socket { protocol, port, program } = socket;
        Problem::new(format!("port {port} ({protocol})"), format!("{program} listens"), wanted).detail(program)
    });
    Finding::judge(problems.collect(), "nothing else listens", wanted)
}

/// Files with secrets are closed to all but their owners.
pub fn secrets(world: &World) -> Finding {
    let wanted = "readable by their owners alone";
    match reported(world, |report| &report.open_secrets, wanted) {
        Ok(open) => judge_secrets(open, wanted),
        Err(finding) => finding,
    }
}

fn judge_secrets(open: &[Open], wanted: &str) -> Finding {
    let problems = open.iter().map(|open| Problem::new(&open.path, format!("mode {}", open.mode), &open.wanted));
    Finding::judge(problems.collect(), "keys and data are closed to others", wanted)
}

/// Nobody becomes root with a password alone.
pub fn root_password(world: &World) -> Finding {
    let wanted = "root does not log in with a password";
    match reported(world, |report| &report.ssh, wanted) {
        Ok(ssh) if ssh.root_password => {
            Finding::bad(vec![Problem::new("ssh", "root may log in with a password", wanted)])
        }
        Ok(_) => Finding::good("root needs a key, or cannot log in", wanted),
        Err(finding) => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn firewall(ports: &[&str]) -> Firewall {
        Firewall { loaded: true, drops_the_rest: true, lets_in: ports.iter().map(|port| (*port).to_owned()).collect() }
    }

    #[test]
    fn a_port_that_is_kept_out_is_told_and_a_firewall_that_is_not_there_is_another_checks_business() {
        let judge = |firewall: &Firewall| judge_port(firewall, 25, "tcp", String::new()).verdict;
        assert_eq!(judge(&firewall(&["25/tcp", "53/udp"])), Verdict::Good);
        assert_eq!(judge(&firewall(&["25/udp"])), Verdict::Bad);
        assert_eq!(judge(&Firewall { loaded: false, ..firewall(&[]) }), Verdict::Good);
    }

    #[test]
    fn what_the_box_does_not_serve_is_not_to_be_let_in() {
        let ssh = Ssh { installed: true, passwords: false, root_password: false, ports: vec![2222] };
        let judge = |ports: &[&str]| judge_rest(&firewall(ports), &served(Some(&ssh)), "").seen;
        assert_eq!(judge(&["2222/tcp", "25/tcp", "53/udp"]), "nothing else");
        assert!(judge(&["22/tcp", "3306/tcp"]).contains("3306/tcp"));
    }

    #[test]
    fn a_strangers_program_is_named_with_its_port() {
        let socket = |port, program: &str| Socket { protocol: "tcp".into(), port, program: program.into() };
        let ours = [socket(25, "mailstead"), socket(53, "nsd: main"), socket(22, "sshd"), socket(1, "")];
        assert_eq!(judge_strangers(&ours, "").verdict, Verdict::Good);
        assert_eq!(judge_strangers(&[socket(8080, "python3")], "").seen, "port 8080 (tcp): python3 listens");
    }
}
