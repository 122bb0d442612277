//! `mailstead demo`: a whole box in a folder, as an ordinary user, on high ports.

use crate::{converge, output, release};
use anyhow::Context;
use base::config::DemoOptions;
use base::{Address, BoxConfig, DnsMode, Domain, Endpoints, HostFacts, Paths, Role, Secret};
use clap::Args;
use provision::difference::difference;
use provision::journal::Started;
use provision::plan::PlanFacts;
use provision::{Folder, Progress};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, SystemTime};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use wire::{Client, directory, dns};

/// Show a whole box in a folder, without touching the machine: the same roles, on high ports of loopback.
///
/// Runs in the foreground until interrupted. When all of it answers it prints a line that begins with “ready” and has
/// written DIR/endpoints.json. Every other command works on it with `mailstead --box DIR …`.
#[derive(Args)]
pub struct Demo {
    /// The folder; kept between runs. Default: mailstead-demo in the temporary folder.
    dir: Option<PathBuf>,
    /// The sample account.
    #[arg(long, value_name = "ADDRESS", default_value = "ann@demo.example")]
    email: Address,
    /// The box's name. Default: box.DOMAIN.
    #[arg(long, value_name = "NAME")]
    hostname: Option<Domain>,
    /// The first of the ports.
    #[arg(long, value_name = "N", default_value_t = 10_025)]
    base_port: u16,
    /// Read the sample account's password from the first line of this file; else one is made.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Ask this resolver instead of the demo's own unbound.
    #[arg(long, value_name = "ADDRESS:PORT")]
    resolver: Option<SocketAddr>,
    /// The port on which other mail servers are reached.
    #[arg(long, value_name = "N", default_value_t = 25)]
    remote_smtp_port: u16,
    /// How long mail that was put off waits for the second try. Default: five minutes, as on a live box.
    #[arg(long, value_name = "SECONDS")]
    retry_seconds: Option<u32>,
}

/// What is written to `endpoints.json`.
#[derive(Serialize)]
struct Reachable {
    smtp: String,
    submission: String,
    submissions: String,
    imaps: String,
    pop3s: String,
    managesieve: String,
    lmtp: PathBuf,
    dns: String,
    http: String,
    https: String,
    metrics: String,
    ca_file: PathBuf,
    hostname: Domain,
    email: Address,
    password: Option<String>,
    /// Parts that are not installed.
    missing: Vec<String>,
}

impl Demo {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        let dir = match &self.dir {
            Some(dir) => std::path::absolute(dir)?,
            None if !paths.is_live() => paths.root().to_owned(),
            None => std::env::temp_dir().join("mailstead-demo"),
        };
        let paths = Paths::under(&dir);
        let config = self.config(&paths)?;
        prepare(&paths, &config)?;
        let mut parts = Parts::start(&paths).await?;
        let outcome = self.serve(&paths, &config, &mut parts).await;
        parts.stop().await;
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// A demo that ran before keeps its answers; its ports follow the command line.
    fn config(&self, paths: &Paths) -> anyhow::Result<BoxConfig> {
        base::durable::create_dir_all(&paths.etc(), 0o755)
            .with_context(|| format!("{} cannot be made", paths.root().display()))?;
        let hostname = match &self.hostname {
            Some(hostname) => hostname.clone(),
            None => self.email.domain().prefixed("box")?,
        };
        let mut config = match BoxConfig::load(paths) {
            Ok(config) => config,
            Err(error) if error.is_missing() => BoxConfig::new(self.email.account(), hostname, DnsMode::Box),
            Err(error) => return Err(error.into()),
        };
        anyhow::ensure!((1024..=65_000).contains(&self.base_port), "--base-port lies between 1024 and 65000");
        config.demo = Some(DemoOptions {
            base_port: self.base_port,
            resolver: self.resolver,
            remote_smtp_port: self.remote_smtp_port,
            retry_seconds: self.retry_seconds,
        });
        // Before anything of a demo that may be running in this folder is changed.
        ports_are_free(&Endpoints::of(&config))?;
        config.save(paths)?;
        Ok(config)
    }

