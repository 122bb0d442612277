//! How the program speaks: tables for people, JSON for programs, one line for what went wrong.

use serde::Serialize;
use std::process::ExitCode;

/// One line on standard error, and exit code 1.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("mailstead: {error:#}");
    ExitCode::FAILURE
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
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
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}
