//! Evaluations per second on one core: one message of 100 bytes, read and evaluated anew each time, and one message under many
//! rules. Best and median of several rounds.
//!
//! `cargo run --release -p fleethaven-rulesql --example evaluations [-- --json]`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement prints and reads the clock"
)]

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use fleethaven_rulesql::{Input, NoExternal, Outcome, Payload, SqlVersion, Statement};

/// The device's message: 100 bytes.
const PAYLOAD: &str =
    r#"{"deviceId":"sensor-0042","temperature":31.5,"humidity":48,"battery":3.71,"status":"ok","seq":10423}"#;
/// Evaluations of a round.
const ROUND: u32 = 20_000;
/// Rounds.
const ROUNDS: usize = 25;

/// What is measured: a name and a statement.
const STATEMENTS: [(&str, &str); 4] = [
    ("lab rule, fires", "SELECT * FROM 'sensors/+/telemetry' WHERE temperature > 30"),
    ("lab rule, refused", "SELECT * FROM 'sensors/+/telemetry' WHERE temperature > 40"),
    (
        "text condition, refused",
        "SELECT * FROM 'sensors/+/telemetry' WHERE status <> 'ok' AND startswith(deviceId, 'sensor')",
    ),
    (
        "projection, fires",
        "SELECT temperature AS t, topic(2) AS device, timestamp() AS at \
         FROM 'sensors/+/telemetry' WHERE temperature > 30 AND status = 'ok'",
    ),
];

fn input() -> Input<'static> {
    Input {
        topic: "sensors/sensor-0042/telemetry",
        client_id: Some("sensor-0042"),
        principal: None,
        source_ip: None,
        trace_id: None,
        account_id: "123456789012",
        rule_name: "lab",
        now_ms: 1_700_000_000_123,
        properties: None,
        random: &|| [7; 16],
    }
}

/// Nanoseconds of one call: the best round and the median.
fn measure(mut once: impl FnMut()) -> (f64, f64) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..ROUND).for_each(|_| once());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUND)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds.first().copied().unwrap_or_default(), rounds.get(ROUNDS / 2).copied().unwrap_or_default())
}

fn evaluate(statement: &Statement, input: &Input<'_>, payload: &Payload) -> bool {
    matches!(black_box(statement.evaluate(input, payload, &mut NoExternal)), Outcome::Fired(_))
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let (input, bytes) = (input(), Bytes::from_static(PAYLOAD.as_bytes()));
    let show = |name: &str, (best, median): (f64, f64)| {
        let rate = 1e3 / median;
        if json {
            println!(
                r#"{{"what":"{name}","best_ns":{best:.1},"median_ns":{median:.1},"millions_per_s":{rate:.2}}}"#
            );
        } else {
            println!("{name:<26} {best:7.1} ns best {median:7.1} ns median {rate:6.2} M/s");
        }
    };
    for (name, sql) in STATEMENTS {
        let statement = Statement::parse(sql, SqlVersion::V2016_03_23).unwrap();
        let fired = evaluate(&statement, &input, &Payload::new(bytes.clone()));
        assert_eq!(fired, name.ends_with("fires"), "{name}");
        let once = || {
            let payload = Payload::new(black_box(&bytes).clone());
            black_box(statement.matches(input.topic) && evaluate(&statement, &input, &payload));
        };
        show(name, measure(once));
    }
    let statement = Statement::parse(STATEMENTS[1].1, SqlVersion::V2016_03_23).unwrap();
    let payload = Payload::new(bytes);
    show(
        "the same message again",
        measure(|| {
            black_box(evaluate(&statement, &input, &payload));
        }),
    );
}
