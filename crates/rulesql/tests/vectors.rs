//! The shared table of statements and what AWS makes of them, and our own: a case for each line of the specification.
#![expect(clippy::unwrap_used, reason = "a failed test panics; these functions are called by tests")]

use fleethaven_rulesql::cases::{check, report};

fn failures(file: &[u8], least: usize) -> String {
    let verdicts = check(file, &|| [7; 16]).unwrap();
    assert!(verdicts.len() > least, "the table is there");
    let failed: Vec<_> = verdicts.into_iter().filter(|verdict| !verdict.passed).collect();
    if failed.is_empty() { String::new() } else { report(&failed) }
}

#[test]
fn every_shared_vector_passes() {
    assert_eq!(failures(include_bytes!("vectors/rules-sql-vectors.json"), 160), "");
}

#[test]
fn every_own_case_passes() {
    assert_eq!(failures(include_bytes!("vectors/own.json"), 1300), "");
}
