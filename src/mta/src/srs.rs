//! The Sender Rewriting Scheme: a forwarded message gets a sender of this box, from which the real one can be told again.
//!
//! There is no RFC; this is the scheme of libsrs2 and postsrsd, which know each other's addresses when they share a key:
//!
//! ```text
//! SRS0=HHHH=TT=example.net=joe@ours      who wrote: joe@example.net
//! SRS1=HHHH=first.example==HHHH=TT=example.net=joe@ours      what first.example had rewritten before
//! ```
//!
//! HHHH are four digits in base64 of an HMAC-SHA1 with this box's key, compared without regard to case, because servers
//! on the way may change it. TT are two digits in base32 of the day, counted modulo 1024. Pure but for the key's file.
//!
//! Invariant: only what this box has rewritten in the last [`limits::SRS_DAYS`] is undone, so the box is no relay.

use crate::limits;
use crate::secret_file;
use aws_lc_rs::hmac;
use base::{Address, Domain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::path::Path;

const DAY: u64 = 86_400;
/// Days until the two digits of a day come round again.
const ROUND: u64 = 1_024;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Digits of the hash; what libsrs2 makes.
const HASH: usize = 4;
/// What may stand between the tag and the hash (libsrs2 writes one of them).
const SEPARATORS: [char; 3] = ['=', '-', '+'];

/// Why a rewritten address is not undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrsError {
    #[error("this forwarding address was not made by this server")]
    Forged,
    #[error("this forwarding address is too old")]
    Expired,
    #[error("this is not a whole forwarding address")]
    Malformed,
}

/// Rewrites senders, and undoes that.
#[derive(Debug)]
pub struct Srs {
    key: hmac::Key,
}

impl Srs {
    /// Opens the key, or makes one on first use. It lies readable for the MTA alone.
    pub fn open(file: &Path) -> io::Result<Self> {
        let secret = secret_file::open(file)?;
        Ok(Self::with_key(&secret))
    }

    pub fn with_key(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret) }
    }

    /// The sender that a message gets when it is forwarded from a domain of this box. None when the real one is too long
    /// to be written into 64 octets (RFC 5321 §4.5.3.1.1).
    pub fn rewrite(&self, sender: &Address, ours: &Domain, now: u64) -> Option<Address> {
        let local = match tagged(sender.local()) {
            Some((1, rest)) => self.again(rest)?,
            Some((0, _)) => {
                // The separator goes along, so that the first forwarder finds its own again.
                let rest = sender.local().get(4..)?;
                self.first_known(sender.domain().as_str(), rest)
            }
            _ => {
                let day = day_digits(now);
                let hash = self.hash(&[&day, sender.domain().as_str(), sender.local()]);
                format!("SRS0={hash}={day}={}={}", sender.domain(), sender.local())
            }
        };
        Address::new(&local, ours.clone()).ok()
    }

    /// Who is really meant by an address of the scheme; None when it is none. Bounces come here.
    pub fn undo(&self, local: &str, now: u64) -> Option<Result<Address, SrsError>> {
        match tagged(local)? {
            (0, rest) => Some(self.undo_first(rest, now)),
            (_, rest) => Some(self.undo_again(rest)),
        }
    }

    /// `HHHH=TT=domain=local`.
    fn undo_first(&self, rest: &str, now: u64) -> Result<Address, SrsError> {
        let mut parts = rest.splitn(4, '=');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(SrsError::Malformed);
        let (hash, day, domain, local) = (part()?, part()?, part()?, part()?);
        self.check(hash, &[day, domain, local])?;
        if !is_recent(day, now) {
            return Err(SrsError::Expired);
        }
        let domain = Domain::parse(domain).map_err(|_| SrsError::Malformed)?;
        Address::new(local, domain).map_err(|_| SrsError::Malformed)
    }

    /// `HHHH=host=…`, where `…` begins with the separator of that host's own address. Its age is that host's business.
    fn undo_again(&self, rest: &str) -> Result<Address, SrsError> {
        let mut parts = rest.splitn(3, '=');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(SrsError::Malformed);
        let (hash, host, first) = (part()?, part()?, part()?);
        self.check(hash, &[host, first])?;
        let host = Domain::parse(host).map_err(|_| SrsError::Malformed)?;
        Address::new(&format!("SRS0{first}"), host).map_err(|_| SrsError::Malformed)
    }

    fn first_known(&self, host: &str, rest: &str) -> String {
        format!("SRS1={}={host}={rest}", self.hash(&[host, rest]))
    }

    /// An address that another forwarder has made from a forwarder's: the first one's stays, ours takes the other's place.
    fn again(&self, rest: &str) -> Option<String> {
        let mut parts = rest.splitn(3, '=');
        let (_hash, host, first) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = !host.is_empty() && first.starts_with(SEPARATORS);
        whole.then(|| self.first_known(host, first))
    }

    fn check(&self, given: &str, data: &[&str]) -> Result<(), SrsError> {
        let right = self.hash(data);
        // Cut short by nobody: libsrs2 takes fewer digits too, which makes guessing a matter of minutes.
        let equal = given.len() == right.len() && {
            let (given, right) = (given.to_ascii_lowercase(), right.to_ascii_lowercase());
            given.bytes().zip(right.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        };
        if equal { Ok(()) } else { Err(SrsError::Forged) }
    }

    fn hash(&self, data: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in data {
            context.update(part.to_ascii_lowercase().as_bytes());
        }
        let mut digits = STANDARD.encode(context.sign());
        digits.truncate(HASH);
        digits
    }
}

