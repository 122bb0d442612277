//! `box.yaml`: the owner's three answers and the few options. Everything else is derived.
//!
//! A key that this version does not know is refused with its line, never dropped.

use crate::acme::Acme;
use crate::address::{Address, Domain};
use crate::durable;
use crate::paths::Paths;
use crate::sites::{Site, Sites};
use crate::tell::Tell;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who answers for the domains' DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsMode {
    /// The box is the name server.
    Box,
    /// The records are entered elsewhere.
    External,
}

pub use crate::acme::LETS_ENCRYPT;

/// Most peers: each is asked in every run of the checks, and one or two tell all there is to see.
pub const MAX_PEERS: usize = 8;

/// The content of `/etc/mailstead/box.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxConfig {
    /// The owner's address: the first mailbox, and where reports go.
    pub email: Address,
    /// The box's own name.
    pub hostname: Domain,
    pub dns: DnsMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub acme: Acme,
    /// Public addresses, for a host behind NAT; found by itself otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// Blocklists of addresses: asked about who sends mail here, and by the status checks about the box itself.
    #[serde(default = "default_blocklists", skip_serializing_if = "is_default_blocklists")]
    pub blocklists: Vec<Blocklist>,
    /// What the box serves on the web beside its panel, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sites: Sites,
    /// How many nightly archives are kept.
    #[serde(default = "default_backups_kept", skip_serializing_if = "is_default_backups_kept")]
    pub backups_kept: u16,
    /// Where releases are published: a web address, whose `latest` says which is the newest.
    #[serde(default = "default_releases", skip_serializing_if = "is_default_releases")]
    pub releases: String,
    /// Who hears of the status checks besides the owner.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tell: Tell,
    /// Other Mailstead boxes that look at this box's ports from outside, as this one looks at theirs. Only those that name one
    /// another do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Domain>,
    /// Where domains' logos lie, for mail programs that show them (BIMI): a domain, and the `https` address of an SVG file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logos: BTreeMap<Domain, Logo>,
    /// Present only in a demo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demo: Option<DemoOptions>,
}

/// A DNS blocklist: its zone alone, or `zone` and `weight`. With a key for Spamhaus' Data Query Service the zone is
/// `<key>.zen.dq.spamhaus.net`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenBlocklist", into = "WrittenBlocklist")]
pub struct Blocklist {
    pub zone: Domain,
    pub weight: Weight,
}

/// What being on a list means for a stranger's mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// It is not taken.
    #[default]
    Refuse,
    /// It counts as odd: it adds to the score, and may have to come again.
    Weak,
}

/// The two forms in which a list is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenBlocklist {
    Zone(Domain),
    Weighed(WeighedBlocklist),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeighedBlocklist {
    zone: Domain,
    #[serde(default)]
    weight: Weight,
}

impl From<WrittenBlocklist> for Blocklist {
    fn from(written: WrittenBlocklist) -> Self {
        match written {
            WrittenBlocklist::Zone(zone) => Self { zone, weight: Weight::default() },
            WrittenBlocklist::Weighed(WeighedBlocklist { zone, weight }) => Self { zone, weight },
        }
    }
}

impl From<Blocklist> for WrittenBlocklist {
    fn from(Blocklist { zone, weight }: Blocklist) -> Self {
        match weight {
            Weight::Refuse => Self::Zone(zone),
            Weight::Weak => Self::Weighed(WeighedBlocklist { zone, weight }),
        }
    }
}

impl Blocklist {
    /// The list's name for everybody to see: without the customer's key.
    pub fn shown(&self) -> String {
        match self.zone.as_str().split_once('.') {
            Some((_, list)) if list.ends_with(".dq.spamhaus.net") => list.to_owned(),
            _ => self.zone.to_string(),
        }
    }
}

impl std::str::FromStr for Blocklist {
    type Err = crate::NameError;

    fn from_str(zone: &str) -> Result<Self, Self::Err> {
        Ok(Self { zone: Domain::parse(zone)?, weight: Weight::default() })
    }
}

/// The address of a logo: `https` alone (BIMI), and nothing that a TXT record of tags could not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Logo(String);