    async fn serve(&self, paths: &Paths, config: &BoxConfig, parts: &mut Parts) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            begun = self.begin(paths, config, parts) => begun?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        tokio::spawn(certificates(paths.clone()));
        tokio::select! {
            ended = parts.watch(paths) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }

    async fn begin(&self, paths: &Paths, config: &BoxConfig, parts: &mut Parts) -> anyhow::Result<()> {
        converge::wait_for_roles(paths).await?;
        let client = Client::new(paths.clone());
        let password = self.account(&client, config).await?;
        client.ask(&dns::Publish { dry_run: false }).await?;
        parts.reload_zones(paths).await?;
        let reachable = reachable(paths, config, password, &parts.missing);
        wait_for_ports(&reachable).await?;
        let text = serde_json::to_vec_pretty(&reachable)?;
        base::durable::write(&paths.root().join("endpoints.json"), &text, 0o600)?;
        introduce(&reachable, paths);
        Ok(())
    }

    /// The sample account; its password if it was set in this run.
    async fn account(&self, client: &Client, config: &BoxConfig) -> anyhow::Result<Option<String>> {
        let account = config.email.account();
        let there = client.ask(&directory::Accounts {}).await?.iter().any(|existing| existing.address == account);
        let password = match &self.password_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                Secret::new(text.lines().next().unwrap_or_default())
            }
            None => Secret::generate(),
        };
        if there {
            client.ask(&directory::SetPassword { account, password: password.clone() }).await?;
        } else {
            client.ask(&directory::AddAccount { address: account, password: password.clone(), admin: true }).await?;
        }
        Ok(Some(password.expose().to_owned()))
    }
}

/// What a timer does on a live box: once, beside the watch that has new zones served.
async fn certificates(paths: Paths) {
    if let Err(error) = certs::run(paths).await {
        eprintln!("mailstead: {error}");
    }
}

/// As the service of a live box does it.
async fn run_checks(paths: Paths) {
    let trouble = match super::status::collect(&paths) {
        Ok(()) => checks::run(paths).await.err().map(|error| error.to_string()),
        Err(error) => Some(format!("{error:#}")),
    };
    if let Some(trouble) = trouble {
        eprintln!("mailstead: {trouble}");
    }
}

/// What is in the way shows at once and in one line, rather than in the log of some role.
fn ports_are_free(endpoints: &Endpoints) -> anyhow::Result<()> {
    let Endpoints { smtp, submission, submissions, imaps, pop3s, managesieve, http, https, dns, metrics, .. } =
        *endpoints;
    for listen in [smtp, submission, submissions, imaps, pop3s, managesieve, http, https, dns, metrics] {
        let port = listen.port;
        listen.bind().map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                anyhow::anyhow!("port {port} is in use (by another demo?); choose other ports with --base-port N")
            }
            _ => anyhow::anyhow!("port {port} cannot be opened: {error}"),
        })?;
    }
    Ok(())
}

fn prepare(paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
    let host =
        HostFacts { ipv4: Some([127, 0, 0, 1].into()), bind: vec![[127, 0, 0, 1].into()], ..HostFacts::default() };
    let facts = PlanFacts {
        config: config.clone(),
        host,
        paths: paths.clone(),
        version: release::version(),
        ssh_ports: Vec::new(),
        mta_sts_policy: ::dns::policy::mta_sts(&config.hostname),
        other_time_keeper: true,
    };
    let folder = Folder::new(paths.root());
    let steps = difference(&provision::plan::demo(&facts)?, &folder, &Started::load(paths))?;
    Ok(provision::apply::apply(&folder, &steps, &mut Progress::new(paths))?)
}

