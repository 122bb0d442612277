use super::*;
use crate::records::tests::{facts, find};

fn custom(name: &str, kind: &str, value: &str) -> Custom {
    Custom { name: name.into(), kind: kind.into(), value: value.into(), ttl: 3600, replace: false }
}

fn add(kept: &[Custom], record: Custom) -> Result<Vec<Custom>, String> {
    changed(kept, CustomChange::Add(record), &facts())
}

fn replacing(record: Custom) -> Custom {
    Custom { replace: true, ..record }
}

#[test]
fn records_of_every_kind_can_be_added_and_stand_in_the_zone() {
    let ds = format!("4711 13 2 {}", "AB".repeat(32));
    let all = [
        ("shop.example.org", "A", "192.0.2.9", "192.0.2.9"),
        ("shop.example.org", "aaaa", "2001:DB8::9", "2001:db8::9"),
        ("example.org", "CAA", "0 issue \"other.example\"", "0 issue \"other.example\""),
        ("blog.example.org.", "CNAME", "host.example.net.", "host.example.net."),
        ("lab.example.org", "NS", "ns1.lab.example.net.", "ns1.lab.example.net."),
        ("lab.example.org", "DS", &ds, &ds),
        ("list.example.org", "MX", "10 mx.example.net.", "10 mx.example.net."),
        ("_x._tcp.example.org", "SRV", "0 1 443 host.example.net.", "0 1 443 host.example.net."),
        ("*.example.org", "TXT", "\"hello (world); again\"", "hello (world); again"),
        ("example.org", "TXT", "google-site-verification=AbC", "google-site-verification=AbC"),
    ];
    let mut kept = Vec::new();
    for (name, kind, value, _) in all {
        kept = add(&kept, custom(name, kind, value)).unwrap_or_else(|why| panic!("{name} {kind}: {why}"));
    }
    let records = ZoneFacts { custom: kept, ..facts() }.records();
    for (name, kind, _, wanted) in all {
        let name = name.trim_end_matches('.');
        let found = find(&records, name, &kind.to_uppercase());
        assert!(found.iter().any(|value| value.eq_ignore_ascii_case(wanted)), "{name} {kind}: {found:?}");
    }
}

#[test]
fn what_is_no_record_is_refused_in_a_sentence() {
    for (name, kind, value, word) in [
        ("shop.example.org", "A", "192.0.2.256", "such as 192.0.2.1"),
        ("shop.example.org", "A", "192.0.2.1\nevil.example.org. 60 IN A 192.0.2.2", "one line"),
        ("shop.example.org", "A", "192.0.2.1 ; x", "not a value"),
        ("shop.example.org", "AAAA", "192.0.2.1", "such as 2001"),
        ("shop.example.org", "MX", "mx.example.net.", "such as"),
        ("shop.example.org", "RRSIG", "x", "cannot be added"),
        ("shop.example.org", "SOA", "x", "cannot be added"),
        ("shop example.org", "A", "192.0.2.1", "not a name"),
        ("shop.elsewhere.example", "A", "192.0.2.1", "in no zone of this box; it has: example.org"),
        ("example.org", "CNAME", "x.example.net.", "can have no CNAME"),
        ("x.example.org", "DS", "1 13 2 ABCD", "no NS records"),
    ] {
        let why = add(&[], custom(name, kind, value)).unwrap_err();
        assert!(why.contains(word), "{name} {kind} {value}: {why}");
    }
    let short = Custom { ttl: 1, ..custom("shop.example.org", "A", "192.0.2.9") };
    assert!(add(&[], short).unwrap_err().contains("TTL"));
}

