//! What may be asked of the directory: who exists, who may log in, who may send as whom.

mod alias;
mod list;
mod relay;

pub use alias::{Alias, AliasName, AliasRules, BackupMx, DomainAlias, Forwarding, Writers};
pub use list::{Bounced, MailingList, Member, Posting};
pub use relay::{Relay, RelayScope, RelayTls};

use super::Snapshot;
use base::{Address, Domain, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

crate::door! { base::Role::Directory;
    /// Where mail for an address goes.
    Resolve { address: Address } -> Resolution, from [Mta, Mailbox];
    /// Whether a password is right. Slow on failure, per client address and per account.
    Authenticate { login: String, password: Secret, service: Service, client: IpAddr } -> Login, from [Mta, Mailbox];
    /// Whether somebody may enter the panel: by the chosen password, and where the account has a second factor by a
    /// fresh code of it too. A code lets in once. Slow on failure, like `Authenticate`.
    EnterPanel { login: String, password: Secret, code: Secret, client: IpAddr } -> Login, from [Web];
    /// What a SCRAM-SHA-256 exchange (RFC 5802, RFC 7677) begins with. A name that is unknown or has no app passwords
    /// gets a made-up salt, always the same one, so that the answer tells nothing.
    ScramChallenge { login: String, client: IpAddr } -> ScramParameters, from [Mta, Mailbox];
    /// Whether a client's proof fits one of the account's app passwords. Slow on failure, like `Authenticate`.
    ScramVerify {
        login: String,
        /// RFC 5802 §3: client-first-message-bare, server-first-message and client-final-message-without-proof, joined
        /// by commas. The asker has checked nonce and channel binding.
        auth_message: String,
        client_proof: Vec<u8>,
        service: Service,
        client: IpAddr,
    } -> ScramLogin, from [Mta, Mailbox];
    /// Whether any account has an app password: without one nobody can log in by SCRAM, and it is not to be offered.
    ScramOffered {} -> bool, from [Mta, Mailbox];
    /// Makes a random password for one device, which is good for everything but the panel. It is shown this once.
    AddAppPassword { account: Address, name: String } -> Secret, from [];
    /// The app passwords of an account, by name.
    AppPasswords { account: Address } -> Vec<AppPassword>, from [];
    RemoveAppPassword { account: Address, name: String } -> (), from [];
    /// Makes the key of an account's second factor (RFC 6238), in base32. It counts once a code of it was shown; until
    /// then each call makes a new one. Refused where one counts already.
    MakeSecondFactor { account: Address } -> Secret, from [];
    /// Shows a code of the key that was made last: from now on the panel asks for one.
    ConfirmSecondFactor { account: Address, code: Secret } -> (), from [];
    RemoveSecondFactor { account: Address } -> (), from [];
    /// Whether an account may write an address into From or MAIL FROM: its own, its tags, or an alias that leads to it or
    /// names it among its senders.
    MaySend { account: Address, sender: Address } -> bool, from [Mta];
    /// How an account's mail is sent.
    SendingOf { account: Address } -> Sending, from [Mta];
    /// How long an account's mail is kept back before it leaves, so that it can be taken back: 600 seconds at most, 0 for
    /// not at all.
    SetUndoWindow { account: Address, seconds: u32 } -> (), from [];
    /// The domains that get mail here: those of accounts, aliases and lists, sorted.
    Domains {} -> Vec<Domain>, from [Mta, Mailbox, Filter, Dns, Certs, Checks, Backup];
    /// Every account, sorted.
    Accounts {} -> Vec<Account>, from [Mailbox, Checks, Backup];
    /// Adds an account. Refused when the address is taken.
    AddAccount { address: Address, password: Secret, admin: bool } -> (), from [];
    SetPassword { account: Address, password: Secret } -> (), from [];
    /// Removes an account; its mail stays where it is until the mailbox role retires it. What the directory knew of it
    /// is kept for 30 days, but for its app passwords.
    RemoveAccount { account: Address } -> (), from [];
    /// The accounts that were removed in the last 30 days, the latest first.
    RemovedAccounts {} -> Vec<RemovedAccount>, from [Mailbox];
    /// Brings a removed account back: password, rights, quota, and its place in the aliases that are still there.
    RestoreAccount { account: Address } -> Restored, from [];
    /// Adds an alias to accounts of this box, other aliases, and addresses of other servers; or replaces it.
    AddAlias { address: AliasName, targets: Vec<Address>, rules: AliasRules } -> (), from [];
    RemoveAlias { address: AliasName } -> (), from [];
    /// Every alias, sorted; the required ones (postmaster@ and friends) and those whose time is over included.
    Aliases {} -> Vec<Alias>, from [Checks];
    /// Makes every address of one domain the same address of another, which has to be a domain of this box.
    AddDomainAlias { from: Domain, to: Domain } -> (), from [];
    RemoveDomainAlias { from: Domain } -> (), from [];
    /// Every domain alias, sorted.
    DomainAliases {} -> Vec<DomainAlias>, from [];
    /// Adds a mailing list, or changes its name, who may post and who decides.
    SetList { address: Address, name: String, posting: Posting, moderators: Vec<Address> } -> (), from [];
    /// Removes a list with its members.
    RemoveList { address: Address } -> (), from [];
    /// Every list, sorted.
    Lists {} -> Vec<MailingList>, from [Checks];
    /// One list; not found when there is none.
    ListOf { address: Address } -> MailingList, from [Mta];
    /// A list's members, sorted.
    Members { list: Address } -> Vec<Member>, from [Mta];
    /// Adds a member, or ends its suspension; tells whether it changed anything.
    Subscribe { list: Address, member: Address } -> bool, from [Mta];
    /// Removes a member; tells whether it was one.
    Unsubscribe { list: Address, member: Address } -> bool, from [Mta];
    /// Notes that mail to a member came back for good.
    NoteBounce { list: Address, member: Address } -> Bounced, from [Mta];
    /// Takes mail for another domain while its own server is away.
    AddBackupMx { domain: Domain, primary: Domain } -> (), from [];
    RemoveBackupMx { domain: Domain } -> (), from [];
    /// Every such domain, sorted.
    BackupMxs {} -> Vec<BackupMx>, from [Checks];
    /// Sets how much mail may be kept, or with no `bytes` takes the rule away.
    SetQuota { scope: QuotaScope, bytes: Option<u64> } -> (), from [];
    /// Every rule: the default first, then domains, then accounts. None as long as the owner sets none.
    Quotas {} -> Vec<Quota>, from [Checks];
    /// The bounds that hold for an account.
    QuotaOf { account: Address } -> AccountQuota, from [Mailbox];
    /// Sets the relay for a scope, or changes it.
    SetRelay { relay: Relay } -> (), from [];
    RemoveRelay { scope: RelayScope } -> (), from [];
    /// Every relay; the one for the whole box first. Of the roles, only the MTA is given the passwords.
    Relays {} -> Vec<Relay>, from [Mta, Dns, Checks];
    /// Makes a consistent copy of `box.db` beside it.
    TakeSnapshot {} -> Snapshot, from [Backup];
}

/// Where mail for an address goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// To these accounts of this box (one, or an alias's several).
    Accounts(Vec<Address>),
    /// To an alias that leads to other servers too, or that is not for everyone.
    Alias(Forwarding),
    /// To a mailing list of this box, or to its service (`list+unsubscribe@`): this is the list's own address.
    List(Address),
    /// The domain is not ours, but this box takes mail for it while its own server is away.
    BackupFor(BackupMx),
    /// The domain is ours, the address is not.
    Unknown,
    /// The domain is not ours.
    Elsewhere,
}

