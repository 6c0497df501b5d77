//! Hundreds of clusters, each under the faults that its seed draws; and mistakes made on purpose, each of which must be found.
//! `SIM_SEED=n` runs one cluster, `SIM_SEEDS=n` so many.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_sim::{Bug, Summary, Violation, run};

/// As many as there is time for whenever the tests run.
const SEEDS: u64 = 100;
/// A mistake is found within so many.
const FOUND_WITHIN: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().expect("SIM_SEED and SIM_SEEDS are numbers"))
}

/// Runs clusters on all processors, until `wanted` of them broke a promise; returns what came of those that ran.
fn run_all(seeds: Range<u64>, bug: Option<Bug>, wanted: usize) -> Vec<(u64, Result<Summary, Violation>)> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let found = |outcomes: &[(u64, Result<Summary, Violation>)]| {
                outcomes.iter().filter(|(_, outcome)| outcome.is_err()).count() >= wanted
            };
            if seed >= seeds.end || found(&outcomes.lock().unwrap()) {
                return;
            }
            let outcome = run(seed, bug);
            outcomes.lock().unwrap().push((seed, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap()
}

#[test]
fn clusters_keep_their_promises_under_any_faults() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut total, mut failed) = (Summary::default(), Vec::new());
    for (seed, outcome) in run_all(seeds, None, usize::MAX) {
        match outcome {
            Ok(summary) => {
                total.published += summary.published;
                total.acknowledged += summary.acknowledged;
                total.faults += summary.faults;
                total.events += summary.events;
            }
            Err(Violation(what)) => {
                println!("SIM_SEED={seed}: {what}");
                failed.push(seed);
            }
        }
    }
    let Summary { published, acknowledged, faults, events, .. } = total;
    println!("{published} messages published, {acknowledged} acknowledged, {faults} faults, {events} events");
    assert!(failed.is_empty(), "promises were broken; replay with SIM_SEED=<seed>: {failed:?}");
}

#[test]
fn equal_seeds_run_equally() {
    for seed in [1, 2] {
        assert_eq!(run(seed, None), run(seed, None));
    }
    assert_ne!(run(1, None), run(2, None));
}

/// The simulation finds the mistake; what it says of it contains one of `words`.
fn is_found(bug: Bug, words: &[&str]) {
    let outcomes = run_all(0..FOUND_WITHIN, Some(bug), 1);
    let runs = outcomes.len();
    let found = outcomes.into_iter().find_map(|(seed, outcome)| Some((seed, outcome.err()?)));
    let (seed, Violation(what)) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {runs} runs"));
    println!("found {bug:?} after {runs} runs, with seed {seed}: {what}");
    assert!(words.iter().any(|words| what.contains(words)), "{what}");
}

const LOST: &str = "is not in the queue";
const OVER: &str = "which is over";
const SWAPPED: &str = "of the same publisher";
const TWICE: &str = "twice";
const PROBE: &str = "the probe";

#[test]
fn a_store_that_ignores_fences_is_found() {
    is_found(Bug::FencesIgnored, &[LOST, SWAPPED]);
}

#[test]
fn an_early_acknowledgement_is_found() {
    is_found(Bug::EarlyAcknowledgement, &[LOST, OVER]);
}

#[test]
fn a_lease_that_never_ends_is_found() {
    is_found(Bug::EndlessLease, &[OVER, LOST]);
}

#[test]
fn a_replay_out_of_order_is_found() {
    is_found(Bug::ReplayOutOfOrder, &[SWAPPED, TWICE]);
}

#[test]
fn a_forgotten_replay_is_found() {
    is_found(Bug::ReplayForgotten, &[LOST]);
}

#[test]
fn slots_that_are_served_with_nothing_loaded_are_found() {
    is_found(Bug::NothingLoaded, &[LOST, PROBE]);
}

#[test]
fn an_early_suback_is_found() {
    is_found(Bug::EarlySuback, &[LOST]);
}
