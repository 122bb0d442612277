//! `mailstead user second-factor`: codes from an authenticator app, beside the password, for the panel.

use crate::output::{self, say};
use anyhow::Context;
use base::{Address, Secret};
use clap::{Args, Subcommand};
use dialoguer::Input;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Serialize;
use std::io::IsTerminal;
use wire::{Client, directory};

/// How often a mistyped code is asked for again on a terminal.
const TRIES: usize = 3;

/// Set up and remove the second factor of an account: codes of an authenticator app (TOTP, RFC 6238).
///
/// With one, the panel asks for a fresh code beside the password; each code lets in once. Mail programs go on with the
/// password, or better with app passwords of their own. Whoever has lost the device logs in to the machine and removes
/// it here. Who has one stands in `mailstead user list`.
#[derive(Args)]
pub struct SecondFactor {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key, shown this once as a QR code and as text, and ask for a code of it.
    ///
    /// It counts once a code of the app was right. Without a terminal nothing is asked: `confirm` takes the code then.
    Add {
        /// The account.
        address: Address,
        /// Print JSON: {"account", "key", "uri"}, and ask for nothing.
        #[arg(long)]
        json: bool,
    },
    /// Take a code of the app, from the terminal or the first line of standard input. From then on the panel asks for one.
    Confirm {
        /// The account.
        address: Address,
    },
    /// Remove the second factor; the password alone opens the panel again.
    Remove {
        /// The account.
        address: Address,
    },
}

#[derive(Serialize)]
struct Made<'a> {
    account: &'a Address,
    key: &'a str,
    uri: &'a str,
}

impl SecondFactor {
    /// `hostname` is what the app shows beside the account.
    pub async fn run(self, client: &Client, hostname: &str) -> anyhow::Result<()> {
        match self.command {
            Command::Add { address, json } => add(client, address.account(), hostname, json).await,
            Command::Confirm { address } => confirm(client, &address.account()).await,
            Command::Remove { address } => {
                let account = address.account();
                client.ask(&directory::RemoveSecondFactor { account: account.clone() }).await?;
                say!("The second factor of {account} is removed; the password alone opens the panel.");
                Ok(())
            }
        }
    }
}

async fn add(client: &Client, account: Address, hostname: &str, json: bool) -> anyhow::Result<()> {
    let key = client.ask(&directory::MakeSecondFactor { account: account.clone() }).await?;
    let uri = uri(&account, hostname, key.expose());
    if json {
        return output::json(&Made { account: &account, key: key.expose(), uri: &uri });
    }
    say!("Scan this with an authenticator app, or type the key into it:");
    say!("");
    let code = QrCode::new(&uri).context("the QR code")?.render::<Dense1x2>().build();
    code.lines().for_each(|line| say!("{}", black_on_white(line)));
    say!("");
    say!("Account: {account}");
    say!("Key:     {} (it is not shown again)", in_groups(key.expose()));
    if std::io::stdin().is_terminal() {
        return confirm(client, &account).await;
    }
    say!("It does not count yet. Give a code of the app:  mailstead user second-factor confirm {account}");
    Ok(())
}

async fn confirm(client: &Client, account: &Address) -> anyhow::Result<()> {
    let terminal = std::io::stdin().is_terminal();
    for left in (0..TRIES).rev() {
        let code = if terminal { asked()? } else { first_line()? };
        match client.ask(&directory::ConfirmSecondFactor { account: account.clone(), code }).await {
            Ok(()) => {
                say!("The panel asks {account} for a code from now on.");
                return Ok(());
            }
            Err(error) if terminal && left > 0 && error.is_invalid() => eprintln!("mailstead: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn asked() -> anyhow::Result<Secret> {
    let code: String = Input::new().with_prompt("The code that the app shows now").interact_text()?;
    Ok(Secret::new(code))
}

fn first_line() -> anyhow::Result<Secret> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("standard input")?;
    Ok(Secret::new(line.trim()))
}

/// What apps read from a QR code (github.com/google/google-authenticator/wiki/Key-Uri-Format, which all have taken over).
fn uri(account: &Address, hostname: &str, key: &str) -> String {
    let account = account.to_string();
    let account = utf8_percent_encode(&account, NON_ALPHANUMERIC);
    format!("otpauth://totp/{hostname}:{account}?secret={key}&issuer={hostname}")
}

/// On a terminal, whatever its colours: not every app reads a code that is light on dark (ECMA-48 §8.3.117).
fn black_on_white(line: &str) -> String {
    match std::io::stdout().is_terminal() {
        true => format!("\x1b[30;107m{line}\x1b[0m"),
        false => line.to_owned(),
    }
}

/// For the eye: apps leave blanks out.
fn in_groups(key: &str) -> String {
    key.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_gets_the_key_with_box_and_account() {
        let ann = Address::parse("ann+x@example.org").unwrap();
        let uri = uri(&ann, "box.example.org", "GEZDGNBV");
        let wanted = "otpauth://totp/box.example.org:ann%2Bx%40example%2Eorg?secret=GEZDGNBV&issuer=box.example.org";
        assert_eq!(uri, wanted);
        assert_eq!(in_groups("GEZDGNBVG"), "GEZD GNBV G");
    }
}
