//! `mailstead list`: mailing lists, their members, and posts that wait.

use crate::commands::user::tell;
use crate::output::say;
use crate::{commands, converge, output};
use base::{Address, Paths};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use wire::directory::{self, MailingList, Posting};
use wire::{Client, WireError, mta};

/// Add, change and remove mailing lists, their members, and decide on posts that wait.
///
/// Whoever may post writes to the list's address; every member gets a copy with the list's fields, sealed (ARC) and
/// signed (DKIM). People join by a letter to LIST+subscribe@ and leave by one to LIST+unsubscribe@, or to the address in
/// the List-Unsubscribe field of any mail of the list. LIST+owner@ reaches the moderators.
#[derive(Args)]
pub struct List {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Rules {
    /// Everyone may post.
    #[arg(long, conflicts_with_all = ["members_only", "moderated"])]
    open: bool,
    /// Members may post; a moderator decides on what others write. This is so if nothing is said.
    #[arg(long, conflicts_with = "moderated")]
    members_only: bool,
    /// A moderator decides on everything.
    #[arg(long)]
    moderated: bool,
}

impl Rules {
    fn posting(&self) -> Option<Posting> {
        match (self.open, self.members_only, self.moderated) {
            (true, _, _) => Some(Posting::Open),
            (_, true, _) => Some(Posting::Members),
            (_, _, true) => Some(Posting::Moderated),
            _ => None,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Add a list, or change one: what is not said stays as it is.
    ///
    /// Example: mailstead list add club@example.org --name "The club" --moderator ann@example.org
    Add {
        address: Address,
        /// What people read; at first, what stands before the @.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        rules: Rules,
        /// Who decides on posts that wait; give it several times for several. At first, the box's owner.
        #[arg(long, value_name = "ADDRESS")]
        moderator: Vec<Address>,
        /// Print JSON: the list.
        #[arg(long)]
        json: bool,
    },
    /// List every list.
    List {
        /// Print JSON: a list of {"address", "name", "posting", "moderators", "created", "members"}.
        #[arg(long)]
        json: bool,
    },
    /// Show one list with its members.
    Show {
        address: Address,
        /// Print JSON: {"list", "members"}.
        #[arg(long)]
        json: bool,
    },
    /// Remove a list with its members and the posts that wait for a moderator. What was sent already stays.
    Remove {
        address: Address,
        /// Print JSON: {"removed"}.
        #[arg(long)]
        json: bool,
    },
    /// Add, remove and list members.
    Member {
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// List the posts that wait for a moderator.
    Pending {
        /// Print JSON: a list of {"id", "list", "from", "subject", "author", "at"}; author null if it is not proved.
        #[arg(long)]
        json: bool,
    },
    /// Let a post that waits out to the members.
    Approve {
        /// Its name, from `mailstead list pending`.
        id: String,
        /// Print JSON: {"approved"}.
        #[arg(long)]
        json: bool,
    },
    /// Drop a post that waits; its author is not told.
    Reject {
        /// Its name, from `mailstead list pending`.
        id: String,
        /// Print JSON: {"rejected"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum MemberCommand {
    /// Add a member without asking them, or end a suspension.
    Add {
        list: Address,
        #[arg(required = true)]
        members: Vec<Address>,
    },
    /// Remove a member.
    Remove { list: Address, member: Address },
    /// List the members, and who is suspended because mail came back.
    List {
        list: Address,
        /// Print JSON: a list of {"address", "joined", "bounces", "suspended"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Whole {
    list: MailingList,
    members: Vec<directory::Member>,
}

impl List {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Add { address, name, rules, moderator, json } => {
                let list = set(&client, address, name, rules.posting(), moderator, &config.email).await?;
                match json {
                    true => output::json(&list)?,
                    false => say!(
                        "{0} is a list of {1} members. To add some: mailstead list member add {0} ADDRESS…",
                        list.address,
                        list.members
                    ),
                }
                tell(converge::follow(&paths, &config).await);
            }
            Command::Remove { address, json } => {
                let removed = client.ask(&directory::RemoveList { address: address.clone() }).await;
                // Also where an earlier removal was cut off before this.
                if removed.as_ref().err().is_none_or(WireError::is_not_found)
                    && let Err(error) = drop_posts(&client, &address.account()).await
                {
                    eprintln!(
                        "mailstead: posts that wait for a moderator are still there; give this command again: {error}"
                    );
                }
                removed?;
                done(json, "removed", &address.account().to_string(), "is removed")?;
                tell(converge::follow(&paths, &config).await);
            }
            Command::List { json } => lists(&client, json).await?,
            Command::Show { address, json } => show(&client, address, json).await?,
            Command::Member { command } => member(&client, command).await?,
            Command::Pending { json } => pending(&client, json).await?,
            Command::Approve { id, json } => {
                client.ask(&mta::DecidePost { id: id.clone(), approve: true }).await?;
                done(json, "approved", &id, "goes out to the members")?;
            }
            Command::Reject { id, json } => {
                client.ask(&mta::DecidePost { id: id.clone(), approve: false }).await?;
                done(json, "rejected", &id, "is dropped")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn done(json: bool, what: &str, name: &str, words: &str) -> anyhow::Result<()> {
    if json {
        return output::json(&BTreeMap::from([(what, name)]));
    }
    say!("{name} {words}.");
    Ok(())
}

/// Adds or changes a list; what is not said is as it was, or as it is at first.
async fn set(
    client: &Client,
    address: Address,
    name: Option<String>,
    posting: Option<Posting>,
    moderators: Vec<Address>,
    owner: &Address,
) -> anyhow::Result<MailingList> {
    let before = match client.ask(&directory::ListOf { address: address.clone() }).await {
        Ok(list) => Some(list),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let (was_name, was_posting, were) = match before {
        Some(list) => (list.name, list.posting, list.moderators),
        None => (address.local().to_owned(), Posting::default(), vec![owner.account()]),
    };
    let ask = directory::SetList {
        address: address.clone(),
        name: name.unwrap_or(was_name),
        posting: posting.unwrap_or(was_posting),
        moderators: if moderators.is_empty() { were } else { moderators },
    };
    client.ask(&ask).await?;
    Ok(client.ask(&directory::ListOf { address }).await?)
}

fn who_posts(posting: Posting) -> &'static str {
    match posting {
        Posting::Open => "everyone may post",
        Posting::Members => "members may post",
        Posting::Moderated => "moderated",
    }
}

async fn lists(client: &Client, json: bool) -> anyhow::Result<()> {
    let lists = client.ask(&directory::Lists {}).await?;
    if json {
        return output::json(&lists);
    }
    if lists.is_empty() {
        say!("There are no lists. To make one: mailstead list add ADDRESS");
    }
    let row = |list: &MailingList| {
        let members = format!("{} members", list.members);
        vec![list.address.to_string(), list.name.clone(), members, who_posts(list.posting).to_owned()]
    };
    output::table(&lists.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn show(client: &Client, address: Address, json: bool) -> anyhow::Result<()> {
    let list = client.ask(&directory::ListOf { address }).await?;
    let members = client.ask(&directory::Members { list: list.address.clone() }).await?;
    if json {
        return output::json(&Whole { list, members });
    }
    let moderators: Vec<String> = list.moderators.iter().map(Address::to_string).collect();
    say!("{} ({})", list.address, list.name);
    say!("Posting:    {}", who_posts(list.posting));
    say!("Moderators: {}", moderators.join(", "));
    say!("Members:    {}", list.members);
    table_of(&members);
    Ok(())
}

fn table_of(members: &[directory::Member]) {
    let row = |member: &directory::Member| {
        let remark = match (member.suspended, member.bounces) {
            (true, _) => "(suspended: mail came back on several days)".to_owned(),
            (_, 0) => String::new(),
            (_, 1) => "(mail came back on one day)".to_owned(),
            (_, days) => format!("(mail came back on {days} days)"),
        };
        vec![member.address.to_string(), remark]
    };
    output::table(&members.iter().map(row).collect::<Vec<_>>());
}

async fn member(client: &Client, command: MemberCommand) -> anyhow::Result<()> {
    match command {
        MemberCommand::Add { list, members } => {
            for member in members {
                let ask = directory::Subscribe { list: list.clone(), member: member.clone() };
                match client.ask(&ask).await? {
                    true => say!("{member} is a member of {} now.", list.account()),
                    false => say!("{member} was a member of {} already.", list.account()),
                }
            }
        }
        MemberCommand::Remove { list, member } => {
            let ask = directory::Unsubscribe { list: list.clone(), member: member.clone() };
            if !client.ask(&ask).await? {
                anyhow::bail!(
                    "{member} is no member of {}; see: mailstead list member list {}",
                    list.account(),
                    list.account()
                );
            }
            say!("{member} is no member of {} any more.", list.account());
        }
        MemberCommand::List { list, json } => {
            let members = client.ask(&directory::Members { list }).await?;
            if json {
                return output::json(&members);
            }
            table_of(&members);
        }
    }
    Ok(())
}

/// Nobody can decide on them any more.
async fn drop_posts(client: &Client, list: &Address) -> Result<(), WireError> {
    let posts = client.ask(&mta::HeldPosts {}).await?;
    for post in posts.into_iter().filter(|post| post.list == *list) {
        client.ask(&mta::DecidePost { id: post.id, approve: false }).await?;
    }
    Ok(())
}

async fn pending(client: &Client, json: bool) -> anyhow::Result<()> {
    let posts = client.ask(&mta::HeldPosts {}).await?;
    if json {
        return output::json(&posts);
    }
    if posts.is_empty() {
        say!("No post waits for a moderator.");
    }
    let row = |post: &mta::HeldPost| {
        let proved = if post.author.is_some() { "" } else { "(not proved)" };
        vec![
            post.id.clone(),
            base::time::readable(post.at),
            post.list.to_string(),
            post.from.clone(),
            post.subject.clone(),
            proved.to_owned(),
        ]
    };
    output::table(&posts.iter().map(row).collect::<Vec<_>>());
    Ok(())
}
