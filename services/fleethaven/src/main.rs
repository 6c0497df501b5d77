//! The one binary: `fleethaven dev` runs every role in one process on embedded stores, the other commands one role of a
//! cluster.
//!
//! - [`cli`], [`config`]: what a user types, and what the settings file adds
//! - [`process`]: the life of every long-running command around its services
//! - [`dev`], [`metastore`], [`api`], [`gateway`], [`router`], [`rules_worker`]: one command each: start, ready, drain
//! - [`cluster`]: what the processes of a cluster have in common; [`presence`]: members that nobody has to find
//! - [`operators`]: what operators do with accounts and access keys; [`users`], [`audit`], [`logs`], [`registration`]: their commands
//! - [`operate`]: backups, restores and changes of the metadata store's nodes; [`join`]: a node that asks to be one
//! - [`pki`]: the certificates of a cluster's processes; [`cluster_tls`]: using them
//! - [`kubernetes`]: secrets of the namespace that a process runs in; [`call`]: single HTTPS requests
//! - [`lab`]: `fleethaven check`, which tries a running cluster
//! - [`wiring`]: how the services are put together; the same crates a cluster runs
//! - [`front`]: the sockets that devices and API users connect to
//! - [`check`]: what `--check-config` tries
//! - [`data_dir`], [`certificates`], [`account`]: what the first start makes
//! - [`reload`]: server certificates, replaced while running; [`metrics`]: of the process itself
//! - [`https`]: the HTTPS listeners, which the API, HTTPS publish and MQTT by ALPN share
//! - [`quic`]: MQTT over QUIC
//! - [`sql`]: statements of rules tried out, and files of cases
//! - [`encryption`]: master keys, and the keyrings of the stores
//! - [`housekeeping`]: what has to happen from time to time
//! - [`ready`]: the line that says where everything is

mod account;
mod api;
mod ask;
mod audit;
mod call;
mod certificates;
mod check;
mod cli;
mod cluster;
mod cluster_tls;
mod columns;
mod config;
mod connections;
mod data_dir;
mod dead_letters;
mod depths;
mod dev;
mod doctor;
mod encryption;
mod expiries;
mod front;
mod functions;
mod gateway;
mod housekeeping;
mod https;
mod idle;
mod issuing;
mod join;
mod kubernetes;
mod lab;
mod logs;
mod metastore;
mod metrics;
mod operate;
mod operators;
mod overview;
mod pki;
mod presence;
mod process;
mod quic;
mod ready;
mod registration;
mod reload;
mod router;
mod rules_worker;
mod server_certificates;
mod sql;
mod standing;
mod traces;
mod usage;
mod users;
mod wiring;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::{Command, ProcessArgs};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match config::read().and_then(|(command, settings)| run(command, settings)) {
        Ok(code) => code,
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

fn run(command: Command, settings: config::Settings) -> Result<ExitCode> {
    if let Some(ProcessArgs { print_config, check_config, .. }) = command.process()
        && (*print_config || *check_config)
    {
        let done = if *print_config { print(&settings.printed) } else { check::check(&command) };
        return done.map(|()| ExitCode::SUCCESS);
    }
    let done = match command {
        Command::Dev(arguments) => {
            process::with_event_loops(&arguments.process.clone(), dev::run(*arguments, settings))
        }
        Command::Metastore(mut arguments) => match arguments.operation.take() {
            Some(operation) => process::brief(operate::run(operation)),
            None => process::main(&arguments.process.clone(), metastore::run(*arguments)),
        },
        Command::Api(arguments) => process::main(&arguments.process.clone(), api::run(*arguments, settings)),
        Command::Gateway(arguments) => {
            process::with_event_loops(&arguments.process.clone(), gateway::run(*arguments, settings))
        }
        Command::Router(arguments) => {
            process::with_event_loops(&arguments.process.clone(), router::run(*arguments, settings))
        }
        Command::RulesWorker(arguments) => {
            process::main(&arguments.process.clone(), rules_worker::run(*arguments, settings))
        }
        Command::Account(arguments) => process::brief(account::run(*arguments)),
        Command::AccessKey(command) => process::brief(account::run_access_key(command)),
        Command::User(command) => process::brief(users::run(command)),
        Command::Role(command) => process::brief(users::run_role(command)),
        Command::Logs(arguments) => process::brief(logs::run(*arguments)),
        Command::Usage(arguments) => process::brief(usage::run(*arguments)),
        Command::Audit(arguments) => process::brief(audit::run(*arguments)),
        Command::Connection(command) => process::brief(connections::run(command)),
        Command::DeadLetter(command) => process::brief(dead_letters::run(command)),
        Command::Function(command) => process::brief(functions::run(command)),
        Command::RegisterThings(arguments) => process::brief(registration::run(*arguments)),
        Command::IssuingCa(command) => process::brief(issuing::run(command)),
        Command::ServerCertificate(command) => process::brief(server_certificates::run(command)),
        Command::Check(arguments) => process::brief(lab::run(*arguments)),
        Command::Status(arguments) => process::brief(overview::run(arguments)),
        Command::Doctor(arguments) => process::brief(doctor::run(*arguments)),
        Command::EncryptionKey(command) => {
            // A key service may have to be asked.
            process::brief(async { tokio::task::spawn_blocking(move || encryption::run(&command)).await? })
        }
        Command::Pki(command) => pki::main(&command),
        Command::Sql(command) => return sql::main(&command),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn print(settings: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(settings.as_bytes()).context("cannot print the settings")
}
