//! Memory and speed of the subscription index with many filters, 60 % of them exact and 40 % with wildcards: bytes
//! per filter beyond the filter's own text, and time per match of a topic that one filter matches.
//!
//! `cargo run --release -p fleethaven-topics --example index_memory -- 1000000 [--json]`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement prints and reads the clock"
)]

use std::hint::black_box;
use std::time::Instant;

use fleethaven_topics::{Options, SubscriptionIndex};

/// Resident bytes of this process, from Linux's `/proc`; the page size is taken to be 4 KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// The filter of device `n`, and a topic that only it matches.
fn filter_and_topic(n: usize) -> (String, String) {
    let site = n % 1000;
    match n % 10 {
        0..6 => {
            let topic = format!("acme/site-{site}/device-{n}/command");
            (topic.clone(), topic)
        }
        6 | 7 => (
            format!("acme/site-{site}/device-{n}/#"),
            format!("acme/site-{site}/device-{n}/state/temperature"),
        ),
        8 => (format!("acme/+/device-{n}/state/+"), format!("acme/site-{site}/device-{n}/state/temperature")),
        _ => (format!("+/device-{n}/+/alarm"), format!("emea/device-{n}/pump/alarm")),
    }
}

fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let mut index = SubscriptionIndex::new();
    let mut text = 0;
    let before = resident();
    let start = Instant::now();
    let mut slowest = 0;
    for n in 0..count {
        let (filter, _) = filter_and_topic(n);
        text += filter.len();
        let began = Instant::now();
        index.insert(&filter, n as u64 + 1, 1_u64);
        slowest = slowest.max(began.elapsed().as_micros());
    }
    let built = start.elapsed();
    let total = resident().saturating_sub(before);
    let beyond = total.saturating_sub(text) / count;
    if std::env::args().any(|argument| argument == "--json") {
        let any = measure("any", &index, (0..count).collect());
        println!(r#"{{"filters":{count},"bytes_beyond_text":{beyond},"median_match_ns":{}}}"#, any.median);
        return;
    }
    println!(
        "{count} filters: {} bytes each, {} text and {beyond} beyond; built in {built:.2?}, slowest insert {slowest} µs",
        total / count,
        text / count,
    );
    for times in [
        measure("any", &index, (0..count).collect()),
        measure("exact", &index, (0..count).filter(|n| n % 10 < 6).collect()),
        measure("wildcard", &index, (0..count).filter(|n| n % 10 >= 6).collect()),
    ] {
        let Times { name, found, topics, median, slow } = times;
        println!("{name}: {found} found by {topics} topics; ns per match: median {median}, 99 % {slow}");
    }
}

/// Nanoseconds per match.
struct Times {
    name: &'static str,
    found: u64,
    topics: usize,
    median: u128,
    slow: u128,
}

/// Matches 100 000 topics, far apart in memory, in batches of ten.
fn measure(name: &'static str, index: &SubscriptionIndex<u64, u64>, numbers: Vec<usize>) -> Times {
    const BATCH: usize = 10;
    let far = numbers.iter().cycle().step_by(611_953 % numbers.len().max(2)).take(100_000);
    let topics: Vec<_> = far.map(|n| filter_and_topic(*n).1).collect();
    let options = Options { hash_matches_parent: true };
    let mut found = 0_u64;
    let mut times: Vec<_> = topics
        .chunks(BATCH)
        .map(|batch| {
            let start = Instant::now();
            for topic in batch {
                index.matches(topic, &options, &mut |key, _| found += u64::from(*black_box(key) != 0));
            }
            start.elapsed().as_nanos() / BATCH as u128
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    Times { name, found, topics: topics.len(), median: at(50), slow: at(99) }
}
