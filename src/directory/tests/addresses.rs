//! Aliases, lists and backup domains as the neighbours meet them: through the socket.

use base::{Address, BoxConfig, DnsMode, Domain, Paths, Secret};
use std::time::Duration;
use wire::Client;
use wire::directory::{
    AddAccount, AddAlias, AddBackupMx, AddDomainAlias, AliasName, AliasRules, Aliases, BackupMx, Domains, Forwarding,
    ListOf, Lists, MaySend, Members, Posting, RemoveAccount, RemoveAlias, RemoveBackupMx, RemoveDomainAlias,
    RemoveList, Resolution, Resolve, SetList, Subscribe, Unsubscribe, Writers,
};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

struct Running {
    _dir: tempfile::TempDir,
    client: Client,
}

/// A directory with ann@ and bob@example.org.
async fn running() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    std::fs::create_dir_all(paths.etc()).unwrap();
    BoxConfig::new(address("ann@example.org"), domain("box.example.org"), DnsMode::Box).save(&paths).unwrap();
    tokio::spawn(directory::run(paths.clone()));
    let client = Client::new(paths);
    for _ in 0..500 {
        if client.ask(&Domains {}).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for name in ["ann@example.org", "bob@example.org"] {
        let add = AddAccount { address: address(name), password: Secret::new("a good password"), admin: true };
        client.ask(&add).await.unwrap();
    }
    Running { _dir: dir, client }
}

impl Running {
    async fn alias(&self, name: &str, targets: &[&str], rules: AliasRules) -> Result<(), String> {
        let targets = targets.iter().map(|target| address(target)).collect();
        let ask = AddAlias { address: name.parse().unwrap(), targets, rules };
        self.client.ask(&ask).await.map_err(|error| error.to_string())
    }

    async fn plain_alias(&self, name: &str, targets: &[&str]) {
        self.alias(name, targets, AliasRules::default()).await.unwrap();
    }

    async fn resolve(&self, to: &str) -> Resolution {
        self.client.ask(&Resolve { address: address(to) }).await.unwrap()
    }

    async fn may_send(&self, account: &str, sender: &str) -> bool {
        self.client.ask(&MaySend { account: address(account), sender: address(sender) }).await.unwrap()
    }
}

fn accounts(names: &[&str]) -> Resolution {
    Resolution::Accounts(names.iter().map(|name| address(name)).collect())
}

#[tokio::test]
async fn an_alias_leads_to_accounts_other_aliases_and_other_servers() {
    let box_ = running().await;
    box_.plain_alias("team@example.org", &["ann@example.org", "bob+work@example.org"]).await;
    box_.plain_alias("all@example.org", &["team@example.org", "Joe+Club@Example.net"]).await;
    assert_eq!(box_.resolve("team+x@example.org").await, accounts(&["ann@example.org", "bob@example.org"]));
    let expected = Forwarding {
        alias: address("all@example.org"),
        accounts: vec![address("ann@example.org"), address("bob@example.org")],
        outside: vec![address("Joe+Club@example.net")],
        writers: Writers::Everyone,
    };
    assert_eq!(box_.resolve("All@example.org").await, Resolution::Alias(expected));

    let refused = async |name: &str, targets: &[&str], words: &str| {
        let told = box_.alias(name, targets, AliasRules::default()).await.unwrap_err();
        assert!(told.contains(words), "{told}");
    };
    refused("team@example.org", &["all@example.org"], "leads back").await;
    refused("self@example.org", &["self@example.org"], "leads back").await;
    refused("x@example.org", &["nobody@example.org"], "neither an account nor an alias").await;
    refused("x@example.org", &[], "between one and 100").await;
    refused("ann@example.org", &["bob@example.org"], "is an account").await;
    refused("a+b@example.org", &["bob@example.org"], "+tag").await;
    let remove = RemoveAlias { address: address("team@example.org").into() };
    let told = box_.client.ask(&remove).await.unwrap_err().to_string();
    assert!(told.contains("all@example.org leads to team@example.org"), "{told}");

    // A chain is followed for five steps, and no longer one can be made.
    box_.plain_alias("a0@example.org", &["joe@example.net"]).await;
    for step in 1..=5 {
        let (name, target) = (format!("a{step}@example.org"), format!("a{}@example.org", step - 1));
        box_.plain_alias(&name, &[&target]).await;
    }
    assert!(matches!(box_.resolve("a5@example.org").await, Resolution::Alias(found) if found.outside.len() == 1));
    refused("a6@example.org", &["a5@example.org"], "through too many").await;
}

