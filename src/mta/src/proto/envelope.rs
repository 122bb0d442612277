//! MAIL and RCPT with their parameters (RFC 1870 SIZE, RFC 6152 and 3030 BODY, RFC 3461 DSN, RFC 6531 SMTPUTF8, RFC 8689
//! REQUIRETLS, RFC 4865 future release, RFC 4954 §5 AUTH). Which of them are offered is for the session to say.

use super::command::CommandError;
use super::delivery_status::{Notify, ReportWish, Ret};
use super::path::{self, Recipient};
use super::xtext;
use crate::limits;
use base::Address;

/// What kind of octets the message is announced to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    SevenBit,
    EightBit,
    /// Any octets, in parts that say so (RFC 3030); such a message comes by BDAT.
    Binary,
}

/// When the message may leave (RFC 4865).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Seconds from now.
    For(u64),
    /// Seconds since 1970.
    Until(u64),
}

impl Release {
    /// The moment, in seconds since 1970.
    pub fn at(self, now: u64) -> u64 {
        match self {
            Self::For(seconds) => now.saturating_add(seconds),
            Self::Until(at) => at,
        }
    }
}

/// MAIL with its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailFrom {
    /// `None`: the null sender.
    pub sender: Option<Address>,
    /// Whether the path as it was written is outside ASCII, be it before or after the @.
    pub path_is_utf8: bool,
    /// Octets, as the client declares them.
    pub size: Option<u64>,
    pub body: Body,
    pub utf8: bool,
    pub require_tls: bool,
    pub wish: ReportWish,
    pub release: Option<Release>,
}

/// RCPT with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptTo {
    pub recipient: Recipient,
    pub path_is_utf8: bool,
    pub notify: Notify,
    /// `rfc822;ann@example.org`, decoded.
    pub original: Option<String>,
}

/// Reads what follows `MAIL FROM:`.
pub fn mail(rest: &str) -> Result<MailFrom, CommandError> {
    let (path, parameters) = path::split(rest)?;
    let mut mail = MailFrom { sender: path::sender(path)?, path_is_utf8: !path.is_ascii(), ..MailFrom::default() };
    for Parameter { name, value, whole } in each(parameters)? {
        match (name.as_str(), value) {
            ("SIZE", Some(digits)) => mail.size = Some(number(digits, 20).ok_or(BAD_SIZE)?),
            ("BODY", Some(body)) => mail.body = self::body(body).ok_or_else(|| unknown(whole))?,
            ("SMTPUTF8", None) => mail.utf8 = true,
            ("REQUIRETLS", None) => mail.require_tls = true,
            ("RET", Some(ret)) => mail.wish.ret = Some(self::ret(ret).ok_or(BAD_RET)?),
            ("ENVID", Some(id)) => mail.wish.envid = Some(envid(id).ok_or(BAD_ENVID)?),
            ("HOLDFOR", Some(seconds)) if mail.release.is_none() => {
                mail.release = Some(Release::For(number(seconds, 9).ok_or(BAD_HOLD)?));
            }
            ("HOLDUNTIL", Some(at)) if mail.release.is_none() => {
                mail.release = Some(Release::Until(base::time::from_rfc3339(at).ok_or(BAD_HOLD)?));
            }
            ("HOLDFOR" | "HOLDUNTIL", Some(_)) => return Err(BAD_HOLD),
            // RFC 4954 §5: a server that does not trust the client ignores who it says has written the message.
            ("AUTH", Some(who)) => submitter(who).ok_or(BAD_AUTH)?,
            _ => return Err(unknown(whole)),
        }
    }
    Ok(mail)
}

/// Reads what follows `RCPT TO:`.
pub fn rcpt(rest: &str) -> Result<RcptTo, CommandError> {
    let (path, parameters) = path::split(rest)?;
    let recipient = path::recipient(path)?;
    let mut rcpt = RcptTo { recipient, path_is_utf8: !path.is_ascii(), notify: Notify::default(), original: None };
    for Parameter { name, value, whole } in each(parameters)? {
        match (name.as_str(), value) {
            ("NOTIFY", Some(list)) => rcpt.notify = notify(list).ok_or(BAD_NOTIFY)?,
            ("ORCPT", Some(text)) => rcpt.original = Some(original(text).ok_or(BAD_ORCPT)?),
            _ => return Err(unknown(whole)),
        }
    }
    Ok(rcpt)
}

const BAD_SIZE: CommandError = CommandError::Syntax("SIZE is a number");
const BAD_RET: CommandError = CommandError::Syntax("RET is FULL or HDRS");
const BAD_ENVID: CommandError = CommandError::Syntax("ENVID is xtext of 100 characters at most");
const BAD_HOLD: CommandError = CommandError::Syntax(
    "HOLDFOR is a number of seconds, HOLDUNTIL a date and time like 2026-11-21T08:00:00Z, and only one of them stands",
);
const BAD_AUTH: CommandError = CommandError::Syntax("AUTH is <> or an address in xtext");
const BAD_NOTIFY: CommandError = CommandError::Syntax("NOTIFY is NEVER, or any of SUCCESS, FAILURE and DELAY");
const BAD_ORCPT: CommandError = CommandError::Syntax("ORCPT is a type, a semicolon and an address in xtext");

