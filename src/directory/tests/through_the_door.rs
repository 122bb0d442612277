//! The directory as its neighbours meet it: through the socket.

use base::{Address, BoxConfig, DnsMode, Domain, Paths, Secret};
use std::net::IpAddr;
use std::time::Duration;
use wire::Client;
use wire::directory::{
    AccountQuota, Accounts, AddAccount, AddAlias, AddAppPassword, AliasRules, Aliases, AppPasswords, Authenticate,
    ConfirmSecondFactor, Domains, EnterPanel, Login, MakeSecondFactor, MaySend, QuotaOf, QuotaScope, Quotas,
    RemoveAccount, RemoveAlias, RemoveAppPassword, RemoveSecondFactor, RemovedAccounts, Resolution, Resolve,
    RestoreAccount, ScramChallenge, ScramLogin, ScramOffered, ScramVerify, Service, SetQuota,
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
    login_to(client, Service::Imap, name, password, from).await
}

async fn login_to(client: &Client, service: Service, name: &str, password: &str, from: &str) -> Login {
    let from: IpAddr = from.parse().unwrap();
    let ask = Authenticate { login: name.into(), password: Secret::new(password), service, client: from };
    client.ask(&ask).await.unwrap()
}

async fn app_password(client: &Client, name: &str) -> Secret {
    client.ask(&AddAppPassword { account: address("ann@example.org"), name: name.into() }).await.unwrap()
}

/// The client's side of an exchange (RFC 5802 §3). Returns the outcome and the signature that the server is to show.
async fn scram(client: &Client, name: &str, password: &str, from: &str) -> (ScramLogin, Vec<u8>) {
    let from: IpAddr = from.parse().unwrap();
    let begun = client.ask(&ScramChallenge { login: name.into(), client: from }).await.unwrap();
    let mac = |key: &[u8], data: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        aws_lc_rs::hmac::sign(&key, data).as_ref().to_vec()
    };
    let mut salted = [0; 32];
    let rounds = begun.iterations.try_into().unwrap();
    let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
    aws_lc_rs::pbkdf2::derive(algorithm, rounds, &begun.salt, password.as_bytes(), &mut salted);
    let auth_message = format!("n={name},r=abc,r=abcdef,s=…,i={},c=biws,r=abcdef", begun.iterations);
    let client_key = mac(&salted, b"Client Key");
    let stored_key = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &client_key);
    let signature = mac(stored_key.as_ref(), auth_message.as_bytes());
    let client_proof = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    let expected = mac(&mac(&salted, b"Server Key"), auth_message.as_bytes());
    let ask = ScramVerify { login: name.into(), auth_message, client_proof, service: Service::Imap, client: from };
    (client.ask(&ask).await.unwrap(), expected)
}

fn add_alias(name: &str, targets: Vec<Address>) -> AddAlias {
    AddAlias { address: address(name).into(), targets, rules: AliasRules::default() }
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

    let alias = add_alias("sales@second.example", vec![address("ann@example.org")]);
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
        (client.ask(&RemoveAlias { address: address("postmaster@example.org").into() }).await, "required"),
        (client.ask(&add_alias("x@example.org", vec![address("zoe@example.org")])).await, "neither an account"),
    ] {
        let told = mistake.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(resolve(client, "bob@example.org").await, Resolution::Unknown);
}

#[tokio::test]
async fn an_app_password_opens_everything_but_the_panel() {
    let box_ = running().await;
    let (client, ann) = (&box_.client, address("ann@example.org"));
    let (phone, laptop) = (app_password(client, "phone").await, app_password(client, " laptop ").await);
    let granted = Login::Granted { account: ann.clone(), admin: true };
    for service in [Service::Imap, Service::Pop3, Service::ManageSieve, Service::Submission] {
        for password in [&phone, &laptop] {
            assert_eq!(login_to(client, service, "Ann@example.org", password.expose(), "192.0.2.1").await, granted);
        }
    }
    assert_eq!(enter(client, phone.expose(), "").await, Login::Denied);
    assert_eq!(enter(client, "ann's own password", "").await, granted);

    let listed = client.ask(&AppPasswords { account: ann.clone() }).await.unwrap();
    assert_eq!(listed.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["laptop", "phone"]);
    assert!(listed.iter().all(|kept| kept.last_used.is_some_and(|day| day % 86_400 == 0 && day <= kept.created)));
    client.ask(&RemoveAppPassword { account: ann.clone(), name: "phone".into() }).await.unwrap();
    assert_eq!(login(client, "ann@example.org", phone.expose(), "192.0.2.1").await, Login::Denied);
    assert_eq!(login(client, "ann@example.org", laptop.expose(), "192.0.2.1").await, granted);
}