/// Whether a local part is one of the scheme, however old or wrong.
#[cfg(test)]
fn is_srs(local: &str) -> bool {
    tagged(local).is_some()
}

/// 0 or 1, and what follows the separator.
fn tagged(local: &str) -> Option<(u8, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let kind = match tag.to_ascii_uppercase().as_str() {
        "SRS0" => 0,
        "SRS1" => 1,
        _ => return None,
    };
    rest.strip_prefix(SEPARATORS).map(|rest| (kind, rest))
}

fn day_digits(now: u64) -> String {
    let day = (now / DAY) % ROUND;
    let digit = |value: u64| char::from(BASE32[usize::try_from(value % 32).unwrap_or(0)]);
    [digit(day / 32), digit(day)].iter().collect()
}

fn is_recent(digits: &str, now: u64) -> bool {
    let value = |digit: u8| BASE32.iter().position(|known| *known == digit.to_ascii_uppercase());
    let [high, low] = digits.as_bytes() else { return false };
    let (Some(high), Some(low)) = (value(*high), value(*low)) else { return false };
    let day = u64::try_from(high * 32 + low).unwrap_or(0);
    let today = (now / DAY) % ROUND;
    (today + ROUND - day) % ROUND <= limits::SRS_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;
    use std::process::{Child, Command};

    const NOW: u64 = 1_795_248_000;

    fn srs() -> Srs {
        Srs::with_key(b"a key for tests")
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn ours() -> Domain {
        Domain::parse("example.org").unwrap()
    }

    #[test]
    fn a_bounce_to_a_rewritten_sender_finds_the_real_one() {
        let joe = address("Joe.Doe+x@example.net");
        let rewritten = srs().rewrite(&joe, &ours(), NOW).unwrap();
        let text = rewritten.to_string();
        assert!(text.starts_with("SRS0=") && text.ends_with("=example.net=Joe.Doe+x@example.org"), "{text}");
        let back = |local: &str, now: u64| srs().undo(local, now).unwrap();
        assert_eq!(back(rewritten.local(), NOW + 21 * DAY), Ok(joe));
        assert_eq!(back(rewritten.local(), NOW + 22 * DAY), Err(SrsError::Expired));
        assert_eq!(back(rewritten.local(), NOW - DAY), Err(SrsError::Expired), "from the future");
        let small = rewritten.local().to_ascii_lowercase();
        assert_eq!(back(&small, NOW), Ok(address("joe.doe+x@example.net")), "servers on the way may change the case");
        assert_eq!(back(&rewritten.local().replace("Joe", "Jim"), NOW), Err(SrsError::Forged));
        assert_eq!(Srs::with_key(b"another").undo(rewritten.local(), NOW), Some(Err(SrsError::Forged)));
        assert_eq!(back("SRS0=x", NOW), Err(SrsError::Malformed));
        assert_eq!(srs().undo("joe", NOW), None);
    }

    #[test]
    fn what_a_chain_of_forwarders_rewrote_goes_back_to_the_first_of_them() {
        let first = address("SRS0+aB3d=TT=example.net=joe@first.example");
        let second = srs().rewrite(&first, &ours(), NOW).unwrap();
        assert!(second.local().ends_with("=first.example=+aB3d=TT=example.net=joe"), "{second}");
        assert_eq!(srs().undo(second.local(), NOW), Some(Ok(first.clone())));
        let elsewhere = Srs::with_key(b"another");
        let third = elsewhere.rewrite(&second, &Domain::parse("third.example").unwrap(), NOW).unwrap();
        assert_eq!(elsewhere.undo(third.local(), NOW), Some(Ok(first)), "the second is left out");
        assert_eq!(srs().undo(third.local(), NOW), Some(Err(SrsError::Forged)));
    }

    #[test]
    fn a_sender_that_does_not_fit_is_not_cut() {
        let long = address(&format!("{}@example.net", "a".repeat(50)));
        assert_eq!(srs().rewrite(&long, &ours(), NOW), None);
    }

    #[test]
    fn the_key_is_made_once_and_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys/srs.key");
        let made = Srs::open(&file).unwrap().rewrite(&address("joe@example.net"), &ours(), NOW).unwrap();
        assert!(Srs::open(&file).unwrap().undo(made.local(), NOW).unwrap().is_ok());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, b"short").unwrap();
        assert!(Srs::open(&file).is_err());
    }

    struct Daemon(Child);

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Asks a TCP lookup table of Postfix.
    fn ask(port: u16, address: &str) -> String {
        let stream = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let mut stream = stream.expect("postsrsd does not listen");
        stream.write_all(format!("get {address}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    #[test]
    fn postsrsd_with_the_same_key_knows_our_addresses_and_we_know_its() {
        let program = "/usr/sbin/postsrsd";
        if !Path::new(program).exists() {
            eprintln!("postsrsd is not installed; nothing was compared");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "a key for tests\n").unwrap();
        let (forward, reverse) = (free_port(), free_port());
        let mut command = Command::new(program);
        command.args(["-4", "-dexample.org", &format!("-f{forward}"), &format!("-r{reverse}")]);
        let _daemon = Daemon(command.arg(format!("-s{}", secret.display())).spawn().unwrap());
        let now = base::time::now_unix();
        for sender in ["joe@example.net", "Joe+Tag@Sub.Example.net", "SRS0=aBcD=EF=example.net=joe@first.example"] {
            let made = srs().rewrite(&address(sender), &ours(), now).unwrap();
            let back = ask(reverse, &made.to_string());
            assert!(back.eq_ignore_ascii_case(&format!("200 {sender}")), "postsrsd says of {made}: {back}");
            let theirs = ask(forward, sender);
            let theirs = address(theirs.strip_prefix("200 ").unwrap_or_else(|| panic!("{theirs}")));
            assert_eq!(srs().undo(theirs.local(), now), Some(Ok(address(sender))), "{theirs}");
        }
        let forged =
            srs().rewrite(&address("joe@example.net"), &ours(), now).unwrap().to_string().replace("joe", "jim");
        assert!(ask(reverse, &forged).starts_with("500"));
    }

    proptest! {
        #[test]
        fn any_local_part_is_undone_or_refused(local in "(SRS[01][=+-])?[ -~]{0,60}") {
            let _ = srs().undo(&local, NOW);
            if let Ok(sender) = Address::new(&local, ours()) {
                let _ = srs().rewrite(&sender, &ours(), NOW);
            }
        }

        #[test]
        fn what_fits_comes_back(local in "[a-zA-Z0-9.+_-]{1,20}", domain in "[a-z]{1,10}\\.example") {
            let Ok(sender) = Address::parse(&format!("{local}@{domain}")) else { return Ok(()) };
            let made = srs().rewrite(&sender, &ours(), NOW).unwrap();
            if !is_srs(sender.local()) {
                prop_assert_eq!(srs().undo(made.local(), NOW), Some(Ok(sender)));
            }
        }
    }
}
