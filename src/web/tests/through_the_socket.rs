//! The panel as nginx meets it: raw HTTP through its socket, with the real directory behind it.

use base::config::DemoOptions;
use base::{Address, BoxConfig, DnsMode, Domain, Paths, Role, Secret};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixStream};
use wire::directory::{AddAccount, Domains};
use wire::status::{CheckResult, State};

struct Running {
    _dir: tempfile::TempDir,
    paths: Paths,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn cookies(&self) -> Vec<&str> {
        self.head.lines().filter_map(|line| line.strip_prefix("set-cookie: ")).collect()
    }

    /// `name=value` of a cookie that this answer sets.
    fn cookie(&self, name: &str) -> String {
        let found = self.cookies().into_iter().find(|cookie| cookie.starts_with(&format!("{name}=")));
        found
            .and_then(|cookie| cookie.split(';').next())
            .unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .to_owned()
    }

    fn token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"token\" value=\"").expect("a form with a token");
        rest.split('"').next().unwrap().to_owned()
    }

    fn leads_to(&self, place: &str) -> bool {
        self.status == 303 && self.head.lines().any(|line| line == format!("location: {place}"))
    }
}

impl Running {
    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = UnixStream::connect(self.paths.socket(Role::Web, "web")).await.unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: box.example.org\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            text.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes()).await;
        // A server that refuses a body need not read it, and the kernel then resets what is left.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.request("GET", path, &[("Cookie", cookie)], "").await
    }

    async fn login(&self, email: &str, password: &str, from: &str) -> Answer {
        let form = self.get("/admin/login", "").await;
        let body = format!("token={}&email={}&password={}", form.token(), email.replace('@', "%40"), password);
        let cookie = form.cookie("__Host-mailstead-form");
        self.request("POST", "/admin/login", &[("Cookie", &cookie), ("X-Real-IP", from)], &body).await
    }

    async fn session(&self) -> String {
        self.login("ann@example.org", "right-password", "192.0.2.1").await.cookie("__Host-mailstead")
    }

    /// Asks for something whose answer does not end.
    async fn open(&self, path: &str, headers: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.paths.socket(Role::Web, "web")).await.unwrap();
        // As nginx asks.
        let text = format!("GET {path} HTTP/1.0\r\nHost: box.example.org\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    fn results(&self, results: &[CheckResult]) {
        std::fs::create_dir_all(self.paths.checks()).unwrap();
        std::fs::write(self.paths.checks().join("results.json"), serde_json::to_vec(results).unwrap()).unwrap();
    }
}

async fn running() -> Running {
    running_with(|_| {}).await
}

