//! Hundreds of clusters, each under the faults that its seed draws; and mistakes made on purpose, each of which must be found.
//! `SIM_SEED=n` runs one cluster, `SIM_SEEDS=n` so many.

use fleethaven_sim::{Bug, Summary, Violation, run};
use fleethaven_testkit::seeds::{self, Outcome};

/// As many as there is time for whenever the tests run.
const SEEDS: u64 = 200;
/// A mistake is found within so many.
const FOUND_WITHIN: u64 = 300;

fn outcome(seed: u64, bug: Option<Bug>) -> Outcome<Summary> {
    run(seed, bug).map_err(|Violation(what)| what)
}

#[test]
fn clusters_keep_their_promises_under_any_faults() {
    let mut total = Summary::default();
    for summary in seeds::keep_their_promises(SEEDS, |seed| outcome(seed, None)) {
        total.published += summary.published;
        total.acknowledged += summary.acknowledged;
        total.faults += summary.faults;
        total.events += summary.events;
    }
    let Summary { published, acknowledged, faults, events, .. } = total;
    println!("{published} messages published, {acknowledged} acknowledged, {faults} faults, {events} events");
}

#[test]
fn equal_seeds_run_equally() {
    seeds::run_equally(|seed| outcome(seed, None));
}

/// The simulation finds the mistake; what it says of it contains one of `words`.
fn is_found(bug: Bug, words: &[&str]) {
    seeds::find(bug, FOUND_WITHIN, words, |seed| outcome(seed, Some(bug)));
}

const LOST: &str = "never came to";
const OVER: &str = "which is over";
const SWAPPED: &str = "of the same publisher";
const TWICE: &str = "twice";
const PROBE: &str = "the probe";
const WAITS: &str = "entries wait for";
const SHARE: &str = "a share of";
const UNANSWERED: &str = "bytes and waits for";

#[test]
fn a_store_that_ignores_fences_is_found() {
    is_found(Bug::FencesIgnored, &[LOST, SWAPPED, PROBE]);
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
    is_found(Bug::ReplayOutOfOrder, &[SWAPPED, TWICE, UNANSWERED]);
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

#[test]
fn pushes_that_are_taken_for_the_truth_are_found() {
    is_found(Bug::PushesTrusted, &[WAITS, PROBE]);
}

#[test]
fn a_suback_before_the_fences_is_found() {
    is_found(Bug::SubackUnfenced, &[LOST]);
}

#[test]
fn tables_that_are_not_told_apart_are_found() {
    is_found(Bug::TablesUnordered, &[LOST, PROBE]);
}

#[test]
fn owners_that_are_not_told_apart_are_found() {
    is_found(Bug::OwnersUnordered, &[LOST, PROBE, SHARE]);
}

#[test]
fn depths_that_are_in_force_at_once_are_found() {
    is_found(Bug::DepthsAtOnce, &[LOST, PROBE, SWAPPED]);
}

#[test]
fn a_replica_that_is_not_waited_for_is_found() {
    is_found(Bug::ReplicaNotAwaited, &[LOST, PROBE, TWICE]);
}

#[test]
fn reads_of_what_the_replica_has_not_are_found() {
    is_found(Bug::ReadsNotAwaited, &[TWICE, LOST]);
}

#[test]
fn numbers_that_are_given_out_twice_are_found() {
    is_found(Bug::NumbersReused, &[LOST, WAITS, SWAPPED]);
}

#[test]
fn shares_in_an_answer_that_got_lost_are_found() {
    is_found(Bug::HeldUntold, &[SHARE]);
}

#[test]
fn shares_of_routers_that_are_gone_are_found() {
    is_found(Bug::HoldersRemembered, &[SHARE]);
}

#[test]
fn shares_that_are_given_out_twice_are_found() {
    is_found(Bug::SharesGivenTwice, &[TWICE, PROBE]);
}

#[test]
fn wills_that_wait_under_their_sessions_are_found() {
    is_found(Bug::WillsOfSessions, &[LOST, TWICE]);
}

#[test]
fn wills_that_are_published_twice_are_found() {
    is_found(Bug::WillsRepeated, &[TWICE, "waits"]);
}

#[test]
fn wills_of_dead_gateways_that_are_dropped_are_found() {
    is_found(Bug::WillsDropped, &[LOST]);
}

#[test]
fn refused_messages_that_are_retained_are_found() {
    is_found(Bug::RetainedAnyway, &["is retained"]);
}
