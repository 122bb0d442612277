//! Mail itself: what port 25 takes and refuses, what waits in the queue, who the accounts are.

use crate::finding::{Finding, Problem};
use crate::talk::{Reply, Talk};
use crate::world::World;
use wire::directory::{Account, Accounts};
use wire::mta::{Queue, Waiting};

/// Names that RFC 2142 and certificate authorities write to.
const REQUIRED: [&str; 4] = ["postmaster", "abuse", "hostmaster", "admin"];
/// A name for documentation (RFC 2606 §3), so that a box that fails the check sends nobody anything: the session ends
/// before any message.
const STRANGER: &str = "somebody@example.net";

/// What port 25 answers to each recipient, in a session that ends before any message.
async fn recipients(world: &World, recipients: &[String]) -> Result<Vec<Reply>, String> {
    let mut talk = Talk::connect(world.endpoints.smtp.local()).await?;
    let greeting = talk.reply().await?;
    if greeting.code != 220 {
        return Err(format!("port 25 greets with {}", greeting.text()));
    }
    talk.command(&format!("EHLO {}", world.hostname())).await?;
    let sender = talk.command("MAIL FROM:<>").await?;
    if sender.code != 250 {
        return Err(format!("port 25 answers MAIL FROM:<> with {}", sender.text()));
    }
    let mut replies = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        replies.push(talk.command(&format!("RCPT TO:<{recipient}>")).await?);
    }
    let _ = talk.send("QUIT").await;
    Ok(replies)
}

pub async fn postmaster(world: &World) -> Finding {
    let wanted = "250 for postmaster@, abuse@, hostmaster@ and admin@ of every domain";
    let domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let addresses: Vec<String> =
        domains.iter().flat_map(|domain| REQUIRED.map(|name| format!("{name}@{domain}"))).collect();
    let mut problems = Vec::new();
    // A session of its own for each few, well below any limit of recipients with failures.
    for few in addresses.chunks(REQUIRED.len()) {
        match recipients(world, few).await {
            Ok(replies) => {
                let refused = few.iter().zip(&replies).filter(|(_, reply)| reply.code != 250);
                problems.extend(refused.map(|(address, reply)| Problem::new(address, reply.text(), "250, taken")));
            }
            Err(trouble) => return Finding::unknown(trouble, wanted),
        }
    }
    Finding::judge(problems, format!("all {} addresses are taken", addresses.len()), wanted)
}

pub async fn relay(world: &World) -> Finding {
    let wanted = "a refusal (5xx) of mail that is not for this box";
    match recipients(world, &[STRANGER.to_owned()]).await.as_deref() {
        Ok([reply]) if (500..600).contains(&reply.code) => Finding::good(format!("refused: {}", reply.text()), wanted),
        // Put off is neither taken nor refused: the directory of accounts is away, say.
        Ok([reply]) if (400..500).contains(&reply.code) => {
            Finding::unknown(format!("put off: {}", reply.text()), wanted)
        }
        Ok(replies) => {
            let said = replies.first().map(Reply::text).unwrap_or_default();
            Finding::bad(vec![Problem::new(STRANGER, format!("answered {said}"), wanted)])
        }
        Err(trouble) => Finding::unknown(trouble.clone(), wanted),
    }
}

pub async fn queue(world: &World, oldest_hours: u64, most: usize) -> Finding {
    match world.client.ask(&Queue {}).await {
        Ok(waiting) => judge_queue(&waiting, world.now, oldest_hours, most),
        Err(error) => Finding::unknown(error.to_string(), "a look at the queue"),
    }
}

fn judge_queue(waiting: &[Waiting], now: u64, oldest_hours: u64, most: usize) -> Finding {
    let wanted = format!("no more than {most} waiting, none longer than {oldest_hours} hours");
    let oldest = waiting.iter().min_by_key(|one| one.queued);
    let hours = oldest.map_or(0, |one| now.saturating_sub(one.queued) / 3600);
    let seen = format!("{} waiting, the oldest for {hours} hours", waiting.len());
    let Some(oldest) = oldest.filter(|_| waiting.len() > most || hours >= oldest_hours) else {
        return Finding::good(if waiting.is_empty() { "nothing waits".to_owned() } else { seen }, wanted);
    };
    let last = oldest.last.as_deref().unwrap_or("not tried yet");
    let detail = format!("{} to {}: {last}", oldest.id, oldest.recipient);
    Finding::bad(vec![Problem::new("", seen, wanted).detail(detail)])
}

pub async fn accounts(world: &World) -> Finding {
    match world.client.ask(&Accounts {}).await {
        Ok(accounts) => judge_accounts(&accounts, &world.config.email.account().to_string()),
        Err(error) => Finding::unknown(error.to_string(), "the owner's account"),
    }
}

fn judge_accounts(accounts: &[Account], owner: &str) -> Finding {
    let wanted = format!("an account {owner} that administers");
    let seen = match accounts.iter().find(|account| account.address.to_string() == owner) {
        Some(account) if account.admin => {
            return Finding::good(format!("accounts: {}, {owner} among them", accounts.len()), wanted);
        }
        Some(_) => format!("{owner} is there but does not administer"),
        None if accounts.is_empty() => "no account at all".to_owned(),
        None => format!("accounts: {}, {owner} not among them", accounts.len()),
    };
    Finding::bad(vec![Problem::new("", seen, wanted).detail(owner)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use base::Address;

    fn waiting(queued: u64) -> Waiting {
        Waiting {
            id: "q1".into(),
            sender: None,
            recipient: Address::parse("bob@example.net").unwrap(),
            bytes: 1,
            queued,
            next_try: 0,
            tries: 3,
            last: Some("450 try later".into()),
            held: false,
        }
    }

    #[test]
    fn a_queue_is_too_old_or_too_long_and_says_what_the_oldest_met() {
        let now = 100 * 3600;
        assert_eq!(judge_queue(&[], now, 4, 10).verdict, Verdict::Good);
        assert_eq!(judge_queue(&[waiting(now - 3600)], now, 4, 10).verdict, Verdict::Good);
        let old = judge_queue(&[waiting(now - 3600), waiting(now - 5 * 3600)], now, 4, 10);
        assert_eq!(old.verdict, Verdict::Bad);
        assert!(old.problems[0].detail.contains("450 try later") && old.seen.contains("5 hours"));
        assert_eq!(judge_queue(&vec![waiting(now); 11], now, 4, 10).verdict, Verdict::Bad);
    }

    #[test]
    fn the_owner_needs_an_account_that_administers() {
        let account = |admin| Account {
            address: Address::parse("ann@example.org").unwrap(),
            admin,
            second_factor: false,
            created: 0,
        };
        assert_eq!(judge_accounts(&[account(true)], "ann@example.org").verdict, Verdict::Good);
        assert_eq!(judge_accounts(&[account(false)], "ann@example.org").verdict, Verdict::Bad);
        assert_eq!(judge_accounts(&[], "ann@example.org").verdict, Verdict::Bad);
    }
}
