//! The requests of mail programs as they send them.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use std::io::Write;
use std::process::{Command, Stdio};
use tower::ServiceExt;

async fn ask(request: Request<Body>) -> (StatusCode, String, String) {
    let app = router(&Domain::parse("box.example.org").unwrap()).unwrap();
    let answer = app.oneshot(request).await.unwrap();
    let kind = answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let (status, body) = (answer.status(), to_bytes(answer.into_body(), 1 << 20).await.unwrap());
    (status, kind.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

fn get(host: &str, path: &str) -> Request<Body> {
    Request::get(path).header("host", host).header("user-agent", "Mozilla/5.0").body(Body::empty()).unwrap()
}

/// Another program's opinion on the document, and what it finds at a path in it.
fn xpath(document: &str, path: &str) -> String {
    let mut child = Command::new("xmllint")
        .args(["--nonet", "--xpath", path, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("xmllint is installed");
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{path} is not in {document}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn thunderbird_finds_its_servers_at_both_addresses_that_it_tries() {
    for (host, path) in [
        ("autoconfig.example.org", "/mail/config-v1.1.xml?emailaddress=ann%40example.org"),
        ("example.org", "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ann%40example.org"),
        ("autoconfig.example.org", "/mail/config-v1.1.xml"),
    ] {
        let (status, kind, document) = ask(get(host, path)).await;
        assert!(status == StatusCode::OK && kind.starts_with("text/xml"), "{host}{path}");
        let find = |path: &str| xpath(&document, &format!("string({path})"));
        assert_eq!(find("/clientConfig/emailProvider/@id"), "example.org");
        assert_eq!(find("//incomingServer[@type='imap']/hostname"), "box.example.org");
        assert_eq!(find("//incomingServer[@type='imap']/port"), "993");
        assert_eq!(find("//incomingServer[@type='imap']/socketType"), "SSL");
        assert_eq!(find("//outgoingServer[1]/port"), "465");
        assert_eq!(find("//outgoingServer[1]/username"), "%EMAILADDRESS%");
    }
}

/// As Outlook 2016 posts it.
const POX: &str = r#"<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>ann@example.org</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"#;

fn post(path: &str, body: &str) -> Request<Body> {
    let request = Request::post(path).header("host", "autodiscover.example.org").header("content-type", "text/xml");
    request.header("user-agent", "Microsoft Office/16.0").body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn outlook_finds_its_servers_however_it_writes_the_path() {
    for path in ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"] {
        let (status, kind, document) = ask(post(path, POX)).await;
        assert!(status == StatusCode::OK && kind.starts_with("text/xml"), "{path}");
        let find = |kind: &str, field: &str| {
            let step = |name: &str| format!("*[local-name()='{name}']");
            let path = format!("string(//{}[{}='{kind}']/{})", step("Protocol"), step("Type"), step(field));
            xpath(&document, &path)
        };
        assert_eq!(find("IMAP", "Server"), "box.example.org");
        assert_eq!(find("IMAP", "Port"), "993");
        assert_eq!(find("IMAP", "LoginName"), "ann@example.org");
        assert_eq!(find("SMTP", "Port"), "465");
        assert_eq!(find("SMTP", "SSL"), "on");
    }
}

#[tokio::test]
async fn outlook_is_told_in_its_own_form_what_cannot_be_answered() {
    let mobile = POX.replace("outlook/responseschema/2006a", "mobilesync/responseschema/2006");
    for (body, code) in
        [("", "600"), ("<a><EMailAddress>nobody</EMailAddress></a>", "600"), (&mobile, "601"), ("<<<>", "600")]
    {
        let (status, _, document) = ask(post("/autodiscover/autodiscover.xml", body)).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(xpath(&document, "string(//*[local-name()='ErrorCode'])"), code, "{body}");
    }
}

#[tokio::test]
async fn newer_outlooks_are_led_from_json_to_the_settings() {
    let path = "/autodiscover/autodiscover.json?Email=ann%40example.org&Protocol=Autodiscoverv1&RedirectCount=1";
    let (status, kind, text) = ask(get("autodiscover.example.org", path)).await;
    assert!(status == StatusCode::OK && kind.starts_with("application/json"));
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["Protocol"], "Autodiscoverv1");
    assert_eq!(answer["Url"], "https://box.example.org/autodiscover/autodiscover.xml");
    for (query, code) in [
        ("Email=ann%40example.org&Protocol=EWS", "InvalidProtocol"),
        ("Protocol=Autodiscoverv1", "MandatoryParameterMissing"),
    ] {
        let (status, _, text) = ask(get("a.example.org", &format!("/autodiscover/autodiscover.json?{query}"))).await;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(status == StatusCode::BAD_REQUEST && answer["ErrorCode"] == code, "{text}");
    }
}

#[tokio::test]
async fn what_the_asker_writes_comes_back_as_text_and_never_as_markup() {
    let evil = POX.replace("ann@example.org", "&quot;&lt;b&gt;&amp;&quot;@example.org");
    let (_, _, document) = ask(post("/autodiscover/autodiscover.xml", &evil)).await;
    let name = xpath(&document, "string(//*[local-name()='LoginName'])");
    assert!(name.is_empty() || name.contains("<b>"), "{name}: {document}");
    assert!(!document.contains("<b>"));
    let (status, _, page) = ask(get("box.example.org", "/setup?domain=%3Cscript%3Ealert(1)%3C/script%3E")).await;
    assert!(status == StatusCode::OK && !page.contains("<script") && page.contains("not an email address"));
}

#[tokio::test]
async fn the_page_tells_the_same_of_addresses_that_exist_and_of_others() {
    let (_, _, one) = ask(get("box.example.org", "/setup?domain=ann%40example.org")).await;
    let (_, _, other) = ask(get("box.example.org", "/setup?domain=nobody%40example.org")).await;
    assert_eq!(one, other);
    for words in
        ["port 993", "port 465", "/setup/profiles/example.org.mobileconfig", "<svg", "setup?domain=example.org"]
    {
        assert!(one.contains(words), "{words}");
    }
    assert!(!one.contains("<?xml") && !one.contains("<script"));
}
