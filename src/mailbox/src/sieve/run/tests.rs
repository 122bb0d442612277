//! Scripts run against messages; each test is named after what an owner would notice.

use super::*;
use crate::sieve::language::{check, runtime};

const MAIL: &str = "From: Bob <bob@example.net>\r\nTo: ann@example.org\r\nSubject: Invoice 7\r\nMessage-ID: <1@example.net>\r\n\r\nHello Ann\r\n";

struct House {
    _dir: tempfile::TempDir,
    account: Account,
}

impl House {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::open(dir.path()).unwrap();
        let house = Self { _dir: dir, account };
        house.put("main", script);
        Scripts::of(&house.account).set_active(Some(&ScriptName::parse("main").unwrap())).unwrap();
        house
    }

    fn put(&self, name: &str, script: &str) {
        assert_eq!(check(script.as_bytes()), Ok(()), "{script}");
        Scripts::of(&self.account).put(&ScriptName::parse(name).unwrap(), script.as_bytes()).unwrap();
    }

    fn run_from(&self, sender: &str, message: &str, now: u64) -> Ran {
        let (account, recipient) = (address("ann@example.org"), address("ann+shop@example.org"));
        let delivery = Delivery {
            account: &account,
            recipient: &recipient,
            sender,
            message: message.as_bytes(),
            hostname: "box.example.org",
            now,
        };
        let ran = active(&runtime(), &self.account, &delivery).unwrap();
        if let Some(plan) = ran.as_ref().ok().filter(|plan| !plan.remember.is_empty()) {
            Records::open(Scripts::of(&self.account).dir()).unwrap().remember(&plan.remember, now).unwrap();
        }
        ran
    }

    fn run(&self, message: &str) -> Ran {
        self.run_from("bob@example.net", message, 1_000)
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn folders(plan: &Plan) -> Vec<String> {
    plan.copies.iter().map(|copy| copy.folder.to_string()).collect()
}

fn plan(script: &str, message: &str) -> Plan {
    House::new(script).run(message).unwrap()
}

fn words(script: &str, message: &str) -> String {
    House::new(script).run(message).unwrap_err().words
}

#[test]
fn without_a_script_mail_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::open(dir.path()).unwrap();
    let house = House { _dir: dir, account };
    assert_eq!(house.run(MAIL), Ok(Plan::keep()));
}

#[test]
fn mail_is_filed_and_flagged() {
    let script = "require [\"fileinto\", \"imap4flags\", \"copy\", \"mailbox\"];\r\n\
        if header :contains \"subject\" \"invoice\" { fileinto :copy :create :flags [\"\\\\Seen\", \"$Bill paid\"] \"Bills\"; }";
    let plan = plan(script, MAIL);
    assert_eq!(folders(&plan), ["Bills", "INBOX"]);
    assert!(plan.copies[0].create && plan.copies[0].flags == Flags::SEEN);
    assert_eq!(plan.copies[0].keywords.iter().collect::<Vec<_>>(), ["$Bill", "paid"]);
}

#[test]
fn a_folder_of_a_special_use_is_found_by_its_use() {
    let script = "require [\"fileinto\", \"special-use\"];\r\n\
        if specialuse_exists \"\\\\Archive\" { fileinto :specialuse \"\\\\archive\" \"Nowhere\"; }";
    assert_eq!(folders(&plan(script, MAIL)), ["Archive"]);
}

#[test]
fn a_folder_that_is_not_there_is_told_and_the_mail_stays() {
    let words = words("require \"fileinto\";\r\nfileinto \"Nowhere\";", MAIL);
    assert!(words.contains("no folder “Nowhere”"), "{words}");
}

#[test]
fn the_tag_of_an_address_can_be_tested() {
    let script = "require [\"envelope\", \"subaddress\", \"fileinto\"];\r\n\
        if envelope :detail \"to\" \"shop\" { fileinto \"Archive\"; }";
    assert_eq!(folders(&plan(script, MAIL)), ["Archive"]);
}

#[test]
fn variables_regular_expressions_and_dates_work() {
    let script = "require [\"variables\", \"regex\", \"fileinto\", \"mailbox\", \"date\", \"relational\", \"body\"];\r\n\
        if allof (header :regex \"subject\" \"^Invoice ([0-9]+)$\", currentdate :value \"ge\" \"year\" \"2020\",\r\n\
        body :contains \"hello ann\") { set :upper \"x\" \"n${1}x\"; fileinto :create \"Bill-${x}\"; }";
    assert_eq!(folders(&plan(script, MAIL)), ["Bill-N7X"]);
}

