//! The MTA-STS policy, fetched as a sender fetches it (RFC 8461 §3.3): over HTTPS, verified, without redirects.

use super::web;
use crate::finding::{Finding, Problem};
use crate::world::{World, each};
use base::Domain;

const WANTED: &str = "a policy that names this box, over HTTPS with a certificate for the name";

pub async fn mta_sts(world: &World) -> Finding {
    let domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, WANTED),
    };
    let mut problems = Vec::new();
    // Redirects are not followed (RFC 8461 §3.3).
    let fetch = |domain: &Domain| {
        let name = format!("mta-sts.{domain}");
        async move { web::fetch(world, &name, "/.well-known/mta-sts.txt").await }
    };
    let fetched = each(domains.iter().map(fetch).collect()).await;
    for (domain, fetched) in domains.iter().zip(fetched) {
        let wrong = match fetched {
            Ok(policy) => judge_policy(&policy.text, world.hostname()),
            Err(trouble) => Err(trouble),
        };
        if let Err(wrong) = wrong {
            problems.push(Problem::new(format!("https://mta-sts.{domain}/.well-known/mta-sts.txt"), wrong, WANTED));
        }
    }
    Finding::judge(problems, format!("domains that serve it: {}", domains.len()), WANTED)
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