#[tokio::test]
async fn scram_lets_in_by_any_app_password_and_by_no_other() {
    let box_ = running().await;
    let (client, ann) = (&box_.client, address("ann@example.org"));
    assert!(!client.ask(&ScramOffered {}).await.unwrap());
    let (phone, laptop) = (app_password(client, "phone").await, app_password(client, "laptop").await);
    assert!(client.ask(&ScramOffered {}).await.unwrap());
    for password in [&phone, &laptop] {
        let (outcome, expected) = scram(client, "ann@example.org", password.expose(), "192.0.2.1").await;
        let granted = ScramLogin::Granted { account: ann.clone(), admin: true, server_signature: expected };
        assert_eq!(outcome, granted);
    }
    for (name, password) in
        [("ann@example.org", "ann's own password"), ("zoe@example.org", phone.expose()), ("ann", phone.expose())]
    {
        assert_eq!(scram(client, name, password, "192.0.2.1").await.0, ScramLogin::Denied, "{name}");
    }
}

#[tokio::test]
async fn a_scram_challenge_does_not_tell_who_exists() {
    let box_ = running().await;
    let client = &box_.client;
    let challenge = async |name: &str| {
        client.ask(&ScramChallenge { login: name.into(), client: "192.0.2.1".parse().unwrap() }).await.unwrap()
    };
    let without = challenge("ann@example.org").await;
    app_password(client, "phone").await;
    let (ann, zoe) = (challenge("ann@example.org").await, challenge("zoe@example.org").await);
    assert_eq!(challenge("ANN+tag@example.org").await, ann);
    assert_eq!(challenge("zoe@example.org").await, zoe);
    assert_eq!((ann.iterations, ann.salt.len()), (zoe.iterations, zoe.salt.len()));
    assert!(ann.salt != zoe.salt && without.salt != ann.salt && challenge("no address").await.salt != zoe.salt);
}

#[tokio::test]
async fn guessing_by_scram_is_slowed_like_guessing_by_password() {
    let box_ = running().await;
    let client = box_.client.clone();
    let mut guesses = tokio::task::JoinSet::new();
    for guess in 0..12 {
        let client = client.clone();
        guesses.spawn(async move { scram(&client, "ann@example.org", &format!("guess {guess}"), "203.0.113.7").await });
    }
    guesses.join_all().await;
    assert!(matches!(login(&client, "ann@example.org", "x", "203.0.113.7").await, Login::Throttled { .. }));
    let (outcome, _) = scram(&client, "ann@example.org", "x", "203.0.113.7").await;
    assert!(matches!(outcome, ScramLogin::Throttled { retry_after_seconds } if retry_after_seconds > 0));
}

