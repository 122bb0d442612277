//! Every record that the box's domains need, each with its reason. Pure.

use base::{Domain, HostFacts};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use wire::directory::{Relay, RelayScope};
use wire::dns::{DmarcPolicy, Need, Record};
use wire::filter::DkimKey;

/// An hour: long enough to be cached, short enough to mend a mistake in.
const TTL: u32 = 3600;

/// All that the records follow from.
#[derive(Debug, Clone)]
pub struct ZoneFacts {
    pub hostname: Domain,
    pub host: HostFacts,
    /// The domains that get mail here.
    pub domains: Vec<Domain>,
    pub dkim: Vec<DkimKey>,
    /// SHA-256 of the public keys that are served now, next or were just before, in hexadecimal.
    pub tls_keys: Vec<String>,
    /// The authorities' names in CAA records, where all are known.
    pub ca: Vec<String>,
    /// The relays, for those of whose addresses mail is sent.
    pub relays: Vec<Relay>,
    /// How strict DMARC is; domains that are not named are not strict.
    pub dmarc: BTreeMap<Domain, DmarcPolicy>,
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

    /// The zone that holds the hostname's records: the closest.
    fn host_zone(&self) -> Domain {
        let within = self.zones().into_iter().filter(|zone| self.hostname.is_within(zone));
        within.max_by_key(|zone| zone.as_str().len()).unwrap_or_else(|| self.hostname.clone())
    }

    /// Every record of every zone, zone by zone.
    pub fn records(&self) -> Vec<Record> {
        let host_zone = self.host_zone();
        let mut all = Vec::new();
        for zone in self.zones() {
            let mut list = List { zone: zone.clone(), records: Vec::new() };
            self.name_servers(&mut list);
            if zone == host_zone {
                self.host(&mut list);
            }
            if self.domains.contains(&zone) {
                self.mail(&mut list);
                self.transport(&mut list);
                self.clients(&mut list);
                self.no_mail(&mut list);
            }
            all.append(&mut list.records);
        }
        all
    }

    fn name_servers(&self, list: &mut List) {
        let apex = list.zone.to_string();
        for server in ["ns1", "ns2"] {
            let value = format!("{server}.{}.", self.hostname);
            list.add(&apex, "NS", &value, Need::BoxOnly, "This box answers for the zone.");
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
        let why = "Bounces are sent under the box's own name; only the box may use it.";
        list.add(&host, "TXT", "v=spf1 a -all", Need::Recommended, why);
        list.add(&host, "MX", "0 .", Need::Optional, "Nobody has an address at the box's own name (RFC 7505).");
        for key in &self.tls_keys {
            let why = "Senders that check DANE deliver only to the server with this key (RFC 7672); needs DNSSEC.";
            list.add(&format!("_25._tcp.{host}"), "TLSA", &format!("3 1 1 {key}"), Need::Optional, why);
        }
        for key in &self.host.ssh_host_keys {
            if let Some(value) = sshfp(key) {
                list.add(&host, "SSHFP", &value, Need::Optional, "Lets ssh verify the box's key (RFC 4255).");
            }
        }
    }

    fn mail(&self, list: &mut List) {
        let apex = list.zone.to_string();
        self.addresses(list, &apex, Need::Optional, "The bare domain leads to this box.");
        let why = "Mail for the domain is delivered to this box.";
        list.add(&apex, "MX", &format!("10 {}.", self.hostname), Need::Required, why);
        let (spf, why) = self.spf(&list.zone);
        list.add(&apex, "TXT", &spf, Need::Required, why);
        let zone = list.zone.clone();
        for key in self.dkim.iter().filter(|key| key.domain == zone) {
            let name = format!("{}._domainkey.{apex}", key.selector);
            let why = "Receivers verify the signature that the box puts on every message (DKIM, RFC 6376).";
            list.add(&name, "TXT", &key.txt, Need::Required, why);
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
        for ca in &self.ca {
            let why = "Only the box's authorities may issue certificates for the domain (RFC 8659).";
            list.add(&apex, "CAA", &format!("0 issue \"{ca}\""), Need::Optional, why);
        }
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
        for name in ["mta-sts", "autoconfig", "autodiscover"] {
            let name = format!("{name}.{}", list.zone);
            list.nothing_sent_from(&name, Need::Optional);
        }
    }

    fn addresses(&self, list: &mut List, name: &str, need: Need, why: &str) {
        if let Some(address) = self.host.ipv4 {
            list.add(name, "A", &address.to_string(), need, why);
        }
        if let Some(address) = self.host.ipv6 {
            list.add(name, "AAAA", &address.to_string(), need, why);
        }
    }
}

struct List {
    zone: Domain,
    records: Vec<Record>,
}

impl List {
    fn add(&mut self, name: &str, kind: &str, value: &str, need: Need, reason: &str) {
        self.records.push(Record {
            zone: self.zone.clone(),
            name: name.to_owned(),
            ttl: TTL,
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
                selector: "ms1".into(),
                txt: format!("v=DKIM1; k=rsa; p={}", "A".repeat(392)),
            }],
            tls_keys: vec!["ab".repeat(32)],
            ca: vec!["letsencrypt.org".into()],
            relays: Vec::new(),
            dmarc: BTreeMap::new(),
        }
    }

    fn find<'a>(records: &'a [Record], name: &str, kind: &str) -> Vec<&'a str> {
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