#[test]
fn nothing_of_the_boxs_own_is_replaced_silently_and_what_mail_depends_on_never() {
    for (name, kind, value) in [
        ("example.org", "A", "192.0.2.9"),
        ("www.example.org", "CNAME", "host.example.net."),
        ("example.org", "TXT", "v=spf1 mx include:other.example -all"),
        ("_imaps._tcp.example.org", "SRV", "0 1 993 other.example."),
        ("autoconfig.example.org", "A", "192.0.2.9"),
    ] {
        let why = add(&[], custom(name, kind, value)).unwrap_err();
        assert!(why.contains("--replace"), "{name} {kind}: {why}");
        let kept = add(&[], replacing(custom(name, kind, value))).unwrap();
        let records = ZoneFacts { custom: kept, ..facts() }.records();
        let seen = find(&records, name, kind);
        assert_eq!(seen.iter().filter(|seen| **seen == value).count(), 1, "{seen:?}");
        if kind != "TXT" {
            assert_eq!(seen.len(), 1, "{seen:?}");
        }
    }
    let key = "v=DKIM1; p=x";
    for (name, kind, value) in [
        ("box.example.org", "A", "192.0.2.9"),
        ("ns1.box.example.org", "A", "192.0.2.9"),
        ("box.example.org", "CNAME", "host.example.net."),
        ("example.org", "MX", "10 other.example."),
        ("ms1._domainkey.example.org", "TXT", key),
        ("_dmarc.example.org", "TXT", "v=DMARC1; p=none"),
        ("mta-sts.example.org", "CNAME", "host.example.net."),
        ("_25._tcp.box.example.org", "TLSA", &format!("3 1 1 {}", "00".repeat(32))),
    ] {
        let why = add(&[], replacing(custom(name, kind, value))).unwrap_err();
        assert!(why.contains("cannot be replaced"), "{name} {kind}: {why}");
    }
    // With www elsewhere nothing of the box's own is left at the name.
    let kept = add(&[], replacing(custom("www.example.org", "CNAME", "host.example.net."))).unwrap();
    let records = ZoneFacts { custom: kept, ..facts() }.records();
    assert_eq!(records.iter().filter(|one| one.name == "www.example.org").count(), 1);
}

#[test]
fn a_cname_stands_alone_and_nothing_below_a_delegation() {
    let kept = add(&[], custom("blog.example.org", "CNAME", "host.example.net.")).unwrap();
    assert!(add(&kept, custom("blog.example.org", "A", "192.0.2.9")).unwrap_err().contains("CNAME"));
    assert!(add(&kept, custom("blog.example.org", "CNAME", "other.example.net.")).unwrap_err().contains("dns set"));
    let kept = add(&[], custom("lab.example.org", "NS", "ns.example.net.")).unwrap();
    assert!(add(&kept, custom("a.lab.example.org", "A", "192.0.2.9")).unwrap_err().contains("led to other"));
    assert!(add(&kept, custom("lab.example.org", "A", "192.0.2.9")).unwrap_err().contains("led to other"));
    let kept = add(&[], custom("a.lab.example.org", "A", "192.0.2.9")).unwrap();
    assert!(add(&kept, custom("lab.example.org", "NS", "ns.example.net.")).unwrap_err().contains("below"));
}

#[test]
fn records_are_set_and_removed_by_name_kind_and_value() {
    let kept = add(&[], custom("shop.example.org", "A", "192.0.2.9")).unwrap();
    let kept = add(&kept, custom("shop.example.org", "A", "192.0.2.10")).unwrap();
    assert!(add(&kept, custom("Shop.Example.org", "A", "192.0.2.10")).unwrap_err().contains("already"));
    let kept =
        changed(&kept, CustomChange::Set(vec![custom("shop.example.org", "A", "192.0.2.11")]), &facts()).unwrap();
    assert_eq!(kept.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), ["192.0.2.11"]);
    let remove = |kind: Option<&str>, value: Option<&str>| CustomChange::Remove {
        name: "shop.example.org".into(),
        kind: kind.map(Into::into),
        value: value.map(Into::into),
    };
    assert!(changed(&kept, remove(Some("AAAA"), None), &facts()).unwrap_err().contains("no such record"));
    assert!(changed(&kept, remove(Some("a"), Some("192.0.2.12")), &facts()).is_err());
    assert_eq!(changed(&kept, remove(None, None), &facts()).unwrap(), []);
}

#[test]
fn a_generated_record_that_comes_later_wins_over_an_added_one() {
    let kept = vec![custom("_dmarc.example.org", "TXT", "v=DMARC1; p=none"), custom("gone.example", "A", "192.0.2.9")];
    let records = ZoneFacts { custom: kept, ..facts() }.records();
    assert_eq!(find(&records, "_dmarc.example.org", "TXT").len(), 1);
    assert!(find(&records, "gone.example", "A").is_empty());
}
