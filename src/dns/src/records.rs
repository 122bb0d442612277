//! Every record that the box's domains need, each with its reason. Pure.

use crate::custom::{self, Custom};
use base::{Domain, HostFacts};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use wire::directory::{Relay, RelayScope};
use wire::dns::{DmarcPolicy, Need, Record};
use wire::filter::DkimKey;

/// An hour: long enough to be cached, short enough to mend a mistake in.
pub const TTL: u32 = 3600;
/// Before a planned change: what is changed is seen everywhere five minutes later.
pub const SHORT_TTL: u32 = 300;

/// Where the box speaks TLS from the first octet or by STARTTLS. ManageSieve clients know no DANE.
const DANE_PORTS: [u16; 6] = [25, 443, 465, 587, 993, 995];

/// All that the records follow from.
#[derive(Debug, Clone)]
pub struct ZoneFacts {
    pub hostname: Domain,
    pub host: HostFacts,
    /// The domains that get mail here.
    pub domains: Vec<Domain>,
    pub dkim: Vec<DkimKey>,
    /// SHA-256 of the public keys that are served now, next or were just before, in hexadecimal (RFC 7671 §8).
    pub tls_keys: Vec<String>,
    /// The authorities that may issue certificates; none where one of them cannot be named.
    pub authorities: Vec<Authority>,
    /// The relays, for those of whose addresses mail is sent.
    pub relays: Vec<Relay>,
    /// How strict DMARC is; domains that are not named are not strict.
    pub dmarc: BTreeMap<Domain, DmarcPolicy>,
    /// The names under which the box serves sites.
    pub sites: Vec<Domain>,
    /// Where a domain's logo lies (BIMI), an `https` address of an SVG file.
    pub logos: BTreeMap<Domain, base::config::Logo>,
    /// Other servers that answer for the zones.
    pub secondaries: Vec<Domain>,
    /// Whether a change of addresses is planned, so that nobody may keep them for long.
    pub moving: bool,
    /// What the owner added, and names whose addresses change.
    pub custom: Vec<Custom>,
    /// The DS values of zones of the box that lie within another of its zones.
    pub inner: BTreeMap<Domain, Vec<String>>,
}

/// Who issues certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its name in CAA records.
    pub name: String,
    /// The box's account there (RFC 8657 §3), once there is one.
    pub account: Option<String>,
}

impl ZoneFacts {
    /// The zones: one for each mail domain, and one for the hostname when it lies in none of them.
    pub fn zones(&self) -> Vec<Domain> {
        let mut zones = self.domains.clone();
        if !zones.iter().any(|zone| self.hostname.is_within(zone)) {
            zones.push(self.hostname.clone());
        }
        zones.sort();
        zones.dedup();
        zones
    }

    /// The zone that a name's records stand in: the closest.
    pub fn zone_of(&self, name: &str) -> Option<Domain> {
        let within = |zone: &Domain| name == zone.as_str() || name.ends_with(&format!(".{zone}"));
        let zones = self.zones().into_iter().filter(within);
        zones.max_by_key(|zone| zone.as_str().len())
    }

    /// Every record of every zone, zone by zone.
    pub fn records(&self) -> Vec<Record> {
        let mut all = custom::merged(self.generated(), &self.custom, self);
        for site in &self.sites {
            let more = self.site(site, &all);
            all.extend(more);
        }
        all
    }

    /// What leads to a site, unless the owner led its name elsewhere. Not among the generated records, so the owner can add
    /// an address of another machine as to any free name.
    fn site(&self, site: &Domain, all: &[Record]) -> Vec<Record> {
        let name = site.as_str();
        let Some(zone) = self.zone_of(name) else { return Vec::new() };
        let is_cut = |record: &Record| {
            record.kind == "NS"
                && record.name != zone.as_str()
                && Domain::parse(&record.name).is_ok_and(|cut| site.is_within(&cut))
        };
        let leads = |record: &Record| record.name == name && matches!(record.kind.as_str(), "A" | "AAAA" | "CNAME");
        if all.iter().any(|record| leads(record) || is_cut(record)) {
            return Vec::new();
        }
        let mut list = List { zone, records: Vec::new() };
        self.addresses(&mut list, name, Need::Recommended, "The site of this name (box.yaml) is on this box.");
        list.nothing_sent_from(name, Need::Optional);
        list.records.retain(|new| !all.iter().any(|there| there.name == new.name && there.kind == new.kind));
        list.records
    }