/// The processes of a demo: the roles, and the distribution's parts where they are installed.
struct Parts {
    children: Vec<(String, Child)>,
    missing: Vec<String>,
    nginx: Option<PathBuf>,
}

impl Parts {
    async fn start(paths: &Paths) -> anyhow::Result<Self> {
        let program = release::program().context("this program cannot find itself")?;
        let mut parts = Self { children: Vec::new(), missing: Vec::new(), nginx: None };
        for role in Role::DAEMONS {
            let log = std::fs::File::create(paths.log().join(format!("{role}.log")))?;
            let mut command = Command::new(&program);
            command.arg("--box").arg(paths.root()).args(["run", role.name()]).stderr(log).stdout(Stdio::null());
            parts.spawn(role.name(), command)?;
        }
        let file = |name: &str| paths.on_host(name);
        parts.part("nginx", |program| {
            let mut command = Command::new(program);
            let log = paths.log().join("nginx-error.log");
            command.arg("-e").arg(log).arg("-c").arg(file("/etc/nginx/nginx.conf"));
            if provision::host::is_root() {
                // Its workers would become `nobody`, who may not look into the demo's folder.
                command.args(["-g", "user root;"]);
            }
            command
        })?;
        parts.start_nsd(paths)?;
        parts.part("unbound", |program| {
            let mut command = Command::new(program);
            command.arg("-d").arg("-c").arg(file("/etc/unbound/unbound.conf"));
            command
        })?;
        parts.nginx = find("nginx");
        Ok(parts)
    }

    fn part(&mut self, name: &str, command: impl FnOnce(&Path) -> Command) -> anyhow::Result<()> {
        match find(name) {
            Some(program) => {
                let mut command = command(&program);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                self.spawn(name, command)
            }
            None => {
                self.missing.push(name.to_owned());
                Ok(())
            }
        }
    }

    fn spawn(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let child = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// What the watches of a live machine do: NSD and nginx look again when zones or the certificate changed, and the checks
    /// run when the panel asks for it. A role that ends is started again, as systemd would.
    async fn watch(&mut self, paths: &Paths) -> anyhow::Result<()> {
        let changed = |path: PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let stamps = || -> [Option<SystemTime>; 3] {
            [paths.zones().join("published"), paths.tls_pair(), paths.look_again()].map(changed)
        };
        let mut seen = stamps();
        let mut checks: Option<JoinHandle<()>> = None;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = stamps();
            if now[0] != seen[0] {
                self.reload_zones(paths).await?;
            }
            if now[2].is_some() && now[2] != seen[2] && checks.as_ref().is_none_or(JoinHandle::is_finished) {
                checks = Some(tokio::spawn(run_checks(paths.clone())));
            }
            if now[1] != seen[1]
                && let Some(nginx) = &self.nginx
            {
                let config = paths.on_host("/etc/nginx/nginx.conf");
                control(nginx, &["-s".as_ref(), "reload".as_ref(), "-c".as_ref(), config.as_os_str()]);
            }
            seen = now;
            self.restart_ended(paths)?;
        }
    }

    fn restart_ended(&mut self, paths: &Paths) -> anyhow::Result<()> {
        let program = release::program().context("this program cannot find itself")?;
        for (name, child) in &mut self.children {
            let Some(status) = child.try_wait()? else { continue };
            let Ok(role) = name.parse::<Role>() else { continue };
            eprintln!("{name} ended ({status}) and is started again");
            let log =
                std::fs::File::options().append(true).create(true).open(paths.log().join(format!("{role}.log")))?;
            let mut command = Command::new(&program);
            command.arg("--box").arg(paths.root()).args(["run", role.name()]).stderr(log);
            *child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn()?;
        }
        Ok(())
    }

