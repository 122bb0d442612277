//! Accounts, aliases and lists: mailboxes that fill up, addresses that lead nowhere, posts that nobody decides on.

use crate::finding::{Finding, Problem};
use crate::world::World;
use wire::directory::{Account, Accounts, Alias, Aliases, Lists, MailingList, Quota, QuotaScope, Quotas};
use wire::mailbox::{AccountUsage, Usage};
use wire::mta::{AccountSending, HeldPost, HeldPosts, Sending};

const DAY: u64 = 86_400;

/// No mailbox is nearly full.
pub async fn quotas(world: &World, warn_percent: u64) -> Finding {
    let wanted = format!("below {warn_percent} % of the quota");
    let asked = tokio::try_join!(world.client.ask(&AccountUsage {}), world.client.ask(&Quotas {}));
    match asked {
        Ok((usage, quotas)) => judge_quotas(&usage, &quotas, warn_percent, &wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_quotas(usage: &[Usage], quotas: &[Quota], warn_percent: u64, wanted: &str) -> Finding {
    let mut problems = Vec::new();
    for one in usage {
        let Some(most) = bound(one, quotas).filter(|most| *most > 0) else { continue };
        let percent = one.bytes.saturating_mul(100) / most;
        if percent >= warn_percent {
            let seen = format!("{percent} % of {} MB", most >> 20);
            problems.push(Problem::new(one.account.to_string(), seen, wanted).detail(one.account.to_string()));
        }
    }
    Finding::judge(problems, format!("mailboxes looked at: {}", usage.len()), wanted)
}

/// An account's own bound, else the one for every account.
fn bound(usage: &Usage, quotas: &[Quota]) -> Option<u64> {
    let rule = |scope: QuotaScope| quotas.iter().find(|quota| quota.scope == scope);
    rule(QuotaScope::Account(usage.account.clone())).or_else(|| rule(QuotaScope::Default)).map(|quota| quota.bytes)
}

/// Nobody administers by a password alone.
pub async fn second_factors(world: &World) -> Finding {
    let wanted = "a code beside the password of every administrator";
    match world.client.ask(&Accounts {}).await {
        Ok(accounts) => judge_second_factors(&accounts, wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_second_factors(accounts: &[Account], wanted: &str) -> Finding {
    let administrators = accounts.iter().filter(|account| account.admin);
    let problems = administrators.clone().filter(|account| !account.second_factor).map(|account| {
        let name = account.address.to_string();
        Problem::new(&name, "opens the panel by the password alone", wanted).detail(&name)
    });
    Finding::judge(problems.collect(), format!("administrators: {}", administrators.clone().count()), wanted)
}

/// Every alias leads somewhere, now.
pub async fn aliases(world: &World) -> Finding {
    let wanted = "every alias leads somewhere";
    match world.client.ask(&Aliases {}).await {
        Ok(aliases) => judge_aliases(&aliases, wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_aliases(aliases: &[Alias], wanted: &str) -> Finding {
    let ended = aliases.iter().filter(|alias| alias.ended && !alias.required);
    let problems = ended.map(|alias| {
        let name = alias.address.to_string();
        Problem::new(&name, "its time is over, and mail to it is refused", wanted).detail(&name)
    });
    Finding::judge(problems.collect(), format!("aliases looked at: {}", aliases.len()), wanted)
}

/// Every list has somebody who decides.
pub async fn lists(world: &World) -> Finding {
    let wanted = "every list has members";
    match world.client.ask(&Lists {}).await {
        Ok(lists) => judge_lists(&lists, wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_lists(lists: &[MailingList], wanted: &str) -> Finding {
    let empty = lists.iter().filter(|list| list.members == 0);
    let problems = empty.map(|list| {
        let name = list.address.to_string();
        Problem::new(&name, "nobody gets what is posted to it", wanted).detail(&name)
    });
    Finding::judge(problems.collect(), format!("lists looked at: {}", lists.len()), wanted)
}

/// Posts do not wait for a moderator for ever.
pub async fn held_posts(world: &World, oldest_days: u64) -> Finding {
    let wanted = format!("decided within {oldest_days} days");
    match world.client.ask(&HeldPosts {}).await {
        Ok(posts) => judge_posts(&posts, world.now, oldest_days, &wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_posts(posts: &[HeldPost], now: u64, oldest_days: u64, wanted: &str) -> Finding {
    let old = posts.iter().filter(|post| now.saturating_sub(post.at) >= oldest_days * DAY);
    let problems = old.map(|post| {
        let days = now.saturating_sub(post.at) / DAY;
        let seen = format!("“{}” of {} has waited for {days} days", post.subject, post.from);
        Problem::new(post.list.to_string(), seen, wanted).detail(&post.id)
    });
    Finding::judge(problems.collect(), format!("posts that wait: {}", posts.len()), wanted)
}

/// No account has been braked for sending too much.
pub async fn brakes(world: &World) -> Finding {
    let wanted = "no account is kept from sending";
    match world.client.ask(&Sending {}).await {
        Ok(sending) => judge_brakes(&sending, world.now, wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_brakes(sending: &[AccountSending], now: u64, wanted: &str) -> Finding {
    let mut problems = Vec::new();
    for one in sending {
        let Some(brake) = one.brake.as_ref().filter(|brake| brake.until > now) else { continue };
        let name = one.account.to_string();
        problems.push(Problem::new(&name, format!("may send nothing: {}", brake.why), wanted).detail(&name));
    }
    Finding::judge(problems, "none is", wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use base::Address;
    use wire::directory::Posting;
    use wire::mta::Brake;

    fn ann() -> Address {
        Address::parse("ann@example.org").unwrap()
    }

    #[test]
    fn a_mailbox_is_judged_by_its_own_quota_and_else_by_that_for_all() {
        let usage = Usage {
            account: ann(),
            messages: 1,
            bytes: 90 << 20,
            removed_messages: 0,
            removed_bytes: 0,
            index_bytes: 0,
        };
        let rule = |scope, megabytes: u64| Quota { scope, bytes: megabytes << 20 };
        let judge = |quotas: &[Quota]| judge_quotas(std::slice::from_ref(&usage), quotas, 90, "").verdict;
        assert_eq!(judge(&[]), Verdict::Good);
        assert_eq!(judge(&[rule(QuotaScope::Default, 100)]), Verdict::Bad);
        assert_eq!(judge(&[rule(QuotaScope::Default, 100), rule(QuotaScope::Account(ann()), 200)]), Verdict::Good);
    }

    #[test]
    fn an_administrator_without_a_second_factor_is_named() {
        let account = |admin, second_factor| Account { address: ann(), admin, second_factor, created: 0 };
        let judge = |accounts: &[Account]| judge_second_factors(accounts, "").seen;
        assert_eq!(judge(&[account(true, true), account(false, false)]), "administrators: 1");
        assert!(judge(&[account(true, false)]).contains("ann@example.org: opens the panel by the password alone"));
    }

    #[test]
    fn an_account_that_is_braked_is_named_with_the_reason_until_it_may_send_again() {
        let sending = |until| AccountSending {
            account: ann(),
            messages_hour: 400,
            messages_day: 400,
            recipients_day: 1,
            new_recipients_hour: 0,
            new_recipients_day: 0,
            brake: Some(Brake { since: 0, until, why: "more than 300 messages within an hour".into() }),
        };
        assert!(judge_brakes(&[sending(20)], 10, "").seen.contains("more than 300"));
        assert_eq!(judge_brakes(&[sending(10)], 10, "").verdict, Verdict::Good);
    }

    #[test]
    fn a_post_that_nobody_decides_on_is_told_after_its_time() {
        let post =
            |at| HeldPost { id: "1".into(), list: ann(), from: "eve".into(), subject: "hi".into(), author: None, at };
        assert_eq!(judge_posts(&[post(10 * DAY)], 16 * DAY, 7, "").verdict, Verdict::Good);
        assert!(judge_posts(&[post(10 * DAY)], 17 * DAY, 7, "").seen.contains("7 days"));
    }

    #[test]
    fn a_list_without_members_is_told() {
        let list = |members| MailingList {
            address: ann(),
            name: "x".into(),
            posting: Posting::Open,
            moderators: Vec::new(),
            created: 0,
            members,
        };
        assert_eq!(judge_lists(&[list(1)], "").verdict, Verdict::Good);
        assert_eq!(judge_lists(&[list(0)], "").verdict, Verdict::Bad);
    }
}