    /// Every record that follows from the facts alone.
    pub fn generated(&self) -> Vec<Record> {
        let host_zone = self.zone_of(self.hostname.as_str());
        let mut all = Vec::new();
        for zone in self.zones() {
            let mut list = List { zone: zone.clone(), records: Vec::new() };
            self.name_servers(&mut list);
            if host_zone.as_ref() == Some(&zone) {
                self.host(&mut list);
            }
            if self.domains.contains(&zone) {
                self.mail(&mut list);
                self.transport(&mut list);
                self.clients(&mut list);
                self.no_mail(&mut list);
            }
            self.delegate(&mut list);
            all.append(&mut list.records);
        }
        all
    }

    /// How long addresses may be kept.
    fn address_ttl(&self) -> u32 {
        if self.moving { SHORT_TTL } else { TTL }
    }

    fn name_servers(&self, list: &mut List) {
        let apex = list.zone.to_string();
        for server in self.servers() {
            list.add(&apex, "NS", &server, Need::BoxOnly, "This server answers for the zone.");
        }
    }

    /// The names of the servers that answer for the zones: this box by its two, and the secondaries.
    fn servers(&self) -> Vec<String> {
        let own = ["ns1", "ns2"].map(|server| format!("{server}.{}.", self.hostname));
        own.into_iter().chain(self.secondaries.iter().map(|server| format!("{server}."))).collect()
    }

    /// A zone of the box within another of its zones: the outer one leads to it.
    fn delegate(&self, list: &mut List) {
        for inner in self.zones() {
            let outer = inner.as_str().split_once('.').and_then(|(_, above)| self.zone_of(above));
            if outer.as_ref() != Some(&list.zone) {
                continue;
            }
            for server in self.servers() {
                list.add(inner.as_str(), "NS", &server, Need::BoxOnly, "Leads to the zone of its own below this one.");
            }
            for value in self.inner.get(&inner).into_iter().flatten() {
                let why = "Vouches for the key of the zone below this one (RFC 4034 §5).";
                list.add(inner.as_str(), "DS", value, Need::BoxOnly, why);
            }
        }
    }

    fn host(&self, list: &mut List) {
        let host = self.hostname.to_string();
        let why = "The box's own name; mail servers and clients connect to it, and the PTR must say the same.";
        self.addresses(list, &host, Need::Required, why);
        for server in ["ns1", "ns2"] {
            let name = format!("{server}.{host}");
            self.addresses(list, &name, Need::BoxOnly, "The name server's address (glue).");
            list.nothing_sent_from(&name, Need::BoxOnly);
        }
        if !self.domains.contains(&self.hostname) {
            let why = "Bounces are sent under the box's own name; only the box may use it.";
            list.add(&host, "TXT", "v=spf1 a -all", Need::Recommended, why);
            list.add(&host, "MX", "0 .", Need::Optional, "Nobody has an address at the box's own name (RFC 7505).");
            let why = "Mail in the box's own name that is not from the box is to be refused (DMARC, RFC 7489).";
            list.add(&format!("_dmarc.{host}"), "TXT", "v=DMARC1; p=reject", Need::Optional, why);
        }
        for port in DANE_PORTS {
            let why = match port {
                25 => "Senders that check DANE deliver only to the server with this key (RFC 7672); needs DNSSEC.",
                _ => "Programs that check DANE accept only this key here (RFC 6698); needs DNSSEC.",
            };
            for key in &self.tls_keys {
                list.add(&format!("_{port}._tcp.{host}"), "TLSA", &format!("3 1 1 {key}"), Need::Optional, why);
            }
        }
        for key in &self.host.ssh_host_keys {
            if let Some(value) = sshfp(key) {
                list.add(&host, "SSHFP", &value, Need::Optional, "Lets ssh verify the box's key (RFC 4255).");
            }
        }
        if !self.domains.contains(&list.zone) {
            self.issuers(list);
        }
    }

