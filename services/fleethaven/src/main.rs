//! The one binary. `fleethaven dev` runs every role in one process on embedded stores.
//!
//! - [`cli`], [`config`]: what a user types, and what the settings file adds
//! - [`dev`]: the life of `fleethaven dev`: start, ready, drain
//! - [`wiring`]: how the services are put together; the same crates a cluster runs
//! - [`check`]: what `--check-config` tries
//! - [`data_dir`], [`certificates`], [`account`]: what the first start makes
//! - [`reload`]: server certificates, replaced while running; [`metrics`]: of the process itself
//! - [`https`]: the HTTPS listeners, which the API, HTTPS publish and MQTT by ALPN share
//! - [`quic`]: MQTT over QUIC
//! - [`housekeeping`]: what has to happen from time to time
//! - [`ready`]: the line that says where everything is

mod account;
mod certificates;
mod check;
mod cli;
mod config;
mod data_dir;
mod dev;
mod housekeeping;
mod https;
mod idle;
mod metrics;
mod quic;
mod ready;
mod reload;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    match config::read().and_then(dev::main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last word of a failed start goes to people, whatever the log format is.
            #[expect(clippy::print_stderr, reason = "the process ends with this line")]
            {
                eprintln!("fleethaven: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