#[test]
fn headers_are_edited_in_the_stored_copy_but_not_those_of_the_box() {
    let script = "require \"editheader\";\r\naddheader \"X-Seen\" \"yes\";\r\ndeleteheader \"Subject\";\r\naddheader \"Received\" \"from nowhere\";";
    let plan = plan(script, MAIL);
    let Bytes::Made(bytes) = &plan.copies[0].bytes else { panic!("not edited") };
    let text = String::from_utf8_lossy(bytes);
    assert!(text.contains("X-Seen: yes") && !text.contains("Subject:") && !text.contains("Received:"), "{text}");
    assert!(text.ends_with("\r\n\r\nHello Ann\r\n"), "{text}");
}

#[test]
fn a_refusal_stands_alone() {
    let refused = plan("require \"ereject\";\r\nereject \"no thanks\";", MAIL);
    assert_eq!((refused.refusal.as_deref(), refused.copies.len()), (Some("no thanks"), 0));
    let words = words("require [\"reject\", \"fileinto\"];\r\nfileinto \"Archive\";\r\nreject \"no\";", MAIL);
    assert!(words.contains("reject"), "{words}");
}

#[test]
fn mail_is_redirected_but_not_when_it_was_here_before() {
    let script = "require \"copy\";\r\nredirect :copy \"ann@example.com\";";
    let sent = plan(script, MAIL);
    assert_eq!(
        (sent.redirects[0].to.clone(), folders(&sent)),
        (vec![address("ann@example.com")], vec!["INBOX".into()])
    );
    let away = plan("redirect \"ann@example.com\";", MAIL);
    assert_eq!((away.redirects.len(), away.copies.len()), (1, 0));
    let again = plan("redirect \"ann@example.com\";", &format!("Delivered-To: ann@example.org\r\n{MAIL}"));
    assert_eq!((again.redirects.len(), folders(&again)), (0, vec!["INBOX".into()]));
    let hops =
        plan("redirect \"ann@example.com\";", &format!("{}{MAIL}", "Received: x\r\n".repeat(limits::SIEVE_HOPS)));
    assert_eq!((hops.redirects.len(), folders(&hops)), (0, vec!["INBOX".into()]));
}

#[test]
fn redirects_are_counted_in_a_delivery_and_in_a_day() {
    let many: String = (0..10).map(|n| format!("redirect \"a{n}@example.com\";\r\n")).collect();
    assert_eq!(plan(&many, MAIL).redirects.len(), limits::SIEVE_REDIRECTS);
    let house = House::new("redirect \"ann@example.com\";");
    for _ in 0..limits::SIEVE_REDIRECTS_PER_DAY {
        assert_eq!(house.run(MAIL).unwrap().redirects.len(), 1);
    }
    assert!(house.run(MAIL).unwrap_err().words.contains("in a day"));
    assert_eq!(house.run_from("bob@example.net", MAIL, 1_000 + 86_401).unwrap().redirects.len(), 1);
}

const AWAY: &str = "require \"vacation\";\r\nvacation :days 3 :subject \"Away: Grüße\" \"I am away.\";";

#[test]
fn each_sender_is_told_once_that_the_owner_is_away() {
    let house = House::new(AWAY);
    let first = house.run(MAIL).unwrap();
    assert_eq!(folders(&first), ["INBOX"]);
    let [notice] = first.notices.as_slice() else { panic!("{first:?}") };
    assert_eq!(notice.to, [address("bob@example.net")]);
    let Bytes::Made(bytes) = &notice.bytes else { panic!("no text") };
    let text = String::from_utf8_lossy(bytes);
    assert!(
        text.contains("Auto-Submitted: auto-replied\r\n") && text.contains("In-Reply-To: <1@example.net>"),
        "{text}"
    );
    assert!(text.contains("From: ann@example.org\r\n") && text.contains("Subject: =?utf-8?B?"), "{text}");
    assert!(text.contains("I am away."));
    assert!(house.run(MAIL).unwrap().notices.is_empty());
    assert_eq!(house.run_from("cec@example.net", MAIL, 1_000).unwrap().notices.len(), 1);
    assert!(house.run_from("bob@example.net", MAIL, 1_000 + 3 * 86_400 - 1).unwrap().notices.is_empty());
    assert_eq!(house.run_from("bob@example.net", MAIL, 1_000 + 3 * 86_400).unwrap().notices.len(), 1);
}

#[test]
fn lists_robots_reports_and_mail_to_others_get_no_vacation_notice() {
    for header in ["Precedence: bulk", "Precedence: list", "Auto-Submitted: auto-replied", "List-Id: <x.example.net>"] {
        let plan = plan(AWAY, &format!("{header}\r\n{MAIL}"));
        assert!(plan.notices.is_empty() && folders(&plan) == ["INBOX"], "{header}");
    }
    let house = House::new(AWAY);
    for sender in ["", "owner-x@example.net", "MAILER-DAEMON@example.net", "ann@example.org"] {
        assert!(house.run_from(sender, MAIL, 1_000).unwrap().notices.is_empty(), "{sender}");
    }
    assert!(plan(AWAY, &MAIL.replace("To: ann@example.org", "To: team@example.net")).notices.is_empty());
    let addressed = AWAY.replace(":days 3", ":days 3 :addresses \"ann@example.com\"");
    assert_eq!(plan(&addressed, &MAIL.replace("To: ann@example.org", "To: ann@example.com")).notices.len(), 1);
}

