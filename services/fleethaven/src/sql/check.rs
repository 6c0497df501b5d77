//! `fleethaven sql check`: files of cases, run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use fleethaven_rulesql::cases::{self, Verdict, report};
use fleethaven_rulesql::json;

use super::{FAILED, print, random, unusable};
use crate::cli::SqlCheckArgs;

/// Reads every file before it runs any.
pub(super) fn run(arguments: &SqlCheckArgs) -> Result<ExitCode> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for file in &arguments.files {
        match check(file) {
            Ok(checked) => verdicts.extend(checked),
            Err(reason) => return unusable(format_args!("{}: {reason}", file.display())),
        }
    }
    print(&if arguments.json { report(&verdicts) + "\n" } else { told(&verdicts) })?;
    let passed = verdicts.iter().all(|verdict| verdict.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn check(file: &Path) -> Result<Vec<Verdict>, String> {
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    cases::check(&bytes, &random).map_err(|error| error.to_string())
}

fn told(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.passed) {
        let shown = |value| json::write(value, false).unwrap_or_else(|error| error.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "FAILED {}", verdict.id);
        let _ = writeln!(text, "  expected {}", shown(&verdict.expected));
        let _ = writeln!(text, "  got      {}", shown(&verdict.got));
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.passed).count();
    let _ = writeln!(text, "{} passed, {failed} failed", verdicts.len() - failed);
    text
}
