//! Simulations by their seeds: many on all processors, one again, and mistakes made on purpose, each of which must be found.
//! `SIM_SEED=n` runs one seed, `SIM_SEEDS=n` so many.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it says what is wrong by panicking, and where to look by printing"
)]

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came of one run: what it came to, or in words what must not have happened.
pub type Outcome<S> = Result<S, String>;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().expect("SIM_SEED and SIM_SEEDS are numbers"))
}

/// Runs seeds on all processors, until `wanted` of them broke a promise; returns what came of those that ran.
fn run_all<S: Send>(
    seeds: Range<u64>,
    wanted: usize,
    run: impl Fn(u64) -> Outcome<S> + Sync,
) -> Vec<(u64, Outcome<S>)> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let broken = |outcomes: &Vec<(u64, Outcome<S>)>| outcomes.iter().filter(|(_, one)| one.is_err()).count();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || broken(&outcomes.lock().unwrap()) >= wanted {
                return;
            }
            let outcome = run(seed);
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

/// Runs those seeds that the environment names, otherwise the first `seeds`; returns what they came to.
///
/// # Panics
/// When one of them broke a promise.
pub fn keep_their_promises<S: Send>(seeds: u64, run: impl Fn(u64) -> Outcome<S> + Sync) -> Vec<S> {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(seeds),
    };
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for (seed, outcome) in run_all(seeds, usize::MAX, run) {
        match outcome {
            Ok(summary) => kept.push(summary),
            Err(what) => {
                println!("SIM_SEED={seed}: {what}");
                broken.push(seed);
            }
        }
    }
    assert!(broken.is_empty(), "promises were broken; replay with SIM_SEED=<seed>: {broken:?}");
    kept
}

/// Runs seeds with a mistake until one finds it; what is said of it contains one of `words`.
///
/// # Panics
/// When the first `within` seeds do not find it, or say something else.
pub fn find<S: Send>(
    mistake: impl Debug,
    within: u64,
    words: &[&str],
    run: impl Fn(u64) -> Outcome<S> + Sync,
) {
    let outcomes = run_all(0..within, 1, run);
    let runs = outcomes.len();
    let found = outcomes.into_iter().find_map(|(seed, outcome)| Some((seed, outcome.err()?)));
    let (seed, what) = found.unwrap_or_else(|| panic!("{mistake:?} was not found in {runs} runs"));
    println!("found {mistake:?} after {runs} runs, with seed {seed}: {what}");
    assert!(words.iter().any(|words| what.contains(words)), "{what}");
}

/// Equal seeds run equally, and others otherwise.
///
/// # Panics
/// When they do not.
pub fn run_equally<S: Debug + PartialEq>(run: impl Fn(u64) -> Outcome<S>) {
    for seed in [1, 2] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1), run(2));
}
