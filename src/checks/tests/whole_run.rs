//! A whole run on boxes that are in a bad way: every check still has its result.

use base::config::DemoOptions;
use base::{Address, BoxConfig, DnsMode, Domain, Paths};
use checks::State;

fn box_in(dir: &std::path::Path) -> Paths {
    let paths = Paths::under(dir);
    std::fs::create_dir_all(paths.etc()).unwrap();
    std::fs::create_dir_all(paths.state()).unwrap();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_of_which_nothing_runs_says_so_check_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let paths = box_in(dir.path());
    let email = Address::parse("ann@example.org").unwrap();
    let mut config = BoxConfig::new(email, Domain::parse("box.example.org").unwrap(), DnsMode::Box);
    // Nobody listens on the first ports of the machine's reserved range above 1.
    config.demo = Some(DemoOptions { base_port: 2, resolver: None, remote_smtp_port: 25, retry_seconds: None });
    config.save(&paths).unwrap();

    checks::run(paths.clone()).await.unwrap();
    let results = checks::latest(&paths).unwrap().unwrap();
    assert!(results.len() >= 25);
    let state = |id: &str| results.iter().find(|result| result.id == id).unwrap().state;
    for id in ["service-directory", "service-mta", "port-smtp", "port-imaps", "configuration"] {
        assert_eq!(state(id), State::Failed, "{id}");
    }
    assert_eq!(state("spf"), State::Unknown, "it is not known what is wanted");
    assert_eq!(state("firewall"), State::Skipped);
    for result in results.iter().filter(|result| result.state.is_broken()) {
        assert!(!result.seen.is_empty() && !result.wanted.is_empty() && !result.remedy.is_empty(), "{result:?}");
    }
    assert_eq!(checks::exit_code(&results), 2);

    let again = checks::check(paths.clone(), checks::Ask::default(), &mut |_| ()).await.unwrap();
    let since = |results: &[checks::CheckResult]| results.iter().map(|result| result.since).collect::<Vec<_>>();
    assert_eq!(since(&again), since(&results), "nothing changed, so each is still so since the first run");
}

#[tokio::test]
async fn without_readable_answers_that_is_what_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let paths = box_in(dir.path());
    std::fs::write(paths.box_yaml(), "email: ann@example.org\ncolour: red\n").unwrap();
    let results = checks::check(paths, checks::Ask::default(), &mut |_| ()).await.unwrap();
    let configuration = results.iter().find(|result| result.id == "configuration").unwrap();
    assert_eq!(configuration.state, State::Failed);
    assert!(configuration.seen.contains("colour"), "{}", configuration.seen);
    assert!(results.iter().all(|result| result.id == "configuration" || result.state == State::Unknown));
}
