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

use fleethaven_testkit::seeds::{self, Outcome};

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

fn run(seed: u64, mistake: Option<Mistake>) -> Outcome<Summary> {
    world::World::new(seed, mistake).run().map_err(|Violation(what)| what)
}

#[test]
fn clusters_keep_their_promises_under_any_faults() {
    let mut total = Summary::default();
    for summary in seeds::keep_their_promises(SEEDS, |seed| run(seed, None)) {
        total.asked += summary.asked;
        total.acknowledged += summary.acknowledged;
        total.faults += summary.faults;
        total.terms += summary.terms;
    }
    let Summary { asked, acknowledged, faults, terms, .. } = total;
    println!(
        "{asked} commands and reads, {acknowledged} commands acknowledged, {faults} faults, {terms} terms"
    );
}

#[test]
fn equal_seeds_run_equally() {
    seeds::run_equally(|seed| run(seed, None));
}

/// The simulation finds the mistake; what it says of it contains one of `words`.
fn is_found(mistake: Mistake, words: &[&str]) {
    seeds::find(mistake, FOUND_WITHIN, words, |seed| run(seed, Some(mistake)));
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
fn a_repeat_that_is_carried_out_again_is_found() {
    is_found(Mistake::RepliesForgotten, &[NOT_LINEARIZABLE]);
}

#[test]
fn a_message_that_is_not_published_is_found() {
    is_found(Mistake::EmitLeftOut, &[NEVER]);
}