    /// CAA: RFC 8659, with the account and the ways of validation of RFC 8657.
    fn issuers(&self, list: &mut List) {
        let apex = list.zone.to_string();
        for Authority { name, account } in &self.authorities {
            let account = account.as_ref().map_or_else(String::new, |uri| format!("; accounturi={uri}"));
            let why = "Only this authority may issue certificates for the domain, and only for the box's account there \
                       (RFC 8659, RFC 8657).";
            let value = format!("0 issue \"{name}; validationmethods=http-01,dns-01{account}\"");
            list.add(&apex, "CAA", &value, Need::Optional, why);
            let why = "A certificate for all names at once only by proof in the DNS (RFC 8659 §4.3).";
            let value = format!("0 issuewild \"{name}; validationmethods=dns-01{account}\"");
            list.add(&apex, "CAA", &value, Need::Optional, why);
        }
        if !self.authorities.is_empty() {
            let why = "Where an authority tells of a request that it refused (RFC 8659 §4.4).";
            list.add(&apex, "CAA", &format!("0 iodef \"mailto:hostmaster@{apex}\""), Need::Optional, why);
        }
    }

    fn mail(&self, list: &mut List) {
        let apex = list.zone.to_string();
        let www = format!("www.{apex}");
        self.addresses(list, &apex, Need::Optional, "The bare domain leads to this box.");
        self.addresses(list, &www, Need::Optional, "The domain's web site is on this box, unless you say otherwise.");
        let why = "Mail for the domain is delivered to this box.";
        list.add(&apex, "MX", &format!("10 {}.", self.hostname), Need::Required, why);
        let (spf, why) = self.spf(&list.zone);
        list.add(&apex, "TXT", &spf, Need::Required, why);
        let zone = list.zone.clone();
        if let Some(logo) = self.logos.get(&zone) {
            let why = "Mail programs that know BIMI show this logo beside the domain's mail, once its DMARC policy is strict.";
            list.add(
                &format!("default._bimi.{apex}"),
                "TXT",
                &format!("v=BIMI1; l={};", logo.as_str()),
                Need::Optional,
                why,
            );
        }
        for key in self.dkim.iter().filter(|key| key.domain == zone) {
            let name = format!("{}._domainkey.{apex}", key.selector);
            let (need, why) = match key.signing {
                true => (
                    Need::Required,
                    "Receivers verify the signature that the box puts on every message (DKIM, RFC 6376).",
                ),
                false => (
                    Need::Recommended,
                    "The key before or after the one that signs, so that both are known (DKIM, RFC 6376).",
                ),
            };
            list.add(&name, "TXT", &key.txt, need, why);
        }
        let why = "Says what receivers are to do with mail that SPF and DKIM do not show to be the domain's, and where to \
                   report it; large providers ask for it (DMARC, RFC 7489).";
        let value = crate::dmarc::record(&list.zone, self.dmarc.get(&list.zone).copied().unwrap_or_default());
        list.add(&format!("_dmarc.{apex}"), "TXT", &value, Need::Required, why);
    }

    fn transport(&self, list: &mut List) {
        let apex = list.zone.to_string();
        let id = crate::policy::mta_sts_id(&self.hostname);
        let why = "Senders that look for it deliver only over verified TLS (MTA-STS, RFC 8461).";
        list.add(&format!("_mta-sts.{apex}"), "TXT", &format!("v=STSv1; id={id}"), Need::Recommended, why);
        self.addresses(list, &format!("mta-sts.{apex}"), Need::Recommended, "The MTA-STS policy is fetched from here.");
        let value = format!("v=TLSRPTv1; rua=mailto:{}@{apex}", wire::filter::REPORTS_NAME);
        let why = "Asks senders to report failures of TLS (RFC 8460).";
        list.add(&format!("_smtp._tls.{apex}"), "TXT", &value, Need::Optional, why);
        self.issuers(list);
    }

