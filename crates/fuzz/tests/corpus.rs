//! Every target over its committed corpus, and over changes of it that a fixed seed makes.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails the test"
)]

use std::fs;
use std::path::Path;

use fleethaven_fuzz::{TARGETS, Target};

/// The files of a target's corpus in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// xorshift64: the same numbers in every run, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound.max(1)
    }
}

/// One change: a byte, a bit, a cut, a repetition, or a piece of another input.
fn change(input: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let at = numbers.below(input.len());
    match numbers.below(6) {
        0 if !input.is_empty() => input[at] = u8::try_from(numbers.below(256)).unwrap(),
        1 if !input.is_empty() => input[at] ^= 1 << numbers.below(8),
        2 => input.truncate(at),
        3 if !input.is_empty() => drop(input.remove(at)),
        4 => {
            let end = at + numbers.below(input.len() - at + 1);
            let piece = input[at..end.min(input.len())].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let from = numbers.below(other.len());
            let to = from + numbers.below(other.len() - from + 1);
            input.splice(at..at, other[from..to.min(other.len())].iter().copied());
        }
    }
}

fn run(name: &str, target: Target) {
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "{name} has a corpus of {} files", corpus.len());
    corpus.iter().for_each(|input| target(input));
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..2000 {
        let mut input = corpus[numbers.below(corpus.len())].clone();
        for _ in 0..=numbers.below(4) {
            change(&mut input, &corpus[numbers.below(corpus.len())], &mut numbers);
        }
        target(&input);
    }
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name), fleethaven_fuzz::named(stringify!($name)).unwrap()); })*

        #[test]
        fn every_target_is_tested() {
            let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

corpora! {
    http_publish lane_frames mqtt_connect mqtt_v311 mqtt_v5 mqtt_v5_client pki_certificate pki_csr pki_ocsp policy
    protobuf proxy_header
    session shadow sigv4 sql sql_json topic_filter topic_index vault websocket_frames websocket_upgrade
}
