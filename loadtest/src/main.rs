//! `fleethaven-loadtest`: load scenarios against any MQTT broker, and what they cost it.
//!
//! | module | owns |
//! |---|---|
//! | [`options`] | the command line |
//! | [`target`] | where the broker is, with which certificates, from which source addresses |
//! | [`link`] | one non-blocking socket, plain or TLS |
//! | [`client`] | one MQTT client on a link |
//! | [`reactor`] | many clients on one thread, opened a bounded number at a time |
//! | [`alarm`] | wakes it at times finer than a millisecond |
//! | [`traffic`] | fan-in, fan-out and pairs |
//! | [`sustained`] | the highest open-loop rate, by search |
//! | [`retained`], [`offline`] | messages that the broker keeps, and hands out later |
//! | [`storm`] | all connections at once, and who suffers |
//! | [`soak`] | a steady load for long, and what grows |
//! | [`idle`], [`handshakes`] | connections that only stand, connections that only open |
//! | [`stamp`], [`tally`] | sequence numbers in payloads; loss, duplicates and order from them |
//! | [`process`] | CPU time and memory of a process, this one and the broker |
//! | [`report`] | the result, as a table and as JSON |
//!
//! One thread carries the load, so that a generator fills at most one core and says how full it was. Storms and soaks
//! have a second one for the clients that look on.

mod alarm;
mod client;
mod clock;
mod handshakes;
mod idle;
mod link;
mod offline;
mod options;
mod process;
mod reactor;
mod report;
mod retained;
mod soak;
mod stamp;
mod storm;
mod sustained;
mod tally;
mod target;
mod traffic;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Command, Options};
use report::Report;
use traffic::Plan;

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
        Command::FanIn(options) => traffic::run(Plan::fan_in(options)),
        Command::FanOut(options) => traffic::run(Plan::fan_out(options)),
        Command::Pairs(options) => traffic::run(Plan::pairs(options)),
        Command::Sustained(options) => sustained::run(options),
        Command::Retained(options) => retained::run(options),
        Command::Offline(options) => offline::run(options),
        Command::ConnectStorm(options) => storm::connect(options),
        Command::ReconnectStorm(options) => storm::reconnect(options),
        Command::Soak(options) => soak::run(options),
        Command::Idle(options) => idle::run(options),
        Command::Handshakes(options) => handshakes::run(options),
    }
}