    fn clients(&self, list: &mut List) {
        let apex = list.zone.to_string();
        let mail = "Mail programs find the server by it (RFC 6186, RFC 8314).";
        let scripts = "Mail programs find by it where filter scripts are kept (RFC 5804 §1.8).";
        let services = [
            ("_submissions", 465, mail),
            ("_submission", 587, mail),
            ("_imaps", 993, mail),
            ("_pop3s", 995, mail),
            ("_sieve", 4190, scripts),
        ];
        for (service, port, why) in services {
            let value = format!("0 1 {port} {}.", self.hostname);
            list.add(&format!("{service}._tcp.{apex}"), "SRV", &value, Need::Optional, why);
        }
        for service in ["_imap", "_pop3"] {
            let why = "Says that this service is not offered (RFC 6186 §3.4).";
            list.add(&format!("{service}._tcp.{apex}"), "SRV", "0 0 0 .", Need::Optional, why);
        }
        for service in ["_caldav", "_caldavs", "_carddav", "_carddavs"] {
            let why = "Says that calendars and address books are not kept here (RFC 6764 §3, RFC 2782).";
            list.add(&format!("{service}._tcp.{apex}"), "SRV", "0 0 0 .", Need::Optional, why);
        }
        let why = "Outlook finds its settings by it.";
        let value = format!("0 1 443 {}.", self.hostname);
        list.add(&format!("_autodiscover._tcp.{apex}"), "SRV", &value, Need::Optional, why);
        for name in ["autoconfig", "autodiscover"] {
            let why = "Mail programs look here for their settings.";
            self.addresses(list, &format!("{name}.{apex}"), Need::Optional, why);
        }
    }

    /// The domain's SPF record: this box, and the relays that its mail may go through.
    fn spf(&self, domain: &Domain) -> (String, &'static str) {
        let concerned = self.relays.iter().filter(|relay| match &relay.scope {
            RelayScope::From(from) => from == domain,
            RelayScope::Everything | RelayScope::To(_) => true,
        });
        let mut names: Vec<&str> = concerned.filter_map(|relay| relay.spf.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return ("v=spf1 mx -all".to_owned(), "Only this box may send mail for the domain (SPF, RFC 7208).");
        }
        let includes: String = names.iter().map(|name| format!(" include:{name}")).collect();
        (
            format!("v=spf1 mx{includes} -all"),
            "Only this box and its relays may send mail for the domain (SPF, RFC 7208).",
        )
    }

    fn no_mail(&self, list: &mut List) {
        let names = ["www", "mta-sts", "autoconfig", "autodiscover"].map(|name| format!("{name}.{}", list.zone));
        for name in names.iter().filter(|name| name.as_str() != self.hostname.as_str()) {
            list.nothing_sent_from(name, Need::Optional);
        }
    }

    fn addresses(&self, list: &mut List, name: &str, need: Need, why: &str) {
        let ttl = self.address_ttl();
        if let Some(address) = self.host.ipv4 {
            list.add_for(ttl, name, "A", &address.to_string(), need, why);
        }
        if let Some(address) = self.host.ipv6 {
            list.add_for(ttl, name, "AAAA", &address.to_string(), need, why);
        }
    }
}

struct List {
    zone: Domain,
    records: Vec<Record>,
}

impl List {
    fn add(&mut self, name: &str, kind: &str, value: &str, need: Need, reason: &str) {
        self.add_for(TTL, name, kind, value, need, reason);
    }

    /// The first reason counts: a name may be the box's own and a mail domain's at once.
    fn add_for(&mut self, ttl: u32, name: &str, kind: &str, value: &str, need: Need, reason: &str) {
        let same = |record: &Record| record.name == name && record.kind == kind && record.value == value;
        if self.records.iter().any(same) {
            return;
        }
        self.records.push(Record {
            zone: self.zone.clone(),
            name: name.to_owned(),
            ttl,
            kind: kind.to_owned(),
            value: value.to_owned(),
            need,
            reason: reason.to_owned(),
        });
    }

