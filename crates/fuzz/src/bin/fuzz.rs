//! libFuzzer's side: feeds the target that `FUZZ_TARGET` names. `make fuzz` builds it with coverage and runs it.
#![no_main]
#![expect(clippy::expect_used, reason = "a fuzzer told nothing has nothing to do")]

use std::sync::OnceLock;

use fleethaven_fuzz::{Target, named};

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        TARGET.get_or_init(|| named(&name).expect("FUZZ_TARGET names no target"));
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(data);
        }
    }
);
