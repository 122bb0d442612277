//! How the program speaks: tables for people, JSON for programs, one line for what went wrong.
//!
//! Everything for standard output goes through here. A reader that goes away (`mailstead user list | head -1`) ends the
//! program quietly, as it does other tools; output that cannot be written (a full disk) is an error, never a panic.

use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

/// One line on standard output, in the manner of `println!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::text(&format!("{}\n", format_args!($($words)*))) };
}
pub(crate) use say;

/// Text for standard output as it is. Ends the program when it cannot be written.
pub fn text(text: &str) {
    match write(text) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("mailstead: the output cannot be written: {error}");
            std::process::exit(1);
        }
    }
}

/// The same for a program that has more to do than to speak, such as a demo that others rely on.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One line on standard error, and exit code 1.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("mailstead: {error:#}");
    ExitCode::FAILURE
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints rows in columns as wide as their longest cell; the last column is not padded.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let last = column + 1 == row.len();
            if last { cell.clone() } else { format!("{cell:width$}", width = widths[column]) }
        });
        say!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}