    /// A name that has an address but neither gets nor sends mail.
    fn nothing_sent_from(&mut self, name: &str, need: Need) {
        self.add(name, "MX", "0 .", need, "The name gets no mail (null MX, RFC 7505).");
        self.add(name, "TXT", "v=spf1 -all", need, "The name sends no mail.");
        let why = "Mail in this name is a forgery and to be refused (DMARC, RFC 7489).";
        self.add(&format!("_dmarc.{name}"), "TXT", "v=DMARC1; p=reject", need, why);
    }
}

/// The SSHFP value of a host key line `algorithm base64` (RFC 4255, RFC 6594, RFC 7479), SHA-256.
fn sshfp(line: &str) -> Option<String> {
    let (algorithm, key) = line.split_once(' ')?;
    let number = match algorithm {
        "ssh-rsa" => 1,
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => 3,
        "ssh-ed25519" => 4,
        _ => return None,
    };
    let blob = BASE64_STANDARD.decode(key.split_whitespace().next()?).ok()?;
    Some(format!("{number} 2 {}", hex::encode(Sha256::digest(&blob))))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn facts() -> ZoneFacts {
        let domain = |text| Domain::parse(text).unwrap();
        ZoneFacts {
            hostname: domain("box.example.org"),
            host: HostFacts {
                ipv4: Some("192.0.2.25".parse().unwrap()),
                ipv6: Some("2001:db8::25".parse().unwrap()),
                bind: vec![],
                ssh_host_keys: vec![
                    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5fd3Vub3RhcmVhbGtleWJ1dDMyYnl0ZXNsb25nISE=".into(),
                ],
            },
            domains: vec![domain("example.org"), domain("second.example")],
            dkim: vec![DkimKey {
                domain: domain("example.org"),
                generation: 1,
                signing: true,
                selector: "ms1".into(),
                txt: format!("v=DKIM1; k=rsa; p={}", "A".repeat(392)),
            }],
            tls_keys: vec!["ab".repeat(32)],
            authorities: vec![Authority { name: "letsencrypt.org".into(), account: None }],
            relays: Vec::new(),
            dmarc: BTreeMap::new(),
            sites: Vec::new(),
            logos: BTreeMap::new(),
            secondaries: Vec::new(),
            moving: false,
            custom: Vec::new(),
            inner: BTreeMap::new(),
        }
    }

    pub fn find<'a>(records: &'a [Record], name: &str, kind: &str) -> Vec<&'a str> {
        let matching = records.iter().filter(|record| record.name == name && record.kind == kind);
        matching.map(|record| record.value.as_str()).collect()
    }

    #[test]
    fn a_mail_domain_has_all_that_receivers_ask_for() {
        let records = facts().records();
        assert_eq!(find(&records, "example.org", "MX"), ["10 box.example.org."]);
        assert_eq!(find(&records, "example.org", "TXT"), ["v=spf1 mx -all"]);
        assert_eq!(
            find(&records, "_dmarc.second.example", "TXT"),
            ["v=DMARC1; p=none; rua=mailto:mailstead-reports@second.example"]
        );
        let tls = "v=TLSRPTv1; rua=mailto:mailstead-reports@example.org";
        assert_eq!(find(&records, "_smtp._tls.example.org", "TXT"), [tls]);
        let strict = ZoneFacts { dmarc: [(facts().domains[0].clone(), DmarcPolicy::Reject)].into(), ..facts() };
        assert!(find(&strict.records(), "_dmarc.example.org", "TXT")[0].contains("; p=reject; "));
        assert_eq!(find(&records, "ms1._domainkey.example.org", "TXT").len(), 1);
        assert_eq!(find(&records, "_25._tcp.box.example.org", "TLSA").len(), 1);
        assert_eq!(find(&records, "box.example.org", "AAAA"), ["2001:db8::25"]);
        assert_eq!(find(&records, "mta-sts.example.org", "TXT"), ["v=spf1 -all"]);
    }

    #[test]
    fn the_relays_of_a_domain_may_send_for_it_and_no_others() {
        let relay = |scope, spf: &str| Relay {
            scope,
            host: Domain::parse("smtp.relay.example").unwrap(),
            port: 465,
            tls: wire::directory::RelayTls::Implicit,
            login: None,
            password: None,
            spf: Some(spf.into()),
        };
        let domain = |name| Domain::parse(name).unwrap();
        let relays = vec![
            relay(RelayScope::Everything, "_spf.relay.example"),
            relay(RelayScope::From(domain("second.example")), "spf.other.example"),
            relay(RelayScope::To(domain("provider.example")), "_spf.relay.example"),
        ];
        let records = ZoneFacts { relays, ..facts() }.records();
        assert_eq!(find(&records, "example.org", "TXT"), ["v=spf1 mx include:_spf.relay.example -all"]);
        let both = "v=spf1 mx include:_spf.relay.example include:spf.other.example -all";
        assert_eq!(find(&records, "second.example", "TXT"), [both]);
    }

    #[test]
    fn every_name_with_an_address_says_whether_it_gets_mail() {
        let records = facts().records();
        for record in records.iter().filter(|record| record.kind == "A") {
            assert!(!find(&records, &record.name, "MX").is_empty(), "{} has no MX", record.name);
            assert!(!find(&records, &record.name, "TXT").is_empty(), "{} has no SPF", record.name);
        }
    }

    #[test]
    fn the_next_tls_key_stands_beside_the_current_one_on_every_port() {
        let facts = ZoneFacts { tls_keys: vec!["ab".repeat(32), "cd".repeat(32)], ..facts() };
        let records = facts.records();
        for port in [25, 443, 465, 587, 993, 995] {
            assert_eq!(find(&records, &format!("_{port}._tcp.box.example.org"), "TLSA").len(), 2, "{port}");
        }
    }

    #[test]
    fn certificates_are_left_to_the_named_authorities_and_the_boxs_account() {
        let account = Some("https://ca.example/acct/7".to_owned());
        let second = Authority { name: "sectigo.com".into(), account };
        let authorities = vec![facts().authorities[0].clone(), second];
        let records = ZoneFacts { authorities, ..facts() }.records();
        let wanted = [
            "0 issue \"letsencrypt.org; validationmethods=http-01,dns-01\"",
            "0 issuewild \"letsencrypt.org; validationmethods=dns-01\"",
            "0 issue \"sectigo.com; validationmethods=http-01,dns-01; accounturi=https://ca.example/acct/7\"",
            "0 issuewild \"sectigo.com; validationmethods=dns-01; accounturi=https://ca.example/acct/7\"",
            "0 iodef \"mailto:hostmaster@example.org\"",
        ];
        assert_eq!(find(&records, "example.org", "CAA"), wanted);
        assert!(find(&ZoneFacts { authorities: vec![], ..facts() }.records(), "example.org", "CAA").is_empty());
    }

    #[test]
    fn a_mail_domain_that_is_the_hostname_gets_mail_and_has_each_record_once() {
        let mut facts = facts();
        facts.domains = vec![facts.hostname.clone()];
        let records = facts.records();
        assert_eq!(find(&records, "box.example.org", "MX"), ["10 box.example.org."]);
        assert_eq!(find(&records, "box.example.org", "A").len(), 1);
        assert_eq!(find(&records, "box.example.org", "TXT"), ["v=spf1 mx -all"]);
        assert!(find(&records, "_dmarc.box.example.org", "TXT")[0].contains("rua="));
    }

    #[test]
    fn a_zone_within_another_is_delegated_and_vouched_for() {
        let mut facts = facts();
        let inner = Domain::parse("sub.example.org").unwrap();
        facts.domains.push(inner.clone());
        facts.inner.insert(inner, vec!["4711 13 2 ABCD".into()]);
        facts.secondaries = vec![Domain::parse("ns.other.example").unwrap()];
        let records = facts.records();
        let outer: Vec<&Record> = records.iter().filter(|record| record.zone.as_str() == "example.org").collect();
        let at = |kind| outer.iter().filter(|one| one.name == "sub.example.org" && one.kind == kind).count();
        assert_eq!((at("NS"), at("DS"), at("MX")), (3, 1, 0));
        assert_eq!(find(&records, "sub.example.org", "MX"), ["10 box.example.org."]);
        assert_eq!(find(&records, "second.example", "NS").last(), Some(&"ns.other.example."));
    }

    #[test]
    fn before_a_planned_change_addresses_are_kept_for_five_minutes_only() {
        for record in (ZoneFacts { moving: true, ..facts() }).records() {
            assert_eq!(record.ttl, if matches!(record.kind.as_str(), "A" | "AAAA") { 300 } else { 3600 });
        }
    }

    #[test]
    fn what_the_box_does_not_offer_is_said_not_to_be_there() {
        let logos =
            [(facts().domains[0].clone(), "https://example.org/logo.svg".to_owned().try_into().unwrap())].into();
        let records = ZoneFacts { logos, ..facts() }.records();
        assert_eq!(find(&records, "_caldavs._tcp.example.org", "SRV"), ["0 0 0 ."]);
        assert_eq!(find(&records, "_autodiscover._tcp.example.org", "SRV"), ["0 1 443 box.example.org."]);
        assert_eq!(find(&records, "default._bimi.example.org", "TXT"), ["v=BIMI1; l=https://example.org/logo.svg;"]);
        assert_eq!(find(&records, "_dmarc.www.example.org", "TXT"), ["v=DMARC1; p=reject"]);
    }

    #[test]
    fn the_names_of_sites_lead_to_the_box_unless_the_owner_leads_them_elsewhere() {
        let domain = |name| Domain::parse(name).unwrap();
        let sites = vec![domain("shop.example.org"), domain("www.example.org"), domain("shop.elsewhere.example")];
        let facts = ZoneFacts { sites, ..facts() };
        let records = facts.records();
        assert_eq!(find(&records, "shop.example.org", "A"), ["192.0.2.25"]);
        assert_eq!(find(&records, "shop.example.org", "AAAA"), ["2001:db8::25"]);
        assert_eq!(find(&records, "shop.example.org", "MX"), ["0 ."]);
        assert_eq!(find(&records, "_dmarc.shop.example.org", "TXT"), ["v=DMARC1; p=reject"]);
        assert_eq!(find(&records, "www.example.org", "A").len(), 1, "that name leads here anyway");
        assert!(find(&records, "shop.elsewhere.example", "A").is_empty(), "another's zone");
        let added = |kind: &str, value: &str| {
            let (name, kind, value) = ("shop.example.org".to_owned(), kind.to_owned(), value.to_owned());
            let record = Custom { name, kind, value, ttl: 300, replace: false };
            let kept = custom::changed(&[], wire::dns::CustomChange::Add(record), &facts).unwrap();
            ZoneFacts { custom: kept, ..facts.clone() }.records()
        };
        let other = added("A", "198.51.100.9");
        assert_eq!(find(&other, "shop.example.org", "A"), ["198.51.100.9"]);
        assert!(find(&other, "shop.example.org", "AAAA").is_empty(), "not half here and half there");
        for (kind, value) in [("CNAME", "host.example.net."), ("NS", "ns.example.net.")] {
            let led = added(kind, value);
            let there = led.iter().filter(|record| record.name == "shop.example.org");
            assert_eq!(there.map(|record| record.kind.as_str()).collect::<Vec<_>>(), [kind]);
        }
        let text = added("TXT", "v=spf1 include:shop.example -all");
        assert_eq!(find(&text, "shop.example.org", "TXT"), ["v=spf1 include:shop.example -all"]);
        assert_eq!(find(&text, "shop.example.org", "A").len(), 1);
    }

    #[test]
    fn every_record_has_a_reason_and_lies_in_its_zone() {
        for record in facts().records() {
            assert!(!record.reason.is_empty());
            assert!(record.name == record.zone.as_str() || record.name.ends_with(&format!(".{}", record.zone)));
        }
    }

    #[test]
    fn a_hostname_outside_the_mail_domains_gets_a_zone_of_its_own() {
        let mut facts = facts();
        facts.hostname = Domain::parse("mx.provider.example").unwrap();
        assert!(facts.zones().contains(&facts.hostname));
        assert_eq!(find(&facts.records(), "mx.provider.example", "A"), ["192.0.2.25"]);
    }
}