impl Logo {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Logo> for String {
    fn from(logo: Logo) -> Self {
        logo.0
    }
}

impl TryFrom<String> for Logo {
    type Error = String;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let plain = url.len() <= 1_024 && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        match plain && url.starts_with("https://") {
            true => Ok(Self(url)),
            false => {
                Err(format!("“{url}” is not the address of a logo; it begins with https:// and has no spaces or ;"))
            }
        }
    }
}

/// A demo runs beside whatever the machine already does, so its ports and peers are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoOptions {
    /// The first of forty consecutive ports.
    pub base_port: u16,
    /// The resolver to ask; by default the demo's own unbound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<SocketAddr>,
    /// The port of other people's mail servers, 25 in the world.
    #[serde(default = "smtp_port")]
    pub remote_smtp_port: u16,
    /// Seconds until mail that was put off is first tried again, for those who do not want to wait five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_seconds: Option<u32>,
}

fn smtp_port() -> u16 {
    25
}
fn default_backups_kept() -> u16 {
    14
}
fn is_default_backups_kept(kept: &u16) -> bool {
    *kept == default_backups_kept()
}
fn default_releases() -> String {
    "https://mailstead.org/releases".to_owned()
}
fn is_default_releases(releases: &str) -> bool {
    releases == default_releases()
}
fn default_blocklists() -> Vec<Blocklist> {
    "zen.spamhaus.org".parse().into_iter().collect()
}
fn is_default_blocklists(lists: &[Blocklist]) -> bool {
    lists == default_blocklists()
}
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why `box.yaml` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: std::path::PathBuf, source: std::io::Error },
    #[error("{path}: {why}. Correct that line; nothing was changed")]
    Invalid { path: std::path::PathBuf, why: serde_yaml::Error },
    #[error("{path}: {why}. Correct it; nothing was changed")]
    Senseless { path: std::path::PathBuf, why: String },
}

impl ConfigError {
    /// Whether the file is simply not there: a box that was never set up.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

impl BoxConfig {
    /// A box with the three answers and every option at its default.
    pub fn new(email: Address, hostname: Domain, dns: DnsMode) -> Self {
        Self {
            email,
            hostname,
            dns,
            acme: Acme::default(),
            ipv4: None,
            ipv6: None,
            blocklists: default_blocklists(),
            sites: Sites::default(),
            backups_kept: default_backups_kept(),
            releases: default_releases(),
            tell: Tell::default(),
            peers: Vec::new(),
            logos: BTreeMap::new(),
            demo: None,
        }
    }

    pub fn load(paths: &Paths) -> Result<Self, ConfigError> {
        let path = paths.box_yaml();
        let text =
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let config = Self::parse(&text).map_err(|why| ConfigError::Invalid { path: path.clone(), why })?;
        config.sites_fit().and_then(|()| config.peers_fit()).map_err(|why| ConfigError::Senseless { path, why })?;
        Ok(config)
    }

    /// Whether the sites leave the box its own names; else a sentence.
    fn sites_fit(&self) -> Result<(), String> {
        for name in self.sites.keys() {
            let own =
                ["mta-sts.", "autoconfig.", "autodiscover."].iter().any(|prefix| name.as_str().starts_with(prefix));
            if *name == self.hostname || own {
                return Err(format!("sites: the box itself needs the name {name}, so no site can have it"));
            }
        }
        Ok(())
    }

    /// Whether the peers are others, each named once, and few; else a sentence.
    fn peers_fit(&self) -> Result<(), String> {
        if self.peers.len() > MAX_PEERS {
            return Err(format!("peers: there are {}, and {MAX_PEERS} are the most", self.peers.len()));
        }
        for (place, peer) in self.peers.iter().enumerate() {
            if *peer == self.hostname {
                return Err(format!("peers: {peer} is this box itself; name other boxes"));
            }
            if !peer.is_dotted() {
                return Err(format!("peers: “{peer}” is not the whole name of a box, like box.example.net"));
            }
            if self.peers[..place].contains(peer) {
                return Err(format!("peers: {peer} is named twice"));
            }
        }
        Ok(())
    }

