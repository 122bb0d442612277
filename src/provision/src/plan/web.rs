//! What nginx serves: the panel, the settings that mail programs ask for, the MTA-STS policy, and the sites of `box.yaml`.
//!
//! A mail domain needs no word here: whatever name leads to the box gets its own folder or a small page, and its settings.

use super::files::text;
use super::{Plan, PlanFacts, Stage};
use crate::ProvisionError;
use crate::templates::{self, render};
use base::sites::Site;
use base::{Domain, Endpoints, Role};
use minijinja::context;
use minijinja::value::Serde;
use serde::Serialize;

/// A site as the template writes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Shown {
    names: Vec<String>,
    folder: Option<String>,
    redirect: Option<String>,
    proxy: Option<String>,
}

pub fn add(facts: &PlanFacts, plan: &mut Plan) -> Result<(), ProvisionError> {
    let hostname = facts.config.hostname.as_str();
    let page = render(templates::MAIL_ONLY, context! { hostname, port => port(facts) })?;
    plan.file(Stage::Files, "/var/lib/mailstead/www/mta-sts.txt", facts.mta_sts_policy.clone());
    plan.file(Stage::Files, "/var/lib/mailstead/www/mail-only.html", page);
    plan.file(Stage::Files, "/etc/nginx/nginx.conf", nginx(facts)?);
    Ok(())
}

/// The port in addresses of the box's pages: none in the world, some high one in a demo.
fn port(facts: &PlanFacts) -> String {
    match facts.config.demo {
        Some(_) => format!(":{}", Endpoints::of(&facts.config).https.port),
        None => String::new(),
    }
}

fn nginx(facts: &PlanFacts) -> Result<String, ProvisionError> {
    let (paths, endpoints, demo) = (&facts.paths, Endpoints::of(&facts.config), facts.config.demo.is_some());
    let listen = |port: u16| -> Vec<String> {
        let plain = if demo { format!("127.0.0.1:{port}") } else { port.to_string() };
        let ipv6 = (!demo && facts.host.ipv6.is_some()).then(|| format!("[::]:{port}"));
        std::iter::once(plain).chain(ipv6).collect()
    };
    render(
        templates::NGINX,
        context! {
            demo,
            run => if demo { text(&paths.run()) } else { "/run".to_owned() },
            log => text(&paths.log()),
            plain_listen => listen(endpoints.http.port),
            tls_listen => listen(endpoints.https.port),
            metrics_listen => loopback(facts, endpoints.metrics.port),
            checks => text(&paths.checks()),
            port => port(facts),
            pair => text(&paths.tls_pair()),
            profiles => text(&paths.profiles()),
            acme => text(&paths.acme_challenges()),
            www => text(&paths.on_host("/var/lib/mailstead/www")),
            sites_root => text(&paths.on_host("/var/www")),
            sites => Serde(sites(facts)),
            hostname => facts.config.hostname.as_str(),
            web_socket => text(&paths.socket(Role::Web, "web")),
        },
    )
}

/// This machine alone; where it has no IPv6 its loopback may have none either.
fn loopback(facts: &PlanFacts, port: u16) -> Vec<String> {
    let ipv6 = (facts.config.demo.is_none() && facts.host.ipv6.is_some()).then(|| format!("[::1]:{port}"));
    std::iter::once(format!("127.0.0.1:{port}")).chain(ipv6).collect()
}

fn sites(facts: &PlanFacts) -> Vec<Shown> {
    let sites = &facts.config.sites;
    let names = |name: &Domain| {
        let www =
            name.prefixed("www").ok().filter(|www| !name.as_str().starts_with("www.") && !sites.contains_key(www));
        std::iter::once(name.clone()).chain(www).map(|name| name.to_string()).collect()
    };
    let blank = |name| Shown { names: names(name), folder: None, redirect: None, proxy: None };
    let shown = sites.iter().map(|(name, site)| match site {
        Site::Folder(path) => Shown { folder: Some(text(&facts.paths.on_host(path))), ..blank(name) },
        Site::Redirect(url) => Shown { redirect: Some(redirect(url)), ..blank(name) },
        Site::Proxy(url) => Shown { proxy: Some(url.clone()), ..blank(name) },
    });
    shown.collect()
}

