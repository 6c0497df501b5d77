//! `fleethaven sql`: statements tried out, and files of cases.

mod check;
mod trial;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::SqlCommand;

/// Something was not as it should be.
const FAILED: u8 = 1;
/// What was given cannot be used.
const UNUSABLE: u8 = 2;

/// Runs the command; the exit code says what came of it.
pub(crate) fn main(command: &SqlCommand) -> Result<ExitCode> {
    match command {
        SqlCommand::Test(arguments) => trial::run(arguments),
        SqlCommand::Check(arguments) => check::run(arguments),
    }
}

/// Sixteen random bytes, for `rand()` and `newuuid()`.
fn random() -> [u8; 16] {
    *uuid::Uuid::new_v4().as_bytes()
}

/// Writes to standard output.
fn print(text: &str) -> Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot print the result")
}

/// The exit code of arguments that cannot be used, told on standard error.
fn unusable(reason: impl std::fmt::Display) -> Result<ExitCode> {
    writeln!(std::io::stderr().lock(), "fleethaven: {reason}").context("cannot print the error")?;
    Ok(ExitCode::from(UNUSABLE))
}