#[test]
fn nobody_writes_lines_of_their_own_into_an_answer() {
    let script = "require \"vacation\";\r\nvacation \"I am away.\";";
    let evil = MAIL.replace("Invoice 7", "=?utf-8?q?x=0D=0A=0D=0AI_am_somebody_else?=");
    assert!(plan(script, &evil).notices.is_empty());
}

#[test]
fn duplicates_are_noticed_for_as_long_as_was_asked() {
    let script = "require \"duplicate\";\r\nif duplicate :seconds 600 { discard; }";
    let house = House::new(script);
    assert_eq!(folders(&house.run(MAIL).unwrap()), ["INBOX"]);
    assert!(house.run(MAIL).unwrap().copies.is_empty());
    assert_eq!(folders(&house.run_from("bob@example.net", MAIL, 1_600).unwrap()), ["INBOX"]);
}

#[test]
fn owners_are_notified_by_mail_and_in_no_other_way() {
    let script = "require \"enotify\";\r\nnotify :message \"You have mail\" \"mailto:ann.phone@example.com\";";
    let plan = plan(script, MAIL);
    assert_eq!(plan.notices[0].to, [address("ann.phone@example.com")]);
    let Bytes::Made(bytes) = &plan.notices[0].bytes else { panic!("no text") };
    let text = String::from_utf8_lossy(bytes);
    assert!(text.contains("Auto-Submitted: auto-notified") && text.contains("Subject: You have mail"), "{text}");
    assert_eq!(folders(&plan), ["INBOX"]);
}

#[test]
fn scripts_include_each_other_within_bounds() {
    let house = House::new("require [\"include\", \"fileinto\"];\r\ninclude \"sub\";\r\ninclude :optional \"none\";");
    house.put("sub", "require \"fileinto\";\r\nfileinto \"Archive\";");
    assert_eq!(folders(&house.run(MAIL).unwrap()), ["Archive"]);
    house.put("sub", "require \"include\";\r\ninclude \"main\";");
    assert!(house.run(MAIL).unwrap_err().words.contains("include each other"));
    assert!(words("require \"include\";\r\ninclude \"none\";", MAIL).contains("no script “none”"));
}

#[test]
fn a_failure_tells_its_line_and_undoes_what_came_before() {
    let script = "require [\"ihave\", \"fileinto\"];\r\nfileinto \"Archive\";\r\nif ihave \"x\" { keep; }\r\nfrobnicate \"x\";\r\n";
    let fault = House::new(script).run(MAIL).unwrap_err();
    assert!(fault.script == "main" && fault.words.starts_with("line 4"), "{fault:?}");
    let fault = words("require \"ihave\";\r\nerror \"on purpose\";", MAIL);
    assert!(fault.contains("on purpose"));
}

#[test]
fn a_message_is_filed_into_a_folder_once() {
    let plan = plan("require \"fileinto\";\r\nfileinto \"Archive\";\r\nfileinto \"Archive\";\r\nkeep;\r\nkeep;", MAIL);
    assert_eq!(folders(&plan), ["Archive", "INBOX"]);
}

#[test]
fn any_message_goes_through_a_script_of_everything() {
    let script = "require [\"variables\", \"regex\", \"editheader\", \"vacation\", \"body\", \"mime\", \"foreverypart\", \"date\"];\r\n\
        if header :regex \"subject\" \"(.*)\" { addheader \"X-A\" \"${1}\"; }\r\n\
        foreverypart { if header :mime :contains \"content-type\" \"x\" { keep; } }\r\n\
        if date :is \"date\" \"year\" \"2020\" { keep; }\r\nif body :raw :contains \"x\" { keep; }\r\nvacation \"x ${1}\";";
    let house = House::new(script);
    let message = "(\r\n|[A-Za-z-]{1,9}: |=\\?utf-8\\?q\\?=0D=0A|[a-zé@<>;.\" ]{0,9}){0,20}";
    proptest::proptest!(|(message in message)| {
        proptest::prop_assert!(house.run(&message).is_ok());
    });
}

#[test]
fn a_message_of_endless_parts_is_not_given_to_a_script() {
    let script = "require [\"mime\", \"foreverypart\"];\r\nforeverypart { if header :mime :anychild :is \"x\" \"y\" { discard; } }";
    let house = House::new(script);
    let part = |n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    let nested: String = (0..5_000).map(part).collect();
    assert!(house.run(&nested).unwrap_err().words.contains("parts"));
    let few: String = (0..50).map(part).collect();
    assert!(house.run(&few).is_ok());
    let comments = format!("From: {}a@b.org\r\n\r\n", "(".repeat(100_000));
    assert!(house.run(&comments).is_ok());
}