/// An address without a path gets the path of the request.
fn redirect(url: &str) -> String {
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { url.to_owned() } else { format!("{url}$request_uri") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Address, BoxConfig, DnsMode, HostFacts, Paths};
    use std::process::Command;

    fn facts(paths: Paths, demo: bool) -> PlanFacts {
        let text = "email: a@b.org\nhostname: box.b.org\ndns: box\nsites:\n  b.org: { folder: /srv/b.org }\n  \
                    old.org: { redirect: 'https://b.org' }\n  www.old.org: { redirect: 'https://b.org/old?a=b' }\n  \
                    app.b.org: { proxy: 'http://127.0.0.1:3000' }\n";
        let mut config = BoxConfig::parse(text).unwrap();
        config.demo = demo.then_some(base::config::DemoOptions {
            base_port: 20_000,
            resolver: None,
            remote_smtp_port: 25,
            retry_seconds: None,
        });
        let host = HostFacts { ipv6: Some("2001:db8::1".parse().unwrap()), ..HostFacts::default() };
        PlanFacts {
            config,
            host,
            paths,
            version: "1".into(),
            ssh_ports: vec![22],
            mta_sts_policy: String::new(),
            other_time_keeper: true,
        }
    }

    /// nginx's own opinion, with the paths below a folder where a certificate lies.
    fn judged(facts: &PlanFacts, dir: &std::path::Path) {
        let paths = Paths::under(dir);
        let config = nginx(&PlanFacts { paths: paths.clone(), ..facts.clone() }).unwrap();
        for folder in [paths.tls(), paths.run(), paths.log(), dir.join("etc/nginx")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9"])
            .args(["-subj", "/CN=box.b.org", "-keyout"])
            .arg(dir.join("key"))
            .arg("-out")
            .arg(dir.join("chain"))
            .output()
            .unwrap();
        assert!(made.status.success());
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        std::fs::write(paths.tls_pair(), read("chain") + &read("key")).unwrap();
        // On a live machine its own folders; here only this test's.
        let config = config
            .replace("pid /run/", &format!("pid {}/", dir.display()))
            .replace("/var/log/nginx/", &format!("{}/", dir.display()))
            .replace("include /etc/nginx/modules-enabled/*.conf;", "");
        let file = dir.join("etc/nginx/nginx.conf");
        std::fs::write(&file, &config).unwrap();
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| std::path::Path::new(path).exists());
        let output = Command::new(nginx.expect("nginx is installed")).arg("-t").arg("-c").arg(&file).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && words.contains("test is successful"), "{words}\n{config}");
    }

    #[test]
    fn nginx_takes_what_is_written_for_it_on_a_box_and_in_a_demo() {
        for demo in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            judged(&facts(Paths::live(), demo), dir.path());
        }
    }

    #[test]
    fn a_box_without_sites_and_without_ipv6_is_taken_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut facts = facts(Paths::live(), false);
        let owner = Address::parse("a@b.org").unwrap();
        facts.config = BoxConfig::new(owner, Domain::parse("box.b.org").unwrap(), DnsMode::External);
        facts.host.ipv6 = None;
        judged(&facts, dir.path());
        let config = nginx(&facts).unwrap();
        assert!(!config.contains("[::]") && !config.contains("[::1]"));
    }

    #[test]
    fn the_figures_are_told_to_this_machine_alone() {
        let config = nginx(&facts(Paths::live(), false)).unwrap();
        let all: Vec<&str> = config.lines().filter(|line| line.contains("19725")).map(str::trim).collect();
        assert_eq!(all, ["listen 127.0.0.1:19725;", "listen [::1]:19725;"]);
    }

    #[test]
    fn a_site_answers_under_www_as_well_unless_that_has_one_of_its_own() {
        let shown = sites(&facts(Paths::live(), false));
        let names: Vec<_> = shown.iter().map(|site| site.names.join(" ")).collect();
        assert_eq!(names, ["app.b.org www.app.b.org", "b.org www.b.org", "old.org", "www.old.org"]);
        let redirects: Vec<_> = shown.iter().filter_map(|site| site.redirect.as_deref()).collect();
        assert_eq!(redirects, ["https://b.org$request_uri", "https://b.org/old?a=b"]);
    }
}
