//! The directory as its neighbours meet it: through the socket.

use base::{Address, BoxConfig, DnsMode, Domain, Paths, Secret};
use std::net::IpAddr;
use std::time::Duration;
use wire::Client;
use wire::directory::{
    AddAccount, AddAlias, Aliases, Authenticate, Domains, Login, MaySend, RemoveAccount, RemoveAlias, Resolution,
    Resolve, Service,
};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

struct Running {
    _dir: tempfile::TempDir,
    client: Client,
}

async fn running() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    std::fs::create_dir_all(paths.etc()).unwrap();
    let answers = BoxConfig::new(address("ann@example.org"), Domain::parse("box.example.org").unwrap(), DnsMode::Box);
    answers.save(&paths).unwrap();
    tokio::spawn(directory::run(paths.clone()));
    let client = Client::new(paths);
    for _ in 0..500 {
        if client.ask(&Domains {}).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ann =
        AddAccount { address: address("Ann@example.org"), password: Secret::new("ann's own password"), admin: true };
    client.ask(&ann).await.unwrap();
    Running { _dir: dir, client }
}

async fn login(client: &Client, name: &str, password: &str, from: &str) -> Login {
    let from: IpAddr = from.parse().unwrap();
    let ask =
        Authenticate { login: name.into(), password: Secret::new(password), service: Service::Imap, client: from };
    client.ask(&ask).await.unwrap()
}

async fn resolve(client: &Client, to: &str) -> Resolution {
    client.ask(&Resolve { address: address(to) }).await.unwrap()
}

#[tokio::test]
async fn mail_finds_its_account_by_name_tag_alias_and_required_name() {
    let box_ = running().await;
    let ann = Resolution::Accounts(vec![address("ann@example.org")]);
    for to in
        ["ann@example.org", "ANN+shop@example.org", "postmaster@example.org", "abuse@example.org", "admin@example.org"]
    {
        assert_eq!(resolve(&box_.client, to).await, ann, "{to}");
    }
    assert_eq!(resolve(&box_.client, "nobody@example.org").await, Resolution::Unknown);
    assert_eq!(resolve(&box_.client, "ann@elsewhere.org").await, Resolution::Elsewhere);

    let alias = AddAlias { address: address("sales@second.example"), targets: vec![address("ann@example.org")] };
    box_.client.ask(&alias).await.unwrap();
    assert_eq!(resolve(&box_.client, "sales@second.example").await, ann);
    let domains = box_.client.ask(&Domains {}).await.unwrap();
    assert_eq!(domains.iter().map(Domain::as_str).collect::<Vec<_>>(), ["example.org", "second.example"]);
    assert!(box_.client.ask(&Aliases {}).await.unwrap().iter().any(|alias| alias.required));
}

#[tokio::test]
async fn only_the_right_password_logs_in() {
    let box_ = running().await;
    let granted = Login::Granted { account: address("ann@example.org"), admin: true };
    assert_eq!(login(&box_.client, "ANN@example.org", "ann's own password", "192.0.2.1").await, granted);
    assert_eq!(login(&box_.client, "ann@example.org", "wrong password", "192.0.2.1").await, Login::Denied);
    assert_eq!(login(&box_.client, "not an address", "wrong password", "192.0.2.1").await, Login::Denied);
}

#[tokio::test]
async fn an_account_may_send_as_itself_its_tags_and_its_aliases_only() {
    let box_ = running().await;
    let may = async |sender: &str| {
        box_.client.ask(&MaySend { account: address("ann@example.org"), sender: address(sender) }).await.unwrap()
    };
    assert!(may("ann@example.org").await && may("ann+x@example.org").await && may("postmaster@example.org").await);
    assert!(!may("bob@example.org").await && !may("ann@elsewhere.org").await);
}

#[tokio::test]
async fn an_owners_mistakes_are_told_in_a_sentence_and_change_nothing() {
    let box_ = running().await;
    let client = &box_.client;
    let add = |text: &str, password: &str| AddAccount {
        address: address(text),
        password: Secret::new(password),
        admin: false,
    };
    for (mistake, words) in [
        (client.ask(&add("ann@example.org", "long enough here")).await, "exists already"),
        (client.ask(&add("bob@example.org", "short")).await, "at least 10"),
        (client.ask(&add("bob+x@example.org", "long enough here")).await, "+tag"),
        (client.ask(&RemoveAccount { account: address("ann@example.org") }).await, "owner"),
        (client.ask(&RemoveAccount { account: address("zoe@example.org") }).await, "no account"),
        (client.ask(&RemoveAlias { address: address("postmaster@example.org") }).await, "required"),
        (
            client.ask(&AddAlias { address: address("x@example.org"), targets: vec![address("me@gmail.com")] }).await,
            "not supported yet",
        ),
    ] {
        let told = mistake.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(resolve(client, "bob@example.org").await, Resolution::Unknown);
}
