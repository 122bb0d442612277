//! The filter as its neighbours meet it: through the socket, with a directory that knows one domain and no DNS.

use base::{Address, BoxConfig, DnsMode, Domain, Paths, Role};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::filter::{
    Action, DkimKeys, DmarcEvidence, DropDkimKeys, EnsureKeys, Judge, Learn, MakeDkimKeys, ReportShow, Reports, Seal,
    Sign, TakeReport, TakeSnapshot, UseDkimKeys,
};
use wire::{Answer, Client, Kind, Refusal, Serve, directory};

struct OneDomain;

impl Serve for OneDomain {
    type Request = directory::Request;
    async fn answer(&self, _: Role, request: Self::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            directory::Request::Domains(ask) => ask.answer(vec![domain("example.org")]),
            _ => Err(Refusal::new(Kind::Invalid, "not asked for here")),
        }
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

async fn running() -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    std::fs::create_dir_all(paths.etc()).unwrap();
    let owner = Address::parse("ann@example.org").unwrap();
    let mut config = BoxConfig::new(owner, domain("box.example.org"), DnsMode::Box);
    let resolver = Some(broken_resolver().await);
    config.demo = Some(base::config::DemoOptions { base_port: 9, resolver, remote_smtp_port: 25, retry_seconds: None });
    config.save(&paths).unwrap();
    let fake = paths.clone();
    tokio::spawn(async move { wire::serve(&fake, Arc::new(OneDomain)).await });
    tokio::spawn(filter::run(paths.clone()));
    let client = Client::new(paths);
    for _ in 0..500 {
        if client.ask(&DkimKeys { domains: vec![] }).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (dir, client)
}

/// A resolver that answers every question with SERVFAIL.
async fn broken_resolver() -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            question[2] |= 0x80;
            question[3] = 2;
            socket.send_to(&question[..length], from).await.unwrap();
        }
    });
    address
}

fn from_loopback() -> Judge {
    Judge {
        client: "127.0.0.1".parse().unwrap(),
        helo: "mail.peer.org".into(),
        sender: Address::parse("x@peer.org").ok(),
        recipients: vec![],
        tls: true,
        notes: Vec::new(),
    }
}

const LETTER: &[u8] = b"From: x@peer.org\r\nDate: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@peer.org>\r\nSubject: minutes\r\n\r\nThanks, I think the patch to the kernel project list was fine.\r\n";

#[tokio::test]
async fn keys_are_made_once_and_both_sign() {
    let (_dir, client) = running().await;
    let domains = vec![domain("example.org")];
    assert_eq!(client.ask(&EnsureKeys { domains: domains.clone() }).await.unwrap().len(), 1);
    assert!(client.ask(&EnsureKeys { domains: domains.clone() }).await.unwrap().is_empty());
    let keys = client.ask(&DkimKeys { domains }).await.unwrap();
    assert!(keys[0].txt.starts_with("v=DKIM1; k=rsa; p=MIIB") && keys[1].txt.starts_with("v=DKIM1; k=ed25519; p="));
    let (signed, _) = client.ask_with_body(&Sign { domain: domain("example.org") }, LETTER).await.unwrap();
    assert_eq!(signed.headers.matches("DKIM-Signature:").count(), 2);
    assert!(signed.headers.contains("a=rsa-sha256") && signed.headers.contains("a=ed25519-sha256"));
}

