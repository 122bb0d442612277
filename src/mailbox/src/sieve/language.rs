//! The language: which extensions there are, compiling a script, and saying what is wrong with one and where.

use crate::limits;
use sieve::compiler::ErrorType;
use sieve::compiler::grammar::Capability;
use sieve::runtime::RuntimeError;
use sieve::{Compiler, Event, Input, Runtime, Sieve};
use std::sync::Arc;

/// The extensions, with their RFCs. Everything else that sieve-rs knows is refused by name.
const EXTENSIONS: [(&str, &str); 30] = [
    ("fileinto", "RFC 5228 §4.1"),
    ("envelope", "RFC 5228 §5.4"),
    ("encoded-character", "RFC 5228 §2.4.2.4"),
    ("comparator-i;ascii-casemap", "RFC 5228 §2.7.3"),
    ("comparator-i;octet", "RFC 5228 §2.7.3"),
    ("comparator-i;ascii-numeric", "RFC 4790 §9.1"),
    ("body", "RFC 5173"),
    ("copy", "RFC 3894"),
    ("date", "RFC 5260"),
    ("index", "RFC 5260"),
    ("duplicate", "RFC 7352"),
    ("editheader", "RFC 5293"),
    ("ereject", "RFC 5429"),
    ("reject", "RFC 5429"),
    ("enotify", "RFC 5435, RFC 5436"),
    ("environment", "RFC 5183"),
    ("fcc", "RFC 8580"),
    ("foreverypart", "RFC 5703"),
    ("mime", "RFC 5703"),
    ("extracttext", "RFC 5703"),
    ("ihave", "RFC 5463"),
    ("imap4flags", "RFC 5232"),
    ("include", "RFC 6609"),
    ("mailbox", "RFC 5490"),
    ("regex", "draft-ietf-sieve-regex"),
    ("relational", "RFC 5231"),
    ("special-use", "RFC 8579"),
    ("subaddress", "RFC 5233"),
    ("vacation", "RFC 5230"),
    ("variables", "RFC 5229"),
];

/// What is wrong with a script, in a sentence that names the line where it is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptFault(pub String);

/// The names of the extensions, separated by spaces, as ManageSieve's SIEVE capability tells them.
pub fn extensions() -> String {
    EXTENSIONS.map(|(name, _)| name).join(" ")
}

/// Compiles a script.
pub fn compile(text: &[u8]) -> Result<Arc<Sieve>, ScriptFault> {
    let compiler = Compiler::new()
        .with_max_script_size(limits::SIEVE_SCRIPT)
        .with_max_string_size(limits::SIEVE_STRING)
        .with_max_includes(limits::SIEVE_INCLUDES);
    let compiled = compiler.compile(text).map_err(|error| {
        let (line, column) = (error.line_num(), error.line_pos());
        if let ErrorType::UnexpectedToken { expected, found } = error.error_type()
            && expected == "command"
        {
            return ScriptFault(format!("line {}: there is no command “{found}”", command_line(text, line, found)));
        }
        let words = error.to_string();
        let place = format!(" at line {line}, column {column}.");
        let words = words.strip_suffix(&place).unwrap_or(&words);
        ScriptFault(format!("line {}, column {column}: {words}", line.max(1)))
    })?;
    Ok(Arc::new(compiled))
}

/// The line of an unknown command. The compiler tells that of the block it stands in, or none.
fn command_line(text: &[u8], block: usize, command: &str) -> usize {
    let text = String::from_utf8_lossy(text);
    let from = block.max(1);
    let has = |line: &str| {
        line.split('#').next().is_some_and(|code| {
            code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.eq_ignore_ascii_case(command))
        })
    };
    text.lines().skip(from - 1).position(has).map_or(from, |index| from + index)
}

/// Compiles a script and looks whether it wants an extension that this server does not have.
pub fn check(text: &[u8]) -> Result<(), ScriptFault> {
    let script = compile(text)?;
    let runtime = runtime();
    let mut trial = runtime.filter(b"From: a@example.org\r\n\r\n");
    // The requirements come first in a script (RFC 5228 §3.2), so its first step tells.
    match trial.run(Input::script("", script)) {
        Some(Err(error @ (RuntimeError::CapabilityNotAllowed(_) | RuntimeError::CapabilityNotSupported(_)))) => {
            let line = require_line(text, &error);
            Err(ScriptFault(format!("line {line}: {}", fault_words(&error))))
        }
        _ => Ok(()),
    }
}

/// The line on which an extension is named.
fn require_line(text: &[u8], error: &RuntimeError) -> usize {
    let name = match error {
        RuntimeError::CapabilityNotAllowed(capability) => capability.to_string(),
        RuntimeError::CapabilityNotSupported(name) => name.clone(),
        _ => String::new(),
    };
    let quoted = format!("\"{name}\"");
    let text = String::from_utf8_lossy(text);
    text.lines().position(|line| line.contains(&quoted)).map_or(1, |index| index + 1)
}

