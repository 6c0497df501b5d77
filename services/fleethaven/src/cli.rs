//! What a user types. Every flag can also be set in the environment, as `FLEETHAVEN_` and its name in capitals.
//!
//! - `process`, `front`, `cluster`: groups of options that commands share
//! - `metastore`, `store`, `pki`: options of one command

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fleethaven_net::proxy::Network;
use fleethaven_types::Profile;

mod cluster;
mod front;
mod metastore;
mod pki;
mod process;
mod store;

pub(crate) use cluster::ServiceArgs;
pub(crate) use front::{ListenerArgs, ServerArgs, SniCertificate};
pub(crate) use metastore::MetastoreArgs;
pub(crate) use pki::{CaArgs, InitArgs, IssueArgs, PkiCommand, ServerCertificateArgs};
pub(crate) use process::{ProcessArgs, ScopeArgs};
pub(crate) use store::{BackupArgs, MembersCommand, ReachArgs, RestoreArgs, StoreCommand};

/// The self-hosted AWS IoT Core.
#[derive(Parser)]
#[command(name = "fleethaven", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run every service in one process with embedded storage.
    Dev(Box<DevArgs>),
    /// Run a node of the metadata store, or operate the store.
    Metastore(Box<MetastoreArgs>),
    /// Make and rotate the certificates by which the processes of a cluster know each other.
    #[command(subcommand)]
    Pki(PkiCommand),
}

impl Command {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Dev(arguments) => arguments.check(),
            Self::Metastore(arguments) => arguments.check(),
            Self::Pki(_) => Ok(()),
        }
    }

    /// Options of a command that runs until it is told to stop.
    pub(crate) fn process(&self) -> Option<&ProcessArgs> {
        match self {
            Self::Dev(arguments) => Some(&arguments.process),
            Self::Metastore(arguments) => arguments.operation.is_none().then_some(&arguments.process),
            Self::Pki(_) => None,
        }
    }

    /// The profile whose limits and behaviour are in force.
    pub(crate) fn profile(&self) -> Profile {
        match self {
            Self::Dev(arguments) => arguments.scope.profile,
            Self::Metastore(arguments) => arguments.profile,
            Self::Pki(_) => Profile::default(),
        }
    }
}

/// Arguments of `fleethaven dev`.
#[derive(Args, Clone)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    /// Where everything is kept; made on first start.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_DATA_DIR", default_value = ".fleethaven")]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) listeners: ListenerArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Networks that outbound calls of rule actions may reach although they are loopback, link-local or private. May be
    /// repeated. (No action that calls out is available yet.)
    #[arg(long, value_name = "CIDR", env = "FLEETHAVEN_ALLOW_OUTBOUND", value_delimiter = ',')]
    pub(crate) allow_outbound: Vec<Network>,

    /// Event loops; the number of cores unless given.
    #[arg(long, value_name = "N", env = "FLEETHAVEN_CORES")]
    pub(crate) cores: Option<u8>,
}

impl DevArgs {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.cores == Some(0) {
            return Err("--cores 0 leaves nothing to run on: use at least 1".to_owned());
        }
        self.listeners.check(&self.server)
    }
}

/// The command that a line gives.
#[cfg(test)]
pub(crate) fn parsed(line: &str) -> Command {
    Cli::parse_from(["fleethaven"].into_iter().chain(line.split_whitespace())).command
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use fleethaven_net::tls::Versions;

    use super::*;

    fn dev(line: &str) -> DevArgs {
        let Command::Dev(arguments) = parsed(&format!("dev {line}")) else { panic!("another command") };
        *arguments
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn plain_mqtt_is_for_loopback_unless_said_otherwise() {
        assert!(dev("--mqtt 127.0.0.1:0").check().is_ok());
        assert!(dev("--mqtt 0.0.0.0:1883").check().unwrap_err().contains("--mqtt-any-address"));
        assert!(dev("--mqtt 0.0.0.0:1883 --mqtt-any-address").check().is_ok());
    }

    #[test]
    fn versions_of_tls() {
        assert_eq!(dev("").server.versions(), Versions::Both);
        assert_eq!(dev("--tls-versions 1.3").server.versions(), Versions::Tls13);
        let old = dev("--tls-versions 1.2 --quic 127.0.0.1:0");
        assert_eq!(old.server.versions(), Versions::Tls12);
        assert!(old.check().unwrap_err().contains("--quic needs TLS 1.3"));
    }
}
