//! ARC (RFC 8617): when this box passes a message on, it seals what it found out about it, so that the next server can
//! believe the finding although SPF no longer fits.
//!
//! The chain is validated on the message as it came in, and the new set covers it as it goes out: a list changes it in
//! between, which is just what ARC is for. A chain that somebody has broken before stays as it is (§5.1.2).

use crate::FilterError;
use crate::keys::Keys;
use crate::limits::{DNS_WITHIN, MAX_RESULTS};
use base::Domain;
use mail_auth::{ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimResult, MessageAuthenticator};
use wire::filter::Seal;

/// The ARC set for a message, as header fields to put on top; empty where no set may be added.
pub async fn seal(
    authenticator: &MessageAuthenticator,
    keys: &Keys,
    hostname: &Domain,
    ask: &Seal,
    body: &[u8],
) -> Result<String, FilterError> {
    let split = usize::try_from(ask.as_received).ok().filter(|split| *split > 0);
    let (received, sent) = split.and_then(|split| body.split_at_checked(split)).unwrap_or((body, body));
    let parsed = (AuthenticatedMessage::parse(received), AuthenticatedMessage::parse(sent));
    let (Some(received_parsed), Some(sent_parsed)) = parsed else { return Ok(String::new()) };
    let chain = tokio::time::timeout(DNS_WITHIN, authenticator.verify_arc(&received_parsed)).await;
    let chain =
        chain.map_err(|_| FilterError::Resolver("the keys of an ARC chain cannot be had in time".to_owned()))?;
    if !may_continue(&chain) {
        return Ok(String::new());
    }
    keys.ensure(&ask.domain)?;
    let results = results(received, hostname);
    // This type writes its server's name as it is, and what we found out follows the name.
    let set = keys.seal(&ask.domain, &sent_parsed, &AuthenticationResults::new(&results), &chain)?;
    Ok(folded(&set))
}

/// A chain whose keys could not be had just now must not be marked as broken for ever.
fn may_continue(chain: &ArcOutput<'_>) -> bool {
    chain.can_be_sealed() && !matches!(chain.result(), DkimResult::TempError(_))
}

/// What our own `Authentication-Results` says, in one line with single blanks; `none` where there is none. Fields of
/// others in our name were removed when the message came in.
fn results(message: &[u8], hostname: &Domain) -> String {
    let head = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(message.len());
    let head =
        String::from_utf8_lossy(message.get(..head).unwrap_or_default()).replace("\r\n\t", " ").replace("\r\n ", " ");
    let ours = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        let server = value.split([';', ' ']).next().unwrap_or_default();
        (name.eq_ignore_ascii_case("Authentication-Results") && server.eq_ignore_ascii_case(hostname.as_str()))
            .then_some(value)
    });
    let Some(ours) = ours else { return format!("{hostname}; none") };
    let line = ours.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    // Whole results only.
    match line.char_indices().nth(MAX_RESULTS) {
        Some((end, _)) => {
            line.get(..end).and_then(|cut| cut.rsplit_once(';')).map_or(line.clone(), |(kept, _)| kept.to_owned())
        }
        None => line,
    }
}

/// Breaks the line of results where blanks are; the seal covers the field in its relaxed form, which is the same.
fn folded(set: &str) -> String {
    let mut out = String::with_capacity(set.len() + 64);
    for line in set.split_inclusive("\r\n") {
        match line.starts_with("ARC-Authentication-Results:") {
            true => out.push_str(&line.replace("; ", ";\r\n\t")),
            false => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_results_are_sealed_and_in_one_line() {
        let own = Domain::parse("box.example.org").unwrap();
        let text = "Authentication-Results: other.example; dkim=pass\r\nauthentication-results: box.example.org;\r\n\tspf=pass  x;\r\n\tdkim=none\r\n\r\nAuthentication-Results: box.example.org; fake\r\n";
        assert_eq!(results(text.as_bytes(), &own), "box.example.org; spf=pass x; dkim=none");
        assert_eq!(results(b"Subject: x\r\n\r\n", &own), "box.example.org; none");
        let long = format!("Authentication-Results: box.example.org{}\r\n\r\n", "; dkim=pass".repeat(1_000));
        let kept = results(long.as_bytes(), &own);
        assert!(kept.len() <= MAX_RESULTS && kept.ends_with("dkim=pass"));
    }
}