    /// NSD is started again rather than told to reload: the reload of 4.6 loses new zones now and then (its log
    /// says "reload closed cmd channel"), and a demo can do without an answer for a moment.
    async fn reload_zones(&mut self, paths: &Paths) -> anyhow::Result<()> {
        let Some(at) = self.children.iter().position(|(name, _)| name == "nsd") else { return Ok(()) };
        let (_, mut old) = self.children.remove(at);
        end(&mut old).await;
        self.start_nsd(paths)
    }

    fn start_nsd(&mut self, paths: &Paths) -> anyhow::Result<()> {
        let config = paths.on_host("/etc/nsd/nsd.conf");
        self.part("nsd", |program| {
            let mut command = Command::new(program);
            command.arg("-d").arg("-c").arg(config);
            command
        })
    }

    /// Ends everything, politely first.
    async fn stop(&mut self) {
        for (_, child) in &self.children {
            if let Some(pid) = child.id() {
                provision::host::terminate(pid);
            }
        }
        for (_, child) in &mut self.children {
            end(child).await;
        }
    }
}

/// Ends a process, politely first.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id() {
        provision::host::terminate(pid);
    }
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        // It is being killed anyway when it is dropped.
        let _ = child.kill().await;
    }
}

/// A helper of a part; that it fails shows in the part's log.
fn control(program: &Path, arguments: &[&std::ffi::OsStr]) {
    let ended =
        std::process::Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(error) = ended {
        eprintln!("{}: {error}", program.display());
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn reachable(paths: &Paths, config: &BoxConfig, password: Option<String>, missing: &[String]) -> Reachable {
    let endpoints = Endpoints::of(config);
    let at = |listen: base::endpoints::Listen| listen.local().to_string();
    Reachable {
        smtp: at(endpoints.smtp),
        submission: at(endpoints.submission),
        submissions: at(endpoints.submissions),
        imaps: at(endpoints.imaps),
        pop3s: at(endpoints.pop3s),
        managesieve: at(endpoints.managesieve),
        lmtp: paths.socket(Role::Mailbox, "lmtp"),
        dns: at(endpoints.dns),
        http: at(endpoints.http),
        https: at(endpoints.https),
        metrics: at(endpoints.metrics),
        ca_file: paths.tls().join("ca.pem"),
        hostname: config.hostname.clone(),
        email: config.email.clone(),
        password,
        missing: missing.to_vec(),
    }
}

/// Waits until every listener that should be there takes connections.
async fn wait_for_ports(reachable: &Reachable) -> anyhow::Result<()> {
    let missing = |name: &str| reachable.missing.iter().any(|part| part == name);
    let https = (!missing("nginx")).then_some(&reachable.https);
    let dns = (!missing("nsd")).then_some(&reachable.dns);
    let sending = [&reachable.smtp, &reachable.submission, &reachable.submissions];
    let reading = [&reachable.imaps, &reachable.pop3s, &reachable.managesieve];
    for address in sending.into_iter().chain(reading).chain(https).chain(dns) {
        let mut tries = 0;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tries += 1;
            anyhow::ensure!(tries < 300, "nothing answers at {address}; see the logs in the demo's var/log/mailstead");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Whoever started the demo may have stopped reading; that does not end it.
fn introduce(reachable: &Reachable, paths: &Paths) {
    let missing: String = reachable.missing.iter().map(|part| format!("  missing   {part}\n")).collect();
    let words = format!(
        "ready {}\n  mailbox   {} (password in endpoints.json)\n  imaps     {}\n  \
         smtp      {} and for sending {} (TLS) or {} (STARTTLS)\n  panel     https://{}/admin\n  authority {}\n\
         {missing}  Other commands: mailstead --box {} status\n",
        paths.root().join("endpoints.json").display(),
        reachable.email,
        reachable.imaps,
        reachable.smtp,
        reachable.submissions,
        reachable.submission,
        reachable.https,
        reachable.ca_file.display(),
        paths.root().display(),
    );
    if let Err(error) = output::write(&words) {
        eprintln!("mailstead: {error}");
    }
}
