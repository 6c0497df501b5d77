//! Fuzz targets: one function for each reader of what outsiders send. A finding is a panic.
//!
//! Each target states a property beyond "does not panic" where there is one: what was read can be written and read again,
//! a stream's cuts make no difference, the fast way decides as the plain way does, output stays within its bound.
//!
//! The functions run in three ways: over the committed `corpus/` and random changes of it as tests
//! (`tests/corpus.rs`), and under libFuzzer with coverage (`make fuzz`, which needs stable Rust and a C++ compiler).
//! A finding's input joins the corpus of its target.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a property that does not hold is a finding, and a finding is a panic"
)]
#![warn(missing_docs)]

mod http;
mod lanes;
mod mqtt;
mod pki;
mod policy;
mod proxy;
mod session;
mod shadow;
mod sigv4;
mod sql;
mod topics;
mod vault;
mod websocket;

/// Reads one input.
pub type Target = fn(&[u8]);

/// Every target and its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 22] = [
    ("http_publish", http::publish),
    ("lane_frames", lanes::frames),
    ("mqtt_connect", mqtt::connect),
    ("mqtt_v311", mqtt::v311),
    ("mqtt_v5", mqtt::v5),
    ("mqtt_v5_client", mqtt::v5_client),
    ("pki_certificate", pki::certificate),
    ("pki_csr", pki::signing_request),
    ("pki_ocsp", pki::ocsp),
    ("policy", policy::document),
    ("protobuf", sql::protobuf),
    ("proxy_header", proxy::header),
    ("session", session::stream),
    ("shadow", shadow::updates),
    ("sigv4", sigv4::request),
    ("sql", sql::statement),
    ("sql_json", sql::json_text),
    ("topic_filter", topics::filter),
    ("topic_index", topics::index),
    ("vault", vault::disk),
    ("websocket_frames", websocket::frames),
    ("websocket_upgrade", websocket::upgrade),
];

/// The target of that name.
pub fn named(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The first byte and the rest; 0 and nothing of an empty input.
fn selected(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// The parts between line feeds: at most `most`, the last with all that follows.
fn lines(data: &[u8], most: usize) -> Vec<&[u8]> {
    data.splitn(most, |byte| *byte == b'\n').collect()
}