async fn running_with(options: impl FnOnce(&mut BoxConfig)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    std::fs::create_dir_all(paths.etc()).unwrap();
    let ann = Address::parse("ann@example.org").unwrap();
    let mut config = BoxConfig::new(ann.clone(), Domain::parse("box.example.org").unwrap(), DnsMode::Box);
    options(&mut config);
    config.save(&paths).unwrap();
    tokio::spawn(directory::run(paths.clone()));
    tokio::spawn(web::run(paths.clone()));
    let client = wire::Client::new(paths.clone());
    for _ in 0..500 {
        if client.ask(&Domains {}).await.is_ok() && paths.socket(Role::Web, "web").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let password = || Secret::new("right-password");
    let bob = Address::parse("bob@example.org").unwrap();
    client.ask(&AddAccount { address: ann, password: password(), admin: true }).await.unwrap();
    client.ask(&AddAccount { address: bob, password: password(), admin: false }).await.unwrap();
    Running { _dir: dir, paths }
}

fn result(id: &str, state: State, seen: &str, remedy: &str) -> CheckResult {
    CheckResult {
        id: id.into(),
        title: format!("Title of {id}"),
        group: "Mail".into(),
        state,
        seen: seen.into(),
        wanted: "peace".into(),
        why: "Because.".into(),
        mend: None,
        remedy: remedy.into(),
        since: 1,
        checked: base::time::now_unix(),
        flaps: None,
        took_ms: 0,
    }
}

#[tokio::test]
async fn the_owner_logs_in_sees_the_status_and_logs_out() {
    let panel = running().await;
    assert!(panel.get("/admin", "").await.leads_to("/admin/login"));
    let login = panel.login("ann@example.org", "right-password", "192.0.2.1").await;
    assert!(login.leads_to("/admin"), "{}", login.head);
    let session = login.cookie("__Host-mailstead");

    let page = panel.get("/admin", &session).await;
    assert!(page.status == 200 && page.body.contains("No results yet"));
    let attack = "220 <script>alert(1)</script>";
    panel
        .results(&[result("fine", State::Ok, "all is well", ""), result("spf", State::Failed, attack, "Enter <this>")]);
    let page = panel.get("/admin", &session).await;
    assert!(page.body.contains("Enter &lt;this&gt;") && page.body.contains("One thing needs you"));
    assert!(!page.body.contains("<script>") && page.body.matches("<script").count() == 1, "only the panel's own");
    assert!(page.body.find("Title of spf") < page.body.find("Title of fine"));

    let forged = panel.request("POST", "/admin/logout", &[("Cookie", &session)], "token=wrong").await;
    assert_eq!(forged.status, 403);
    assert_eq!(panel.get("/admin", &session).await.status, 200);
    let body = format!("token={}", page.token());
    assert!(panel.request("POST", "/admin/logout", &[("Cookie", &session)], &body).await.leads_to("/admin/login"));
    assert!(panel.get("/admin", &session).await.leads_to("/admin/login"), "the cookie is worth nothing any more");
}

#[tokio::test]
async fn a_wrong_password_and_an_account_that_does_not_administer_get_the_same_answer() {
    let panel = running().await;
    let wrong = panel.login("ann@example.org", "wrong-password", "192.0.2.1").await;
    let no_admin = panel.login("bob@example.org", "right-password", "192.0.2.1").await;
    let trouble = |answer: &Answer| answer.body.split("role=\"alert\">").nth(1).map(|rest| rest[..60].to_owned());
    assert_eq!((wrong.status, no_admin.status), (401, 401));
    assert!(trouble(&wrong).is_some() && trouble(&wrong) == trouble(&no_admin));
    assert!(wrong.cookies().iter().chain(&no_admin.cookies()).all(|cookie| !cookie.starts_with("__Host-mailstead=")));
}

#[tokio::test]
async fn a_login_form_that_was_not_loaded_here_is_refused() {
    let panel = running().await;
    let body = "email=ann%40example.org&password=right-password";
    assert_eq!(panel.request("POST", "/admin/login", &[], body).await.status, 403);
    let (mine, theirs) = (panel.get("/admin/login", "").await, panel.get("/admin/login", "").await);
    let body = format!("token={}&{body}", theirs.token());
    let cookie = mine.cookie("__Host-mailstead-form");
    assert_eq!(panel.request("POST", "/admin/login", &[("Cookie", &cookie)], &body).await.status, 403);
}

#[tokio::test]
async fn cookies_and_headers_keep_the_panel_to_itself() {
    let panel = running().await;
    let session = panel.session().await;
    let login = panel.login("ann@example.org", "right-password", "192.0.2.1").await;
    let cookie = login.cookies().into_iter().find(|cookie| cookie.starts_with("__Host-mailstead=")).unwrap().to_owned();
    for flag in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(flag), "{flag} is not in {cookie}");
    }
    let page = panel.get("/admin", &session).await;
    let policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let own = "; script-src 'self'; connect-src 'self'";
    assert!(page.head.contains(&format!("content-security-policy: {policy}{own}\r\n")), "{}", page.head);
    assert!(page.head.contains("cache-control: no-store"));
    let login = panel.get("/admin/login", "").await;
    assert!(login.head.contains(&format!("content-security-policy: {policy}\r\n")), "{}", login.head);
    let script = panel.get("/admin/status.js", "").await;
    assert!(script.status == 200 && script.head.contains("text/javascript"));
    let style = panel.get("/admin/style.css", "").await;
    assert!(style.status == 200 && style.head.contains("text/css"));
    assert_eq!(panel.get("/admin/other", &session).await.status, 404);
}

