//! NSD with a zone and unbound, which validates as of a turned clock: what a stranger gets to see.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
/// What is asked, and how it is to be answered: with signatures that hold, the last by a proof that there is no such name.
const QUESTIONS: [(&str, &str, &str); 5] = [
    ("example.org", "SOA", "NOERROR"),
    ("example.org", "MX", "NOERROR"),
    ("example.org", "DNSKEY", "NOERROR"),
    ("_25._tcp.box.example.org", "TLSA", "NOERROR"),
    ("nothing.example.org", "A", "NXDOMAIN"),
];

pub struct Validator {
    dir: PathBuf,
    nsd: Child,
    ports: [u16; 2],
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn started(program: &str, words: &[&str], config: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(words).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{program} is to be installed: {error}"))
}

impl Validator {
    /// With a zone to begin with.
    pub fn new(dir: &Path, zone: &str) -> Self {
        let (dir, ports) = (dir.to_owned(), [free_port(), free_port()]);
        let at = dir.display();
        let config = format!(
            "server:\n  ip-address: 127.0.0.1@{}\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{at}\"\n  pidfile: \"{at}/nsd.pid\"\n\
             \x20 logfile: \"{at}/nsd.log\"\n  xfrdfile: \"{at}/nsd.xfrd\"\n  xfrdir: \"{at}\"\n  zonelistfile: \"{at}/nsd.list\"\n\
             remote-control:\n  control-enable: no\nzone:\n  name: example.org\n  zonefile: \"{at}/served.zone\"\n",
            ports[0]
        );
        std::fs::write(dir.join("nsd.conf"), config).unwrap();
        std::fs::write(dir.join("served.zone"), zone).unwrap();
        let nsd = started("nsd", &["-d"], &dir.join("nsd.conf"));
        Self { dir, nsd, ports }
    }

    /// What is wrong for somebody who asks at that time, from the parent's DS.
    pub fn judge(&self, zone: &str, ds: &str, now: u64) -> Result<(), String> {
        self.serve(zone);
        let (at, port) = (self.dir.display(), self.ports[1]);
        let stamp: String = base::time::readable(now).chars().filter(char::is_ascii_digit).collect();
        let config = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  pidfile: \"\"\n\
             \x20 use-syslog: no\n  logfile: \"{at}/unbound.log\"\n  val-log-level: 2\n  do-daemonize: no\n  do-not-query-localhost: no\n\
             \x20 module-config: \"validator iterator\"\n  trust-anchor-file: \"{at}/validator.ds\"\n  val-override-date: \"{stamp}\"\n\
             \x20 val-sig-skew-min: 0\n  val-sig-skew-max: 0\n\
             remote-control:\n  control-enable: no\nstub-zone:\n  name: example.org\n  stub-addr: 127.0.0.1@{}\n",
            self.ports[0]
        );
        std::fs::write(self.dir.join("unbound.conf"), config).unwrap();
        std::fs::write(self.dir.join("validator.ds"), ds).unwrap();
        let mut unbound = started("unbound", &["-d"], &self.dir.join("unbound.conf"));
        let verdict = self.ask();
        unbound.kill().unwrap();
        unbound.wait().unwrap();
        verdict
    }

    fn serve(&self, zone: &str) {
        let file = self.dir.join("served.zone");
        if std::fs::read_to_string(&file).unwrap() != zone {
            std::fs::write(&file, zone).unwrap();
            self.signal("HUP");
        }
        let serial = zone.lines().next().and_then(|soa| soa.split_whitespace().nth(6)).unwrap();
        let begun = Instant::now();
        while !dig(self.ports[0], &["+norec", "+short", "example.org", "SOA"])
            .split_whitespace()
            .any(|word| word == serial)
        {
            assert!(begun.elapsed() < PATIENCE, "NSD does not serve serial {serial}, see {}", self.dir.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self) -> Result<(), String> {
        let words: Vec<&str> = QUESTIONS.iter().flat_map(|(name, kind, _)| [*name, *kind]).collect();
        let begun = Instant::now();
        loop {
            let said = dig(self.ports[1], &[&["+dnssec"], words.as_slice()].concat());
            let heads: Vec<&str> = said.split(";; ->>HEADER<<-").skip(1).collect();
            if heads.len() < QUESTIONS.len() {
                assert!(begun.elapsed() < PATIENCE, "unbound does not answer: {said}");
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let wrong = heads.iter().zip(QUESTIONS).find(|(head, (_, _, status))| {
                let flags = head.split("flags:").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
                !head.contains(&format!("status: {status},")) || !flags.split_whitespace().any(|flag| flag == "ad")
            });
            return wrong.map_or(Ok(()), |(head, (name, kind, _))| Err(format!("{name} {kind}: {head}")));
        }
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").arg(format!("-{signal}")).arg(self.nsd.id().to_string()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.signal("TERM");
        let _ = self.nsd.wait();
    }
}

fn dig(port: u16, words: &[&str]) -> String {
    let mut command = Command::new("dig");
    command.args(["@127.0.0.1", "-p", &port.to_string(), "+time=2", "+tries=1"]).args(words);
    let output = command.output().expect("dig is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