#[tokio::test]
async fn an_exact_name_goes_before_the_domains_alias_and_that_before_the_catch_all() {
    let box_ = running().await;
    box_.plain_alias("sales@example.org", &["bob@example.org"]).await;
    box_.plain_alias("@example.org", &["ann@example.org"]).await;
    let rename = AddDomainAlias { from: domain("second.example"), to: domain("example.org") };
    box_.client.ask(&rename).await.unwrap();
    box_.plain_alias("info@second.example", &["bob@example.org"]).await;
    for (to, who) in [
        ("bob@example.org", "bob@example.org"),
        ("sales@example.org", "bob@example.org"),
        ("postmaster@example.org", "ann@example.org"),
        ("whatever@example.org", "ann@example.org"),
        ("info@second.example", "bob@example.org"),
        ("Bob+tag@second.example", "bob@example.org"),
        ("sales@second.example", "bob@example.org"),
        ("abuse@second.example", "ann@example.org"),
        ("whatever@second.example", "ann@example.org"),
    ] {
        assert_eq!(box_.resolve(to).await, accounts(&[who]), "{to}");
    }
    assert!(box_.client.ask(&Domains {}).await.unwrap().contains(&domain("second.example")));
    assert!(box_.may_send("bob@example.org", "bob@second.example").await);
    assert!(!box_.may_send("ann@example.org", "bob@second.example").await);

    for (from, to, words) in [
        ("example.org", "second.example", "is itself an alias"),
        ("third.example", "second.example", "is itself an alias"),
        ("example.org", "example.org", "cannot be"),
        ("third.example", "elsewhere.example", "no account or alias"),
    ] {
        let told =
            box_.client.ask(&AddDomainAlias { from: domain(from), to: domain(to) }).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    box_.client.ask(&RemoveDomainAlias { from: domain("second.example") }).await.unwrap();
    assert_eq!(box_.resolve("bob@second.example").await, Resolution::Unknown);
    box_.client.ask(&RemoveAlias { address: AliasName::CatchAll(domain("example.org")) }).await.unwrap();
    assert_eq!(box_.resolve("whatever@example.org").await, Resolution::Unknown);
}

#[tokio::test]
async fn an_alias_says_who_may_send_as_it_and_who_may_write_to_it() {
    let box_ = running().await;
    box_.plain_alias("open@example.org", &["ann@example.org", "joe@example.net"]).await;
    assert!(box_.may_send("ann@example.org", "open@example.org").await);
    assert!(!box_.may_send("bob@example.org", "open@example.org").await);

    let senders = Some(vec![address("bob@example.org")]);
    let writers = Writers::Listed(vec![address("boss@example.net")]);
    let rules = AliasRules { senders, writers: writers.clone(), until: None };
    box_.alias("press@example.org", &["ann@example.org"], rules.clone()).await.unwrap();
    assert!(box_.may_send("bob@example.org", "press@example.org").await);
    assert!(!box_.may_send("ann@example.org", "press@example.org").await);
    assert!(matches!(box_.resolve("press@example.org").await, Resolution::Alias(found) if found.writers == writers));
    let shown = box_.client.ask(&Aliases {}).await.unwrap();
    let press = shown.iter().find(|alias| alias.address.to_string() == "press@example.org").unwrap();
    assert_eq!((&press.rules, press.ended), (&rules, false));

    let inside = AliasRules { writers: Writers::Inside, ..AliasRules::default() };
    box_.alias("staff@example.org", &["ann@example.org"], inside).await.unwrap();
    assert!(
        matches!(box_.resolve("staff@example.org").await, Resolution::Alias(found) if found.writers == Writers::Inside)
    );

    // When its only sender goes, nobody may send as it: not suddenly everyone behind it.
    box_.client.ask(&RemoveAccount { account: address("bob@example.org") }).await.unwrap();
    assert!(!box_.may_send("ann@example.org", "press@example.org").await);

    let over = AliasRules { until: Some(1), ..AliasRules::default() };
    assert!(box_.alias("x@example.org", &["ann@example.org"], over).await.unwrap_err().contains("past"));
    let stranger = AliasRules { senders: Some(vec![address("zoe@example.net")]), ..AliasRules::default() };
    assert!(box_.alias("x@example.org", &["ann@example.org"], stranger).await.unwrap_err().contains("no account"));
}

#[tokio::test]
async fn a_list_has_members_and_its_address_is_taken() {
    let box_ = running().await;
    let (client, club) = (&box_.client, address("club@lists.example"));
    let set = |name: &str, posting, moderators: Vec<Address>| SetList {
        address: club.clone(),
        name: name.into(),
        posting,
        moderators,
    };
    let ann = address("ann@example.org");
    client.ask(&set("The club", Posting::Members, vec![ann.clone()])).await.unwrap();
    assert_eq!(box_.resolve("Club+unsubscribe@lists.example").await, Resolution::List(club.clone()));
    assert_eq!(box_.resolve("postmaster@lists.example").await, accounts(&["ann@example.org"]));
    assert!(!box_.may_send("ann@example.org", "club@lists.example").await);

    let join = Subscribe { list: club.clone(), member: address("Joe+Club@example.net") };
    assert!(client.ask(&join).await.unwrap());
    assert!(!client.ask(&join).await.unwrap());
    client.ask(&set("Our club", Posting::Moderated, vec![ann.clone(), address("joe@example.net")])).await.unwrap();
    let list = client.ask(&ListOf { address: address("Club+x@lists.example") }).await.unwrap();
    assert_eq!(
        (list.name.as_str(), list.posting, list.members, list.moderators.len()),
        ("Our club", Posting::Moderated, 1, 2)
    );
    assert_eq!(client.ask(&Members { list: club.clone() }).await.unwrap()[0].address, address("joe+club@example.net"));

    let taken = box_.alias("club@lists.example", &["ann@example.org"], AliasRules::default()).await.unwrap_err();
    assert!(taken.contains("is a mailing list"), "{taken}");
    let inside = Subscribe { list: club.clone(), member: club.clone() };
    assert!(client.ask(&inside).await.unwrap_err().to_string().contains("cannot be a member"));
    for (name, moderators, words) in [
        ("", vec![ann.clone()], "1 to 64 characters"),
        ("a <b>", vec![ann.clone()], "none of"),
        ("x", vec![], "between one and 10"),
        ("x", vec![club.clone()], "is none itself"),
    ] {
        let told = client.ask(&set(name, Posting::Open, moderators)).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    let leave = Unsubscribe { list: club.clone(), member: address("JOE+club@example.net") };
    assert!(client.ask(&leave).await.unwrap());
    assert!(!client.ask(&leave).await.unwrap());
    client.ask(&RemoveList { address: club.clone() }).await.unwrap();
    assert!(client.ask(&Lists {}).await.unwrap().is_empty());
    assert_eq!(box_.resolve("club@lists.example").await, Resolution::Elsewhere);
}

#[tokio::test]
async fn a_backup_domain_is_neither_ours_nor_just_anyones() {
    let box_ = running().await;
    let (client, friend) = (&box_.client, domain("friend.example"));
    client.ask(&AddBackupMx { domain: friend.clone(), primary: domain("mx.friend.example") }).await.unwrap();
    let expected = BackupMx { domain: friend.clone(), primary: domain("mx.friend.example") };
    assert_eq!(box_.resolve("joe@friend.example").await, Resolution::BackupFor(expected));
    assert!(!client.ask(&Domains {}).await.unwrap().contains(&friend));
    let own = AddBackupMx { domain: domain("example.org"), primary: domain("mx.friend.example") };
    assert!(client.ask(&own).await.unwrap_err().to_string().contains("a domain of this box"));
    client.ask(&RemoveBackupMx { domain: friend.clone() }).await.unwrap();
    assert_eq!(box_.resolve("joe@friend.example").await, Resolution::Elsewhere);
    assert!(client.ask(&RemoveBackupMx { domain: friend }).await.is_err());
}