/// What a login with a mail program is for; named in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    Imap,
    Pop3,
    ManageSieve,
    Submission,
}

impl Service {
    pub fn name(self) -> &'static str {
        match self {
            Service::Imap => "IMAP",
            Service::Pop3 => "POP3",
            Service::ManageSieve => "ManageSieve",
            Service::Submission => "submission",
        }
    }
}

/// The outcome of an authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Login {
    Granted {
        account: Address,
        admin: bool,
    },
    /// Wrong name or password; which of them is not told.
    Denied,
    /// Too many failures from there or for that account; the password was not looked at.
    Throttled {
        retry_after_seconds: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub address: Address,
    pub admin: bool,
    /// Whether the panel asks for a code beside the password.
    #[serde(default)]
    pub second_factor: bool,
    /// Seconds since 1970.
    pub created: u64,
}

/// What the server-first-message of a SCRAM exchange carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramParameters {
    pub salt: Vec<u8>,
    pub iterations: u32,
}

/// The outcome of a SCRAM exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScramLogin {
    Granted {
        account: Address,
        admin: bool,
        /// By which the client knows that it talks to its own server (RFC 5802 §3, ServerSignature).
        server_signature: Vec<u8>,
    },
    /// Wrong name or password; which of them is not told.
    Denied,
    /// Too many failures from there or for that account; the proof was not looked at.
    Throttled { retry_after_seconds: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// The device or program it was made for.
    pub name: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The day (UTC) of the last login with it: seconds since 1970, at midnight. None before the first.
    pub last_used: Option<u64>,
}

/// What an account wants of its outgoing mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Seconds for which mail is kept back before it leaves.
    pub undo_seconds: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedAccount {
    pub address: Address,
    /// Seconds since 1970.
    pub removed: u64,
    /// When it is forgotten for good.
    pub purged: u64,
}

/// What came back with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When it had been removed.
    pub removed: u64,
    /// The aliases that lead to it again.
    pub aliases: Vec<AliasName>,
}

/// What a quota holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuotaScope {
    /// Each account without a rule of its own.
    Default,
    /// The sum of a domain's accounts.
    Domain(Domain),
    Account(Address),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    pub scope: QuotaScope,
    pub bytes: u64,
}

/// The bounds that hold for one account; None is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountQuota {
    /// Its own rule, else the default.
    pub account_bytes: Option<u64>,
    /// For all accounts of its domain together.
    pub domain_bytes: Option<u64>,
}
