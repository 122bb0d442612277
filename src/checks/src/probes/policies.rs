//! The MTA-STS policy, fetched as a sender fetches it (RFC 8461 §3.3): over HTTPS, verified, without redirects.

use crate::finding::{Finding, Problem};
use crate::limits::{FETCHED_WITHIN, MAX_POLICY};
use crate::world::{World, each};
use base::Domain;
use std::net::SocketAddr;

const WANTED: &str = "a policy that names this box, over HTTPS with a certificate for the name";

pub async fn mta_sts(world: &World) -> Finding {
    let domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, WANTED),
    };
    let mut problems = Vec::new();
    let fetched = each(domains.iter().map(|domain| fetch(world, domain)).collect()).await;
    for (domain, fetched) in domains.iter().zip(fetched) {
        let wrong = match fetched {
            Ok(policy) => judge_policy(&policy, world.hostname()),
            Err(trouble) => Err(trouble),
        };
        if let Err(wrong) = wrong {
            problems.push(Problem::new(format!("https://mta-sts.{domain}/.well-known/mta-sts.txt"), wrong, WANTED));
        }
    }
    Finding::judge(problems, format!("domains that serve it: {}", domains.len()), WANTED)
}

async fn fetch(world: &World, domain: &Domain) -> Result<String, String> {
    let name = format!("mta-sts.{domain}");
    let addresses = world.names.addresses(&name).await.map_err(|error| error.to_string())?;
    let address = addresses.first().ok_or_else(|| format!("{name} has no address"))?;
    // Redirects must not be followed (RFC 8461 §3.3), and the name was resolved as the rest of the world does.
    let client = reqwest::Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCHED_WITHIN)
        .resolve(&name, SocketAddr::new(*address, 443))
        .build()
        .map_err(in_words)?;
    let url = format!("https://{name}/.well-known/mta-sts.txt");
    let mut answer = client.get(url).send().await.map_err(in_words)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut policy = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(in_words)? {
        policy.extend_from_slice(&piece);
        if policy.len() > MAX_POLICY {
            return Err(format!("it is longer than {MAX_POLICY} bytes"));
        }
    }
    String::from_utf8(policy).map_err(|_| "it is not text".to_owned())
}

/// The innermost cause: a refused certificate is what an owner has to read, not “error sending request”.
fn in_words(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// RFC 8461 §3.2.
fn judge_policy(policy: &str, hostname: &str) -> Result<(), String> {
    let pairs: Vec<(&str, &str)> =
        policy.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())).collect();
    let first = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    if first("version") != Some("STSv1") {
        return Err("it is not a policy (no “version: STSv1”)".to_owned());
    }
    let mode = first("mode").unwrap_or_default();
    if !matches!(mode, "enforce" | "testing" | "none") {
        return Err(format!("its mode “{mode}” is none that senders know"));
    }
    let matches = |pattern: &str| {
        let parent = hostname.split_once('.').map(|(_, parent)| parent);
        pattern.eq_ignore_ascii_case(hostname) || (parent.is_some() && pattern.strip_prefix("*.") == parent)
    };
    match mode == "none" || pairs.iter().any(|(key, pattern)| *key == "mx" && matches(pattern)) {
        true => Ok(()),
        false => Err(format!("it does not name {hostname}, so senders that honour it would not deliver")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_to_name_this_box() {
        let policy =
            "version: STSv1\r\nmode: enforce\r\nmx: old.example.org\r\nmx: box.example.org\r\nmax_age: 604800\r\n";
        assert_eq!(judge_policy(policy, "box.example.org"), Ok(()));
        assert_eq!(judge_policy(&policy.replace("box.", "*."), "box.example.org"), Ok(()));
        assert!(judge_policy(policy, "new.example.org").unwrap_err().contains("would not deliver"));
        assert!(judge_policy("<html>", "box.example.org").unwrap_err().contains("not a policy"));
        assert!(judge_policy(&policy.replace("enforce", "strict"), "box.example.org").is_err());
    }
}