#[tokio::test]
async fn guessing_from_one_network_comes_to_a_halt_and_others_still_get_in() {
    let panel = running().await;
    let mut last = 0;
    for _ in 0..12 {
        last = panel.login("nobody@example.org", "guess", "198.51.100.7").await.status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
    let right = panel.login("ann@example.org", "right-password", "198.51.100.7").await;
    assert!(right.status == 429 && right.head.contains("retry-after: "), "also with the right password");
    assert!(panel.login("ann@example.org", "right-password", "192.0.2.1").await.leads_to("/admin"));
}

#[tokio::test]
async fn a_body_beyond_all_measure_is_refused() {
    let panel = running().await;
    let form = panel.get("/admin/login", "").await;
    let body = format!("token={}&email=a&password={}", form.token(), "x".repeat(64 << 10));
    let cookie = form.cookie("__Host-mailstead-form");
    assert_eq!(panel.request("POST", "/admin/login", &[("Cookie", &cookie)], &body).await.status, 413);
}

/// Reads until what came holds all of this, or the other side ends.
async fn read_until(stream: &mut UnixStream, wanted: &[&str]) -> String {
    let mut all = String::new();
    let reading = async {
        while wanted.is_empty() || !wanted.iter().all(|wanted| all.contains(wanted)) {
            let mut piece = [0; 8192];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => all.push_str(std::str::from_utf8(&piece[..count]).unwrap()),
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), reading).await.is_ok();
    assert!(in_time, "{wanted:?} did not come: {all}");
    all
}

fn line(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap() + "\n"
}

#[tokio::test]
async fn an_open_page_is_told_what_a_run_finds_as_it_comes_and_until_the_login_ends() {
    let panel = running().await;
    let session = panel.session().await;
    panel.results(&[result("spf", State::Ok, "well", ""), result("mx", State::Ok, "well", "")]);
    let page = panel.get("/admin", &session).await;
    let (_, rest) = page.body.split_once("data-version=\"").unwrap();
    let version = rest.split('"').next().unwrap();
    let cookie = format!("Cookie: {session}\r\n");
    let mut stream = panel.open(&format!("/admin/events?seen={version}"), &cookie).await;
    let begun = read_until(&mut stream, &["\"running\":false"]).await;
    for header in ["text/event-stream", "x-accel-buffering: no", "cache-control: no-store", "x-frame-options: DENY"] {
        assert!(begun.contains(header), "{header}: {begun}");
    }
    assert!(begun.contains("\"rows\":[]"), "the page has these rows already: {begun}");

    let run = panel.paths.checks().join("run.jsonl");
    let mut lines = line(&wire::status::RunBegun { began: 1, checks: 2 });
    std::fs::write(&run, &lines).unwrap();
    assert!(read_until(&mut stream, &["0 of 2"]).await.contains("\"running\":true"));
    lines += &line(&result("spf", State::Failed, "220 <script>alert(1)</script>", "Enter it"));
    std::fs::write(&run, &lines).unwrap();
    let event = read_until(&mut stream, &["1 of 2", "\n\n"]).await;
    assert!(event.contains("Title of spf") && event.contains("One thing needs you"), "{event}");
    assert!(!event.contains("Title of mx") && !event.contains("<script"), "{event}");
    panel.results(&[result("spf", State::Failed, "220 ", "Enter it"), result("mx", State::Warning, "odd", "Turn it")]);
    std::fs::remove_file(&run).unwrap();
    let event = read_until(&mut stream, &["\"running\":false", "\n\n"]).await;
    assert!(event.contains("Title of mx") && event.contains("id: "), "{event}");

    let body = format!("token={}", page.token());
    panel.request("POST", "/admin/logout", &[("Cookie", &session)], &body).await;
    read_until(&mut stream, &[]).await;
    let mut after = panel.open("/admin/events", &cookie).await;
    assert!(read_until(&mut after, &["\r\n\r\n"]).await.starts_with("HTTP/1.0 401"));
}

#[tokio::test]
async fn the_number_of_pages_that_are_told_is_bounded_and_one_that_closes_makes_room() {
    let panel = running().await;
    let cookie = format!("Cookie: {}\r\n", panel.session().await);
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut stream = panel.open("/admin/events", &cookie).await;
        read_until(&mut stream, &["200 OK", "following"]).await;
        open.push(stream);
    }
    let mut more = panel.open("/admin/events", &cookie).await;
    assert!(read_until(&mut more, &["\r\n\r\n"]).await.contains(" 503 "));
    open.pop();
    let mut answer = String::new();
    for _ in 0..100 {
        let mut next = panel.open("/admin/events", &cookie).await;
        answer = read_until(&mut next, &["\r\n\r\n"]).await;
        if answer.contains(" 200 ") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn the_button_leaves_a_mark_and_not_twice_in_a_row() {
    let panel = running().await;
    std::fs::create_dir_all(panel.paths.web()).unwrap();
    let session = panel.session().await;
    let press = async |token: &str| {
        panel.request("POST", "/admin/look", &[("Cookie", &session)], &format!("token={token}")).await
    };
    assert!(panel.request("POST", "/admin/look", &[], "token=a").await.leads_to("/admin/login"));
    assert_eq!(press("wrong").await.status, 403);
    assert!(!panel.paths.look_again().exists());
    let token = panel.get("/admin", &session).await.token();
    assert!(press(&token).await.leads_to("/admin") && panel.paths.look_again().exists());
    assert!(panel.get("/admin", &session).await.body.contains("about to look again"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    panel.results(&[result("spf", State::Ok, "well", "")]);
    let soon = press(&token).await;
    assert!(soon.status == 429 && soon.head.contains("retry-after: "), "{}", soon.head);
}

/// A resolver that knows one name, and one address of it.
async fn resolver(name: &'static str, address: Ipv4Addr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let asked: Vec<u8> = labels.chain([0, 0, 1, 0, 1]).collect();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            // The name ends at its empty label; type and class follow (RFC 1035 §4.1.2).
            let end = 12 + question[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
            let known = question[12..end].eq_ignore_ascii_case(&asked);
            let mut answer = [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(known), 0, 0, 0, 0]].concat();
            answer.extend(&question[12..end]);
            if known {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address.octets());
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    here
}

/// A box that names `box.example.net` at 127.0.0.77 as its peer, and what greets at that one's port 25.
async fn with_a_peer() -> (Running, TcpListener) {
    let peer = Ipv4Addr::new(127, 0, 0, 77);
    let mail = TcpListener::bind((peer, 0)).await.unwrap();
    let (resolver, port) = (resolver("box.example.net", peer).await, mail.local_addr().unwrap().port());
    let panel = running_with(|config| {
        config.peers = vec![Domain::parse("box.example.net").unwrap()];
        config.demo = Some(DemoOptions {
            base_port: 40_000,
            resolver: Some(resolver),
            remote_smtp_port: port,
            retry_seconds: None,
        });
    });
    (panel.await, mail)
}

const PORTS: &str = "/.well-known/mailstead/ports";

#[tokio::test]
async fn a_peer_is_told_how_its_own_ports_look_from_outside() {
    let (panel, mail) = with_a_peer().await;
    let greets = tokio::spawn(async move {
        let (mut stream, _) = mail.accept().await.unwrap();
        stream.write_all(b"220 box.example.net ESMTP\r\n").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    });
    let peer = [("X-Real-IP", "127.0.0.77")];
    let answer = panel.request("GET", &format!("{PORTS}?ports=25,4190"), &peer, "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let view: wire::view::View = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(view.address.to_string(), "127.0.0.77");
    assert_eq!(view.ports.keys().copied().collect::<Vec<_>>(), [25, 4190]);
    assert_eq!((view.ports[&25].words(), view.ports[&4190].words()), ("open", "refused"));
    assert_eq!(view.greeting.as_deref(), Some("220 box.example.net ESMTP"));
    assert_eq!(greets.await.unwrap(), "QUIT\r\n", "nothing else is said there");
    let all = panel.request("GET", PORTS, &peer, "").await;
    let view: wire::view::View = serde_json::from_str(&all.body).unwrap();
    assert_eq!(view.ports.keys().copied().collect::<Vec<_>>(), wire::view::PORTS);
    assert_eq!(view.ports[&25].words(), "refused", "that server has gone");
}

#[tokio::test]
async fn nobody_but_a_peer_has_ports_looked_at_and_only_those_of_a_box() {
    let (panel, _mail) = with_a_peer().await;
    let ask = async |from: &str, query: &str| {
        panel.request("GET", &format!("{PORTS}{query}"), &[("X-Real-IP", from)], "").await
    };
    let stranger = ask("192.0.2.7", "?ports=25").await;
    assert_eq!(stranger.status, 403);
    assert_eq!(stranger.body, "192.0.2.7 is not an address of a box that this one names in its peers\n");
    assert!(stranger.head.contains("text/plain") && !stranger.body.contains("example.net"));
    let other = ask("127.0.0.77", "?ports=25,22").await;
    assert!(other.status == 400 && other.body.contains("25, 53, 80"), "{}", other.body);
    assert_eq!(ask("127.0.0.77", "?ports=4190").await.status, 200);

    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let options = DemoOptions {
        base_port: 40_000,
        resolver: silent.local_addr().ok(),
        remote_smtp_port: 25,
        retry_seconds: None,
    };
    let lost = running_with(|config| {
        config.peers = vec![Domain::parse("box.example.net").unwrap()];
        config.demo = Some(options);
    });
    let later = lost.await.request("GET", PORTS, &[("X-Real-IP", "127.0.0.77")], "").await;
    assert!(later.status == 503 && later.head.contains("retry-after: "), "nobody is called a stranger unseen");

    let alone = running().await;
    assert_eq!(alone.request("GET", PORTS, &[("X-Real-IP", "127.0.0.1")], "").await.status, 403);
}

#[tokio::test]
async fn a_peer_that_asks_all_the_time_is_told_when_to_come_again() {
    let (panel, _mail) = with_a_peer().await;
    let ask = async || panel.request("GET", &format!("{PORTS}?ports=4190"), &[("X-Real-IP", "127.0.0.77")], "").await;
    for _ in 0..10 {
        assert_eq!(ask().await.status, 200);
    }
    let more = ask().await;
    assert!(more.status == 429 && more.head.contains("retry-after: "), "{}", more.head);
}

#[tokio::test]
async fn a_box_whose_provider_lets_no_mail_out_does_not_blame_its_peers() {
    let (panel, mail) = with_a_peer().await;
    drop(mail);
    let ask = async || {
        let answer = panel.request("GET", &format!("{PORTS}?ports=25"), &[("X-Real-IP", "127.0.0.77")], "").await;
        serde_json::from_str::<wire::view::View>(&answer.body).unwrap().ports[&25].words()
    };
    assert_eq!(ask().await, "refused");
    panel.results(&[result("outbound-25", State::Failed, "no answer", "Ask your provider")]);
    assert_eq!(ask().await, "not from here");
}