/// What went wrong at run time, with the line where the interpreter tells it.
pub fn fault_words(error: &RuntimeError) -> String {
    match error {
        RuntimeError::TooManyIncludes => format!("scripts include each other more than {} deep", limits::SIEVE_NESTING),
        RuntimeError::InvalidInstruction(invalid) => {
            let (line, column) = (invalid.line_num(), invalid.line_pos());
            format!("line {line}, column {column}: there is no “{}”", invalid.name())
        }
        RuntimeError::ScriptErrorMessage(message) => format!("the script says: {message}"),
        RuntimeError::CapabilityNotAllowed(capability) => format!("this server does not have “{capability}”"),
        RuntimeError::CapabilityNotSupported(name) => format!("this server does not have “{name}”"),
        RuntimeError::CPULimitReached => format!("it took more than {} steps", limits::SIEVE_STEPS),
    }
}

/// How scripts are run. What depends on the account and the delivery is set on each run.
pub fn runtime() -> Runtime {
    let mut runtime = Runtime::new()
        .with_cpu_limit(limits::SIEVE_STEPS)
        .with_max_nested_includes(limits::SIEVE_NESTING)
        .with_max_redirects(limits::SIEVE_REDIRECTS)
        .with_max_out_messages(limits::SIEVE_OUTGOING)
        .with_max_received_headers(limits::SIEVE_HOPS)
        .with_max_variable_size(limits::SIEVE_STRING)
        .with_default_vacation_expiry(limits::VACATION_DEFAULT)
        .with_default_duplicate_expiry(limits::DUPLICATE_DEFAULT)
        .with_valid_notification_uri("mailto")
        .with_vacation_subject_prefix("Auto: ")
        .with_env_variable("name", "Mailstead")
        .with_env_variable("version", env!("CARGO_PKG_VERSION"))
        .with_env_variable("location", "MDA")
        .with_env_variable("phase", "during");
    // Who wrote a message and how it came is not for scripts to say (RFC 5293 §6), nor is what the box says of it.
    for header in ["Received", "Auto-Submitted", "Return-Path", "Delivered-To", "X-Mailstead-Verdict"] {
        runtime.set_protected_header(header);
    }
    let offered = |capability: &Capability| EXTENSIONS.iter().any(|(name, _)| *name == capability.to_string());
    let unwanted: Vec<Capability> = Capability::all().iter().filter(|it| !offered(it)).cloned().collect();
    runtime.without_capabilities(unwanted)
}

/// Whether a step of a script asks something or does something.
pub fn is_question(event: &Event) -> bool {
    matches!(
        event,
        Event::IncludeScript { .. }
            | Event::MailboxExists { .. }
            | Event::ListContains { .. }
            | Event::DuplicateId { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let fault = check(b"require \"fileinto\";\r\n\r\nfileinto;\r\n").unwrap_err();
        assert!(fault.0.starts_with("line 3, column "), "{fault}");
        let fault = check(b"# x\r\nfileinto \"a\";\r\n").unwrap_err();
        assert!(fault.0.starts_with("line 2") && fault.0.contains("fileinto"), "{fault}");
        let fault = check(b"keep;\r\n# frob\r\nif true {\r\n  frob \"x\";\r\n}\r\n").unwrap_err();
        assert_eq!(fault.0, "line 4: there is no command “frob”");
        let fault = check(b"keep;\r\nfrob;\r\n").unwrap_err();
        assert_eq!(fault.0, "line 2: there is no command “frob”");
        let fault = check(b"keep;\r\nif true {\r\n  keep;\r\n").unwrap_err();
        assert!(fault.0.starts_with("line "), "{fault}");
    }

    #[test]
    fn extensions_that_are_not_offered_are_refused_with_their_line() {
        for missing in ["mailboxid", "extlists", "vnd.dovecot.pipe", "imapsieve", "spamtest", "convert", "while"] {
            let fault = check(format!("#\r\nrequire [\"fileinto\",\r\n\"{missing}\"];\r\nkeep;\r\n").as_bytes());
            let fault = fault.expect_err(missing);
            assert!(fault.0.starts_with("line 3: ") && fault.0.contains(missing), "{missing}: {fault}");
        }
    }

    #[test]
    fn every_extension_that_is_offered_is_taken() {
        for (name, rfc) in EXTENSIONS {
            let script = format!("require \"{name}\";\r\nkeep;\r\n");
            assert_eq!(check(script.as_bytes()), Ok(()), "{name} ({rfc})");
        }
    }

    #[test]
    fn the_rule_that_is_shown_is_good_sieve() {
        assert_eq!(check(crate::sieve::scripts::OWN_RULE_TEXT.as_bytes()), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "(require|if|\"[a-z]{0,9}\"|[;{}(),: \r\n\\[\\]]|keep|:[a-z]{1,9}|[0-9]{1,12}|\\PC){0,60}") {
            let _ = check(text.as_bytes());
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
        }
    }
}