struct Parameter<'a> {
    /// In capitals.
    name: String,
    value: Option<&'a str>,
    whole: &'a str,
}

/// The parameters, each named once.
fn each(parameters: &str) -> Result<Vec<Parameter<'_>>, CommandError> {
    let mut all: Vec<Parameter<'_>> = Vec::new();
    for whole in parameters.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = match whole.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (whole, None),
        };
        let name = name.to_ascii_uppercase();
        if all.iter().any(|known| known.name == name) {
            return Err(CommandError::Syntax("a parameter stands twice"));
        }
        if all.len() >= limits::PARAMETERS {
            return Err(CommandError::Syntax("there are too many parameters"));
        }
        all.push(Parameter { name, value, whole });
    }
    Ok(all)
}

fn unknown(whole: &str) -> CommandError {
    CommandError::Parameter(whole.to_owned())
}

fn number(digits: &str, longest: usize) -> Option<u64> {
    let plain = !digits.is_empty() && digits.len() <= longest && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

fn body(value: &str) -> Option<Body> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Body::SevenBit),
        "8BITMIME" => Some(Body::EightBit),
        "BINARYMIME" => Some(Body::Binary),
        _ => None,
    }
}

fn ret(value: &str) -> Option<Ret> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

fn envid(value: &str) -> Option<String> {
    // RFC 3461 §4.4: at most 100 characters.
    xtext::decode(value).filter(|_| !value.is_empty() && value.len() <= 100)
}

fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::NEVER);
    }
    let mut notify = Notify::NEVER;
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// `addr-type ";" xtext`, 500 characters at most (RFC 3461 §4.2). The internationalised form `utf-8;` (RFC 6533 §3) may
/// have its characters as they are.
fn original(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let atom = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let sane = atom && !address.is_empty() && value.len() <= 500;
    let address = match kind.eq_ignore_ascii_case("utf-8") {
        true => (!address.chars().any(char::is_control)).then(|| address.to_owned()),
        false => xtext::decode(address),
    };
    address.filter(|_| sane).map(|address| format!("{kind};{address}"))
}

fn submitter(value: &str) -> Option<()> {
    if value == "<>" {
        return Some(());
    }
    xtext::decode(value).filter(|who| !who.is_empty()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_read_with_all_that_may_stand_behind_it() {
        let it = mail(
            "<ann@example.org> SIZE=1000 body=8bitmime RET=HDRS ENVID=a+3Db SMTPUTF8 REQUIRETLS HOLDFOR=60 AUTH=<>",
        );
        let it = it.unwrap();
        assert_eq!(it.sender.unwrap().to_string(), "ann@example.org");
        assert_eq!((it.size, it.body, it.release), (Some(1000), Body::EightBit, Some(Release::For(60))));
        assert_eq!((it.wish.ret, it.wish.envid.as_deref()), (Some(Ret::Headers), Some("a=b")));
        assert!(it.utf8 && it.require_tls && !it.path_is_utf8);
        let until = mail("<> HOLDUNTIL=2026-11-21T08:00:00Z").unwrap();
        assert_eq!((until.sender, until.release), (None, Some(Release::Until(1_795_248_000))));
        assert!(mail("<\u{fc}@example.org> SMTPUTF8").unwrap().path_is_utf8);
        assert!(mail("<a@\u{fc}.example> SMTPUTF8").unwrap().path_is_utf8);
    }

    #[test]
    fn rcpt_is_read_with_the_wish_for_reports() {
        let it = rcpt("<bob@example.org> NOTIFY=SUCCESS,delay ORCPT=rfc822;Bob+2Bx@example.org").unwrap();
        assert_eq!(it.notify, Notify { success: true, failure: false, delay: true, asked: true });
        assert_eq!(it.original.as_deref(), Some("rfc822;Bob+x@example.org"));
        assert_eq!(rcpt("<bob@example.org> NOTIFY=NEVER").unwrap().notify, Notify::NEVER);
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused_each_with_its_reason() {
        for wrong in [
            "<> SIZE=x",
            "<> SIZE=1 SIZE=2",
            "<> RET=ALL",
            "<> ENVID=a=b",
            "<> HOLDFOR=1 HOLDUNTIL=2026-11-21T08:00:00Z",
            "<> HOLDFOR=-1",
            "<> HOLDUNTIL=tomorrow",
            "<> AUTH=a=b",
        ] {
            assert!(matches!(mail(wrong), Err(CommandError::Syntax(_))), "{wrong}");
        }
        for unknown in ["<> FOO", "<> BODY=9BIT", "<> SMTPUTF8=1"] {
            assert!(matches!(mail(unknown), Err(CommandError::Parameter(_))), "{unknown}");
        }
        for wrong in ["NOTIFY=NEVER,SUCCESS", "NOTIFY=", "ORCPT=rfc822", "ORCPT=;a", "ORCPT=rfc822;a b=c"] {
            assert!(rcpt(&format!("<a@b.org> {wrong}")).is_err(), "{wrong}");
        }
    }
}
