//! What WHERE refuses allocates nothing, looking at the payload included.

mod support;

use std::alloc::System;

use bytes::Bytes;
use fleethaven_rulesql::{NoExternal, Outcome, Payload, SqlVersion, Statement};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::input;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGE: &[u8] =
    br#"{"deviceId":"sensor-0042","temperature":31.5,"pos":{"site":"north"},"status":"ok","tags":["a"]}"#;

/// One test only: others in this process would allocate meanwhile.
#[test]
fn refused_messages_cost_no_allocation() {
    for condition in [
        "temperature > 40",
        "temperature * 2 - 1 > 63 OR temperature = 7",
        "status <> 'ok' AND temperature > 30",
        "pos.site = 'south'",
        "NOT startswith(deviceId, 'sensor')",
        "regexp_matches(deviceId, '^gateway-\\d+$')",
        "missing > 1",
        "CASE status WHEN 'ok' THEN false ELSE true END",
        "isUndefined(pos.site)",
    ] {
        let sql = format!("SELECT *, topic(2) AS line FROM 'a/#' WHERE {condition}");
        let statement = Statement::parse(&sql, SqlVersion::V2016_03_23).unwrap();
        let (bytes, input) = (Bytes::from_static(MESSAGE), input("a/b", None));
        let refused = || {
            let payload = Payload::new(bytes.clone());
            let outcome = statement.evaluate(&input, &payload, &mut NoExternal);
            statement.matches("a/b") && matches!(outcome, Outcome::NotFired { .. })
        };
        // Regular expressions make the memory that they search in on first use.
        assert!(refused(), "{condition}");
        let region = Region::new(ALLOCATOR);
        assert!(refused(), "{condition}");
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{condition}");
    }
}