    /// The site of a name, and of `www.` before it.
    pub fn site(&self, name: &Domain) -> Option<&Site> {
        let bare = name.as_str().strip_prefix("www.").and_then(|bare| Domain::parse(bare).ok());
        self.sites.get(name).or_else(|| self.sites.get(&bare?))
    }

    pub fn parse(text: &str) -> Result<Self, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    /// The file's text, with a head that tells a reader what it is.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        let body = serde_yaml::to_string(self)?;
        Ok(format!("# The answers that this box was set up with. After a change: mailstead apply\n{body}"))
    }

    /// Writes the file durably.
    pub fn save(&self, paths: &Paths) -> std::io::Result<()> {
        let text = self.to_yaml().map_err(std::io::Error::other)?;
        durable::write(&paths.box_yaml(), text.as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> BoxConfig {
        let email = Address::parse("ann@example.org").unwrap();
        BoxConfig::new(email, Domain::parse("box.example.org").unwrap(), DnsMode::Box)
    }

    #[test]
    fn three_answers_make_a_file_of_three_lines_that_reads_back_the_same() {
        let text = answers().to_yaml().unwrap();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 3, "{text}");
        assert_eq!(BoxConfig::parse(&text).unwrap(), answers());
    }

    #[test]
    fn a_blocklist_is_written_plainly_or_with_its_weight() {
        let text = "email: a@b.org\nhostname: box.b.org\ndns: box\nblocklists:\n- zen.spamhaus.org\n- zone: bl.example.net\n  weight: weak\n";
        let config = BoxConfig::parse(text).unwrap();
        let weights: Vec<_> = config.blocklists.iter().map(|list| (list.zone.as_str(), list.weight)).collect();
        assert_eq!(weights, [("zen.spamhaus.org", Weight::Refuse), ("bl.example.net", Weight::Weak)]);
        assert_eq!(BoxConfig::parse(&config.to_yaml().unwrap()).unwrap(), config);
        assert!(BoxConfig::parse(&text.replace("weak", "heavy")).is_err());
        let with_key: Blocklist = "secretkey.zen.dq.spamhaus.net".parse().unwrap();
        assert_eq!(with_key.shown(), "zen.dq.spamhaus.net");
    }

    #[test]
    fn a_logo_is_named_by_its_address() {
        let text = "email: a@b.org\nhostname: box.b.org\ndns: box\nlogos:\n  b.org: https://b.org/logo.svg\n";
        let config = BoxConfig::parse(text).unwrap();
        assert_eq!(config.logos.values().map(Logo::as_str).collect::<Vec<_>>(), ["https://b.org/logo.svg"]);
        assert_eq!(BoxConfig::parse(&config.to_yaml().unwrap()).unwrap(), config);
        assert!(BoxConfig::parse(&text.replace("https", "http")).is_err());
    }

    #[test]
    fn peers_are_other_boxes_each_named_once_and_few() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.etc()).unwrap();
        let load = |peers: &[String]| {
            let peers = peers.iter().map(|peer| Domain::parse(peer).unwrap()).collect();
            BoxConfig { peers, ..answers() }.save(&paths).unwrap();
            BoxConfig::load(&paths).map(|config| config.peers.len()).map_err(|error| error.to_string())
        };
        let many: Vec<String> = (0..=MAX_PEERS).map(|number| format!("box{number}.example.net")).collect();
        assert_eq!(load(&many[1..]), Ok(MAX_PEERS));
        assert!(load(&many).unwrap_err().contains("there are 9, and 8 are the most"));
        let why = load(&["Box.example.org".to_owned()]).unwrap_err();
        assert!(why.contains("box.example.org is this box itself") && why.contains("nothing was changed"), "{why}");
        assert!(load(&["box2".to_owned()]).unwrap_err().contains("not the whole name"));
        assert!(load(&[many[0].clone(), many[0].clone()]).unwrap_err().contains("named twice"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = "email: a@b.org\nhostname: box.b.org\ndns: box\nspam_level: 5\n";
        let why = BoxConfig::parse(text).unwrap_err().to_string();
        assert!(why.contains("spam_level") && why.contains("line 4"), "{why}");
    }
}