#[tokio::test]
async fn an_app_password_has_a_name_of_its_own_and_a_bound() {
    let box_ = running().await;
    let ann = address("ann@example.org");
    let add = async |name: &str| box_.client.ask(&AddAppPassword { account: ann.clone(), name: name.into() }).await;
    add("phone").await.unwrap();
    for (name, words) in [("phone", "already"), (" ", "device"), ("a\nb", "device"), (&"x".repeat(65), "device")] {
        let told = add(name).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    for device in 1..50 {
        add(&format!("device {device}")).await.unwrap();
    }
    assert!(add("one more").await.unwrap_err().to_string().contains("50 app passwords"));
    let gone = RemoveAppPassword { account: ann.clone(), name: "tablet".into() };
    assert!(box_.client.ask(&gone).await.unwrap_err().to_string().contains("no app password"));
}

#[tokio::test]
async fn an_accounts_own_quota_goes_before_the_default_and_its_domains_stands_beside_it() {
    let box_ = running().await;
    let (client, ann) = (&box_.client, address("ann@example.org"));
    let of_ann = async || client.ask(&QuotaOf { account: address("Ann+x@example.org") }).await.unwrap();
    let set = async |scope: QuotaScope, bytes: Option<u64>| client.ask(&SetQuota { scope, bytes }).await;
    assert_eq!(of_ann().await, AccountQuota::default());
    let domain = QuotaScope::Domain(ann.domain().clone());
    set(QuotaScope::Account(ann.clone()), Some(3 << 30)).await.unwrap();
    set(domain.clone(), Some(20 << 30)).await.unwrap();
    set(QuotaScope::Default, Some(5 << 30)).await.unwrap();
    set(QuotaScope::Default, Some(6 << 30)).await.unwrap();
    assert_eq!(of_ann().await, AccountQuota { account_bytes: Some(3 << 30), domain_bytes: Some(20 << 30) });
    let scopes: Vec<_> = client.ask(&Quotas {}).await.unwrap().into_iter().map(|rule| rule.scope).collect();
    assert_eq!(scopes, [QuotaScope::Default, domain.clone(), QuotaScope::Account(ann.clone())]);

    set(QuotaScope::Account(ann.clone()), None).await.unwrap();
    set(domain, None).await.unwrap();
    assert_eq!(of_ann().await, AccountQuota { account_bytes: Some(6 << 30), domain_bytes: None });
    for (scope, bytes, words) in [
        (QuotaScope::Account(address("zoe@example.org")), Some(5 << 30), "no account"),
        (QuotaScope::Domain(Domain::parse("elsewhere.org").unwrap()), Some(5 << 30), "elsewhere.org"),
        (QuotaScope::Account(ann.clone()), None, "no quota"),
        (QuotaScope::Default, Some(5), "at least"),
        (QuotaScope::Default, Some(u64::MAX), "at most"),
    ] {
        let told = set(scope, bytes).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn a_removed_account_comes_back_with_its_password_quota_and_aliases() {
    let box_ = running().await;
    let (client, ann, bob) = (&box_.client, address("ann@example.org"), address("bob@example.org"));
    let add = |password: &str| AddAccount { address: bob.clone(), password: Secret::new(password), admin: false };
    client.ask(&add("bob's own password")).await.unwrap();
    for alias in ["sales@example.org", "team@example.org"] {
        let targets = vec![ann.clone(), bob.clone()];
        client.ask(&add_alias(alias, targets)).await.unwrap();
    }
    client.ask(&SetQuota { scope: QuotaScope::Account(bob.clone()), bytes: Some(5 << 30) }).await.unwrap();
    client.ask(&RemoveAccount { account: bob.clone() }).await.unwrap();
    client.ask(&RemoveAlias { address: address("team@example.org").into() }).await.unwrap();
    assert_eq!(login(client, "bob@example.org", "bob's own password", "192.0.2.1").await, Login::Denied);
    assert_eq!(resolve(client, "sales@example.org").await, Resolution::Accounts(vec![ann.clone()]));
    assert!(client.ask(&Quotas {}).await.unwrap().is_empty());
    let removed = client.ask(&RemovedAccounts {}).await.unwrap();
    assert_eq!((removed.len(), removed[0].purged - removed[0].removed), (1, 30 * 86_400));

    // Somebody else has the address meanwhile.
    client.ask(&add("another one's password")).await.unwrap();
    let restore = RestoreAccount { account: bob.clone() };
    assert!(client.ask(&restore).await.unwrap_err().to_string().contains("given to a new account meanwhile"));
    client.ask(&RemoveAccount { account: bob.clone() }).await.unwrap();
    client.ask(&restore).await.unwrap();

    client.ask(&RemoveAccount { account: bob.clone() }).await.unwrap();
    assert_eq!(client.ask(&RemovedAccounts {}).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_brought_back_is_as_it_was() {
    let box_ = running().await;
    let (client, ann, bob) = (&box_.client, address("ann@example.org"), address("bob@example.org"));
    let password = Secret::new("bob's own password");
    client.ask(&AddAccount { address: bob.clone(), password, admin: true }).await.unwrap();
    for alias in ["sales@example.org", "team@example.org"] {
        let targets = vec![ann.clone(), bob.clone()];
        client.ask(&add_alias(alias, targets)).await.unwrap();
    }
    client.ask(&SetQuota { scope: QuotaScope::Account(bob.clone()), bytes: Some(5 << 30) }).await.unwrap();
    let phone = AddAppPassword { account: bob.clone(), name: "phone".into() };
    let phone = client.ask(&phone).await.unwrap();
    client.ask(&RemoveAccount { account: bob.clone() }).await.unwrap();
    client.ask(&RemoveAlias { address: address("team@example.org").into() }).await.unwrap();

    let restored = client.ask(&RestoreAccount { account: bob.clone() }).await.unwrap();
    assert_eq!(restored.aliases, [address("sales@example.org").into()]);
    let granted = Login::Granted { account: bob.clone(), admin: true };
    assert_eq!(login(client, "bob@example.org", "bob's own password", "192.0.2.1").await, granted);
    assert_eq!(login(client, "bob@example.org", phone.expose(), "192.0.2.1").await, Login::Denied);
    assert_eq!(resolve(client, "sales@example.org").await, Resolution::Accounts(vec![ann, bob.clone()]));
    assert_eq!(client.ask(&QuotaOf { account: bob.clone() }).await.unwrap().account_bytes, Some(5 << 30));
    assert!(client.ask(&RemovedAccounts {}).await.unwrap().is_empty());
    let again = client.ask(&RestoreAccount { account: bob }).await.unwrap_err().to_string();
    assert!(again.contains("last 30 days"), "{again}");
}

async fn enter(client: &Client, password: &str, code: &str) -> Login {
    let (password, code) = (Secret::new(password), Secret::new(code));
    let ask = EnterPanel { login: "ann@example.org".into(), password, code, client: "192.0.2.7".parse().unwrap() };
    client.ask(&ask).await.unwrap()
}

/// The code that an app shows some steps from now (RFC 6238), by another implementation than the directory's.
fn code(key: &Secret, steps: i64) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = key.expose().bytes().map(|letter| letters.iter().position(|one| *one == letter).unwrap());
    let bits: Vec<usize> = bits.flat_map(|five| (0..5).rev().map(move |bit| five >> bit & 1)).collect();
    let raw: Vec<u8> = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | *bit as u8)).collect();
    let step = i64::try_from(base::time::now_unix() / 30).unwrap() + steps;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &raw);
    let signed = aws_lc_rs::hmac::sign(&key, &step.to_be_bytes());
    let signed = signed.as_ref();
    let at = usize::from(signed[19] & 15);
    let number = u32::from_be_bytes(signed[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn with_a_second_factor_the_panel_opens_by_a_fresh_code_alone_and_mail_as_before() {
    let box_ = running().await;
    let (client, ann, password) = (&box_.client, address("ann@example.org"), "ann's own password");
    let granted = Login::Granted { account: ann.clone(), admin: true };
    assert_eq!(enter(client, password, "").await, granted);
    let key = client.ask(&MakeSecondFactor { account: ann.clone() }).await.unwrap();
    // It does not count before a code of it was shown.
    assert_eq!(enter(client, password, "").await, granted);
    let confirm = async |code: String| {
        client.ask(&ConfirmSecondFactor { account: address("ann@example.org"), code: Secret::new(code) }).await
    };
    let wrong = confirm("000000x".into()).await.unwrap_err();
    assert!(wrong.is_invalid() && wrong.to_string().contains("clock"), "{wrong}");
    confirm(code(&key, -1)).await.unwrap();
    assert!(
        client.ask(&Accounts {}).await.unwrap().iter().any(|account| account.address == ann && account.second_factor)
    );

    assert_eq!(enter(client, password, "").await, Login::Denied);
    assert_eq!(enter(client, "not her password", &code(&key, 0)).await, Login::Denied);
    let now = code(&key, 0);
    assert_eq!(enter(client, password, &now).await, granted);
    assert_eq!(enter(client, password, &now).await, Login::Denied, "a code lets in once");
    assert_eq!(enter(client, password, &code(&key, 5)).await, Login::Denied);
    assert_eq!(login(client, "ann@example.org", password, "192.0.2.7").await, granted);

    let again = client.ask(&MakeSecondFactor { account: ann.clone() }).await.unwrap_err();
    assert!(again.to_string().contains("second-factor remove"), "{again}");
    client.ask(&RemoveSecondFactor { account: ann.clone() }).await.unwrap();
    assert_eq!(enter(client, password, "").await, granted);
    assert!(client.ask(&RemoveSecondFactor { account: ann }).await.unwrap_err().is_not_found());
}
