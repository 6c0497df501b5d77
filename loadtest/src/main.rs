//! `fleethaven-loadtest`: load scenarios against any MQTT broker, and what they cost it.
//!
//! | module | owns |
//! |---|---|
//! | [`options`] | the command line |
//! | [`target`] | where the broker is, with which certificates, from which source addresses |
//! | [`link`] | one non-blocking socket, plain or TLS |
//! | [`client`] | one MQTT client on a link |
//! | [`reactor`] | many clients on one thread, opened a bounded number at a time |
//! | [`traffic`] | fan-in, fan-out and pairs |
//! | [`idle`], [`handshakes`] | connections that only stand, connections that only open |
//! | [`stamp`], [`tally`] | sequence numbers in payloads; loss, duplicates and order from them |
//! | [`process`] | CPU time and memory of a process, this one and the broker |
//! | [`report`] | the result, as a table and as JSON |
//!
//! One thread drives everything, so that a generator fills at most one core and says how full it was.

mod client;
mod clock;
mod handshakes;
mod idle;
mod link;
mod options;
mod process;
mod reactor;
mod report;
mod stamp;
mod tally;
mod target;
mod traffic;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Command, Options};
use report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    let printed = run(&options.command).and_then(|report| report.print(options.command.common().json));
    if let Err(error) = printed {
        report::progress(true, &format!("error: {error:#}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(command: &Command) -> anyhow::Result<Report> {
    match command {
        Command::FanIn(options) => traffic::run(&traffic::Plan::fan_in(options)),
        Command::FanOut(options) => traffic::run(&traffic::Plan::fan_out(options)),
        Command::Pairs(options) => traffic::run(&traffic::Plan::pairs(options)),
        Command::Idle(options) => idle::run(options),
        Command::Handshakes(options) => handshakes::run(options),
    }
}
