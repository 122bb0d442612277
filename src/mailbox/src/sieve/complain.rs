//! The mail that tells an owner that a script failed. Pure.

use super::run::Fault;
use base::Address;

/// A message from the box to the owner of a script. `id` makes its Message-ID; `now` is in seconds since 1970.
pub fn letter(account: &Address, hostname: &str, fault: &Fault, subject: Option<&str>, id: &str, now: u64) -> Vec<u8> {
    let Fault { script, words } = fault;
    let about = match subject {
        Some(subject) => format!("It failed on a message with the subject “{}”.\r\n", plain(subject)),
        None => String::new(),
    };
    format!(
        "From: Mailstead <postmaster@{domain}>\r\nTo: <{account}>\r\nDate: {date}\r\n\
        Message-ID: <{id}@{hostname}>\r\nSubject: Your Sieve script failed\r\nAuto-Submitted: auto-generated\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        Your Sieve script “{script}” failed, and so the message was left in your inbox:\r\n\r\n    {words}\r\n\r\n\
        {about}Nothing that the script should have done was done. Other messages may meet the same failure; you are \
        told\r\nof it once a day, until the script is mended or another one is made active.\r\n",
        domain = account.domain(),
        date = base::time::rfc5322(now),
        script = plain(script),
        words = plain(words),
    )
    .into_bytes()
}

/// One line of bounded length.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_the_script_and_what_went_wrong() {
        let ann = Address::parse("ann@example.org").unwrap();
        let fault = Fault { script: "main".into(), words: "line 3, column 1: no\r\nsuch thing".into() };
        let letter = letter(&ann, "box.example.org", &fault, Some("hi"), "x", 0);
        let text = String::from_utf8(letter).unwrap();
        assert!(text.contains("“main” failed") && text.contains("    line 3, column 1: no  such thing\r\n"));
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    }
}
