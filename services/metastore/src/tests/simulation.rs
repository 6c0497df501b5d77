//! A metastore of three or five nodes, simulated: real nodes (evaluators, openraft, log, state machine, snapshots, watches, the
//! store on disk), each on a runtime and a clock of its own, in one thread; network, fsyncs, crashes and all chance follow
//! from a seed. `SIM_SEED=n` runs one, `SIM_SEEDS=n` so many; docs/simulation.md says what is checked.

mod clients;
mod faults;
mod history;
mod host;
mod mistakes;
mod network;
mod node;
mod runtime;
mod watch;
mod watchers;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use host::{Host, here, synced};
pub(crate) use mistakes::Mistake;
pub(crate) use runtime::Runtime;

/// As many as there is time for whenever the tests run.
const SEEDS: u64 = 60;
/// A mistake is found within so many.
const FOUND_WITHIN: u64 = 100;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Summary {
    /// Commands and reads that clients asked for, and commands that were answered as carried out.
    asked: u64,
    acknowledged: usize,
    faults: usize,
    /// The term of the control group in the end.
    terms: u64,
    /// Of all that happened, in order: equal for equal runs.
    digest: u64,
}

/// What must not have happened, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation(String);

fn run(seed: u64, mistake: Option<Mistake>) -> Result<Summary, Violation> {
    world::World::new(seed, mistake).run()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().expect("SIM_SEED and SIM_SEEDS are numbers"))
}

/// Runs clusters on all processors, until `wanted` of them broke a promise; returns what came of those that ran.
fn run_all(
    seeds: Range<u64>,
    mistake: Option<Mistake>,
    wanted: usize,
) -> Vec<(u64, Result<Summary, Violation>)> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let broken = outcomes
                .lock()
                .unwrap()
                .iter()
                .filter(|(_, outcome): &&(_, Result<_, _>)| outcome.is_err())
                .count();
            if seed >= seeds.end || broken >= wanted {
                return;
            }
            let outcome = run(seed, mistake);
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
                total.asked += summary.asked;
                total.acknowledged += summary.acknowledged;
                total.faults += summary.faults;
                total.terms += summary.terms;
            }
            Err(Violation(what)) => {
                println!("SIM_SEED={seed}: {what}");
                failed.push(seed);
            }
        }
    }
    let Summary { asked, acknowledged, faults, terms, .. } = total;
    println!(
        "{asked} commands and reads, {acknowledged} commands acknowledged, {faults} faults, {terms} terms"
    );
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
fn is_found(mistake: Mistake, words: &[&str]) {
    let outcomes = run_all(0..FOUND_WITHIN, Some(mistake), 1);
    let runs = outcomes.len();
    let found = outcomes.into_iter().find_map(|(seed, outcome)| Some((seed, outcome.err()?)));
    let (seed, Violation(what)) = found.unwrap_or_else(|| panic!("{mistake:?} was not found in {runs} runs"));
    println!("found {mistake:?} after {runs} runs, with seed {seed}: {what}");
    assert!(words.iter().any(|words| what.contains(words)), "{what}");
}

const NOT_LINEARIZABLE: &str = "is not linearizable";
const DIFFERENT: &str = "different";
const STOPPED: &str = "stopped";
const LEFT_OUT: &str = "left out";
const NOT_SO: &str = "believes what is not so";
const NEVER: &str = "was never published";
const NOT_WITHIN: &str = "within";

#[test]
fn a_skipped_fsync_is_found() {
    is_found(Mistake::FsyncSkipped, &[NOT_LINEARIZABLE, DIFFERENT, STOPPED, NEVER]);
}

#[test]
fn an_append_that_is_acknowledged_early_is_found() {
    is_found(Mistake::AppendAcknowledgedEarly, &[NOT_LINEARIZABLE, DIFFERENT, STOPPED, NEVER, NOT_WITHIN]);
}

#[test]
fn an_answer_before_the_commit_is_found() {
    is_found(Mistake::AnsweredBeforeCommit, &[NOT_LINEARIZABLE]);
}

#[test]
fn a_read_without_a_quorum_is_found() {
    is_found(Mistake::ReadWithoutQuorum, &[NOT_LINEARIZABLE]);
}

#[test]
fn a_snapshot_without_its_last_entries_is_found() {
    is_found(Mistake::SnapshotCutShort, &[DIFFERENT, NOT_LINEARIZABLE, NOT_SO, NOT_WITHIN]);
}

#[test]
fn a_watch_that_leaves_out_a_change_is_found() {
    is_found(Mistake::ChangeLeftOut, &[LEFT_OUT, NOT_SO]);
}

#[test]
fn a_link_that_is_never_mended_is_found() {
    is_found(Mistake::LinkNeverMended, &[NOT_WITHIN]);
}

#[test]
fn a_message_that_is_not_published_is_found() {
    is_found(Mistake::EmitLeftOut, &[NEVER]);
}