#[tokio::test]
async fn keys_follow_one_another_and_each_signs_under_its_own_selectors() {
    let (_dir, client) = running().await;
    let domain = domain("example.org");
    let domains = vec![domain.clone()];
    client.ask(&EnsureKeys { domains: domains.clone() }).await.unwrap();
    let next = MakeDkimKeys { domain: domain.clone(), generation: 2 };
    client.ask(&next).await.unwrap();
    let made = client.ask(&DkimKeys { domains: domains.clone() }).await.unwrap();
    let signing: Vec<_> = made.iter().map(|key| (key.selector.as_str(), key.signing)).collect();
    assert_eq!(signing, [("ms1", true), ("ms1e", true), ("ms2", false), ("ms2e", false)]);
    client.ask(&next).await.unwrap();
    assert_eq!(client.ask(&DkimKeys { domains: domains.clone() }).await.unwrap(), made, "made once");
    let sign = Sign { domain: domain.clone() };
    let (signed, _) = client.ask_with_body(&sign, LETTER).await.unwrap();
    assert!(signed.headers.contains("s=ms1;") && signed.headers.contains("s=ms1e;"), "{}", signed.headers);
    let drop = |generation| DropDkimKeys { domain: domain.clone(), generation };
    assert!(client.ask(&drop(1)).await.is_err(), "the keys that sign stay");
    assert!(client.ask(&UseDkimKeys { domain: domain.clone(), generation: 9 }).await.is_err(), "there are none");
    client.ask(&UseDkimKeys { domain: domain.clone(), generation: 2 }).await.unwrap();
    let (signed, _) = client.ask_with_body(&sign, LETTER).await.unwrap();
    assert!(signed.headers.contains("s=ms2;") && signed.headers.contains("s=ms2e;"), "{}", signed.headers);
    client.ask(&drop(1)).await.unwrap();
    client.ask(&drop(1)).await.unwrap();
    let left = client.ask(&DkimKeys { domains }).await.unwrap();
    assert_eq!(left.iter().map(|key| key.selector.as_str()).collect::<Vec<_>>(), ["ms2", "ms2e"]);
}

