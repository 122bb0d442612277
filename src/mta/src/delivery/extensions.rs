//! What a server offers after EHLO, and the parameters of MAIL and RCPT that follow from it. Pure.

use super::Trouble;
use super::client::{Protocol, To, Transaction};
use crate::proto::delivery_status::{Notify, Ret};
use crate::proto::reply::Reply;
use crate::proto::xtext;

/// The extensions that a server offers and that matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    pub pipelining: bool,
    pub size: bool,
    /// The largest message it takes, when it says (RFC 1870 §4).
    pub largest: Option<u64>,
    pub eight_bit: bool,
    pub starttls: bool,
    pub utf8: bool,
    pub dsn: bool,
    pub require_tls: bool,
    pub auth_plain: bool,
    pub auth_login: bool,
}

impl Offer {
    pub fn read(reply: &Reply) -> Self {
        let mut offer = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "PIPELINING" => offer.pipelining = true,
                "SIZE" => {
                    offer.size = true;
                    offer.largest = words.next().and_then(|number| number.parse().ok()).filter(|largest| *largest > 0);
                }
                "8BITMIME" => offer.eight_bit = true,
                "STARTTLS" => offer.starttls = true,
                "SMTPUTF8" => offer.utf8 = true,
                "DSN" => offer.dsn = true,
                "REQUIRETLS" => offer.require_tls = true,
                "AUTH" => words.for_each(|mechanism| {
                    offer.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                    offer.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                }),
                _ => {}
            }
        }
        offer
    }

    /// Why the server cannot be given this message, whatever it would say.
    pub fn unfit(&self, it: &Transaction<'_>, protocol: Protocol, server: &str) -> Option<Trouble> {
        let bytes = it.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if protocol == Protocol::Lmtp {
            return None;
        }
        if it.needs.require_tls && !self.require_tls {
            let words = format!("{server} does not promise to pass the message on by verified TLS only (REQUIRETLS)");
            return Some(Trouble::new("5.7.30", words));
        }
        if it.needs.utf8 && !self.utf8 {
            let words = format!("{server} does not take addresses with letters outside ASCII (SMTPUTF8)");
            return Some(Trouble::new("5.6.7", words));
        }
        match self.largest.filter(|largest| bytes > *largest) {
            Some(largest) => {
                let words = format!("the message has {bytes} octets, and {server} takes no more than {largest}");
                Some(Trouble::new("5.3.4", words))
            }
            None => None,
        }
    }

    pub fn mail_command(&self, it: &Transaction<'_>) -> String {
        let sender = it.sender.map(ToString::to_string).unwrap_or_default();
        let mut command = format!("MAIL FROM:<{sender}>");
        if self.size {
            let size: usize = it.pieces.iter().map(|piece| piece.len()).sum();
            command.push_str(&format!(" SIZE={size}"));
        }
        // A server without 8BITMIME gets eight-bit text as it is: all that are left in use pass it through, and a
        // conversion would break every signature.
        if self.eight_bit && it.eight_bit {
            command.push_str(" BODY=8BITMIME");
        }
        if self.utf8 && it.needs.utf8 {
            command.push_str(" SMTPUTF8");
        }
        if self.require_tls && it.needs.require_tls {
            command.push_str(" REQUIRETLS");
        }
        if self.dsn {
            match it.wish.ret {
                Some(Ret::Full) => command.push_str(" RET=FULL"),
                Some(Ret::Headers) => command.push_str(" RET=HDRS"),
                None => {}
            }
            if let Some(envid) = &it.wish.envid {
                command.push_str(&format!(" ENVID={}", xtext::encode(envid)));
            }
        }
        command
    }

    pub fn rcpt_command(&self, to: &To) -> String {
        let mut command = format!("RCPT TO:<{}>", to.address);
        if self.dsn {
            if to.notify.asked {
                command.push_str(&format!(" NOTIFY={}", notify(to.notify)));
            }
            // One with letters outside ASCII has no form that every server reads (RFC 6533 §3).
            if let Some((kind, original)) =
                to.original.as_deref().filter(|o| o.is_ascii()).and_then(|o| o.split_once(';'))
            {
                command.push_str(&format!(" ORCPT={kind};{}", xtext::encode(original)));
            }
        }
        command
    }
}

fn notify(wish: Notify) -> String {
    let wishes = [(wish.success, "SUCCESS"), (wish.failure, "FAILURE"), (wish.delay, "DELAY")];
    let words: Vec<&str> = wishes.iter().filter(|(wished, _)| *wished).map(|(_, word)| *word).collect();
    if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::delivery_status::ReportWish;
    use crate::queue::entry::Needs;
    use base::Address;

    fn offer(lines: &[&str]) -> Offer {
        let lines = ["mx.example.net"].iter().chain(lines).map(|line| (*line).to_owned()).collect();
        Offer::read(&Reply::many(250, lines))
    }

    #[test]
    fn what_a_server_offers_is_read_from_its_ehlo() {
        let offer = offer(&["SIZE 1000", "dsn", "AUTH=LOGIN plain", "AUTH CRAM-MD5", "X-OTHER"]);
        let expected = Offer {
            size: true,
            largest: Some(1_000),
            dsn: true,
            auth_plain: true,
            auth_login: true,
            ..Offer::default()
        };
        assert_eq!(offer, expected);
    }

    #[test]
    fn a_senders_wishes_are_passed_on_where_they_are_understood() {
        let ann = Address::parse("ann@example.org").unwrap();
        let notify = Notify { success: true, failure: true, delay: false, asked: true };
        let to = To { address: ann.clone(), notify, original: Some("rfc822;a+b=c d@example.org".into()) };
        let wish = ReportWish { ret: Some(Ret::Full), envid: Some("QQ+1".into()) };
        let needs = Needs { utf8: true, require_tls: true };
        let recipients = [to];
        let it = Transaction {
            sender: Some(&ann),
            recipients: &recipients,
            pieces: [b"", b"abc"],
            eight_bit: true,
            needs,
            wish: &wish,
        };
        let all = offer(&["DSN", "SIZE", "8BITMIME", "SMTPUTF8", "REQUIRETLS"]);
        assert_eq!(
            all.mail_command(&it),
            "MAIL FROM:<ann@example.org> SIZE=3 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL ENVID=QQ+2B1"
        );
        assert_eq!(
            all.rcpt_command(&it.recipients[0]),
            "RCPT TO:<ann@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb+3Dc+20d@example.org"
        );
        assert_eq!(all.unfit(&it, Protocol::Smtp, "mx"), None);
        assert_eq!(offer(&[]).rcpt_command(&it.recipients[0]), "RCPT TO:<ann@example.org>");
        let status = |lines: &[&str]| offer(lines).unfit(&it, Protocol::Smtp, "mx").map(|trouble| trouble.status);
        assert_eq!(status(&["SMTPUTF8"]).as_deref(), Some("5.7.30"));
        assert_eq!(status(&["REQUIRETLS"]).as_deref(), Some("5.6.7"));
        assert_eq!(status(&["REQUIRETLS", "SMTPUTF8", "SIZE 2"]).as_deref(), Some("5.3.4"));
    }
}