#[tokio::test]
async fn spam_goes_to_junk_and_a_letter_does_not_even_without_dns() {
    let (_dir, client) = running().await;
    let (verdict, _) = client.ask_with_body(&from_loopback(), LETTER).await.unwrap();
    assert_eq!(verdict.action, Action::Accept, "{verdict:?}");
    assert!(verdict.headers.contains("Authentication-Results: box.example.org"));
    let gtube = [LETTER, b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"].concat();
    let (verdict, _) = client.ask_with_body(&from_loopback(), &gtube).await.unwrap();
    assert_eq!(verdict.action, Action::Junk);
}

#[tokio::test]
async fn what_a_reader_moves_to_junk_is_known_next_time() {
    let (_dir, client) = running().await;
    let letter = b"From: x@peer.org\r\nSubject: greenhouse\r\n\r\nTomatoes basil cucumbers pumpkins zucchini lettuce radish.\r\n";
    let words = async || {
        let (verdict, _) = client.ask_with_body(&from_loopback(), letter).await.unwrap();
        verdict.reasons.into_iter().find(|reason| reason.rule == "words").unwrap()
    };
    let before = words().await.score;
    let learn = Learn { account: Address::parse("ann@example.org").unwrap(), spam: true };
    client.ask_with_body(&learn, letter).await.unwrap();
    let after = words().await;
    assert!(after.score > before, "{before} became {after:?}");
}

/// Has Debian's dkimpy look at a message, with the public key at hand instead of the DNS. Gives what it says.
fn dkimpy(folder: &std::path::Path, message: &str, key: &str) -> Option<String> {
    let program = "
import sys, dkim
message, key = open(sys.argv[1], 'rb').read(), open(sys.argv[2], 'rb').read()
asked = []
def dns(name, timeout=5):
    asked.append(name)
    return key
cv, sets, why = dkim.arc_verify(message, dnsfunc=dns)
print(cv.decode(), len(sets), b''.join(sorted(set(asked))).decode(), why)
";
    std::fs::write(folder.join("message"), message).unwrap();
    std::fs::write(folder.join("key"), key).unwrap();
    let mut command = std::process::Command::new("/usr/bin/python3");
    let output = command.args(["-c", program]).arg(folder.join("message")).arg(folder.join("key")).output().ok()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("No module named 'dkim'") {
        return None;
    }
    assert!(output.status.success(), "{err}");
    Some(out.into_owned())
}

#[tokio::test]
async fn a_message_that_is_passed_on_is_sealed_so_that_dkimpy_believes_it() {
    let (dir, client) = running().await;
    let seal = Seal { domain: domain("example.org"), as_received: 0 };
    let found = "Authentication-Results: box.example.org;\r\n\tspf=pass smtp.mailfrom=x@peer.org;\r\n\tdmarc=pass header.from=peer.org\r\n";
    let received = format!("{found}{}", String::from_utf8_lossy(LETTER));
    let set = client.ask_with_body(&seal, received.as_bytes()).await.unwrap().0.headers;
    assert!(set.starts_with("ARC-Seal: i=1; a=rsa-sha256; s=ms1; d=example.org; cv=none;"), "{set}");
    assert!(set.contains("ARC-Authentication-Results: i=1;\r\n\tbox.example.org;\r\n\tspf=pass"), "{set}");
    let keys = client.ask(&DkimKeys { domains: vec![domain("example.org")] }).await.unwrap();
    let sealed = format!("{set}{received}");
    let Some(said) = dkimpy(dir.path(), &sealed, &keys[0].txt) else {
        eprintln!("python3-dkim is not installed; nothing was compared");
        return;
    };
    assert!(said.starts_with("pass 1 ms1._domainkey.example.org"), "{said}");
    let spoilt = dkimpy(dir.path(), &sealed.replace("Thanks", "Thank"), &keys[0].txt).unwrap();
    assert!(spoilt.starts_with("fail"), "{spoilt}");
    let lied = dkimpy(dir.path(), &sealed.replace("dmarc=pass header", "dmarc=fail header"), &keys[0].txt).unwrap();
    assert!(lied.starts_with("fail"), "{lied}");

    // A list changes what it passes on: its seal covers what goes out, and tells how the chain stood before.
    let changed = received.replace("Subject: minutes", "Subject: minutes\r\nList-Id: <club.example.org>");
    let both = format!("{received}{changed}");
    let as_received = received.len() as u64;
    let ask = Seal { domain: domain("example.org"), as_received };
    let set = client.ask_with_body(&ask, both.as_bytes()).await.unwrap().0.headers;
    let said = dkimpy(dir.path(), &format!("{set}{changed}"), &keys[0].txt).unwrap();
    assert!(said.starts_with("pass 1"), "{said}");

    // The keys of this chain cannot be had here (the resolver is broken): it is not marked as broken for that.
    let next = client.ask_with_body(&seal, sealed.as_bytes()).await.unwrap().0.headers;
    assert_eq!(next, "");
}

#[tokio::test]
async fn a_report_is_taken_told_and_in_the_backup_and_other_mail_is_not_a_report() {
    let (_dir, client) = running().await;
    let take = TakeReport { authenticated: true };
    let refused = client.ask_with_body(&take, LETTER).await.unwrap_err();
    assert!(matches!(&refused, wire::WireError::Refused(it) if it.kind == Kind::Invalid), "{refused}");
    let xml = "<feedback><report_metadata><org_name>peer.org</org_name><report_id>1</report_id><date_range>\
        <begin>1795132800</begin><end>1795219199</end></date_range></report_metadata><policy_published>\
        <domain>example.org</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.25</source_ip>\
        <count>12</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf>\
        </policy_evaluated></row><identifiers><header_from>example.org</header_from></identifiers></record></feedback>";
    let message = format!("Subject: report\r\nContent-Type: application/xml\r\n\r\n{xml}\r\n");
    let (taken, _) = client.ask_with_body(&take, message.as_bytes()).await.unwrap();
    assert_eq!((taken.good, taken.bad), (12, 0));
    assert_eq!(client.ask(&Reports {}).await.unwrap(), std::slice::from_ref(&taken));
    let detail = client.ask(&ReportShow { id: taken.id }).await.unwrap();
    assert!(detail.sources[0].dkim && !detail.sources[0].spf);
    let own = vec!["192.0.2.25".parse().unwrap()];
    let evidence = DmarcEvidence { domain: domain("example.org"), own, since: 1_795_000_000 };
    assert_eq!(client.ask(&evidence).await.unwrap().own_aligned, 12);
    let copy = client.ask(&TakeSnapshot {}).await.unwrap().file.with_file_name("reports.db.snapshot");
    let copied = rusqlite::Connection::open(copy).unwrap();
    assert_eq!(copied.query_row("SELECT count(*) FROM report", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}
