//! What a user types. Every flag can also be set in the environment, as `FLEETHAVEN_` and its name in capitals.
//!
//! - `process`, `front`, `cluster`: groups of options that commands share
//! - `metastore`, `store`, `accounts`, `encryption`, `pki`, `roles`, `sql`: options of single commands

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fleethaven_types::{AccountId, Profile};

mod accounts;
mod audit;
mod check;
mod cluster;
mod connections;
mod dead_letters;
mod diagnosis;
mod encryption;
mod front;
mod functions;
mod issuing;
mod logs;
mod metastore;
mod operators;
mod pki;
mod process;
mod registration;
mod roles;
mod server_certificates;
mod sql;
mod store;
mod usage;

pub(crate) use accounts::{AccessKeyCommand, AccountArgs, AccountCommand, PlaceArgs};
pub(crate) use audit::{AuditArgs, AuditQueryArgs, AuditedArg, OutcomeArg};
pub(crate) use check::{CheckArgs, Place};
pub(crate) use cluster::{ClusterArgs, IdentityArgs, StoreArgs};
pub(crate) use connections::{ConnectionCommand, PutConnectionArgs};
pub(crate) use dead_letters::{DeadLetterCommand, RunningArgs};
pub(crate) use diagnosis::{DoctorArgs, StatusArgs};
pub(crate) use encryption::{EncryptionArgs, EncryptionKeyCommand, KeyRemoveArgs};
pub(crate) use front::{DrainArgs, ListenerArgs, ServerArgs, SniCertificate};
pub(crate) use functions::{FunctionCommand, FunctionKindArg, PutFunctionArgs};
pub(crate) use issuing::{IssuingArgs, IssuingCaCommand, MakeIssuingCaArgs};
pub(crate) use logs::{IotLogArg, IotLogArgs, LevelArg, LogsArgs};
pub(crate) use metastore::MetastoreArgs;
pub(crate) use operators::{
    CreateRoleArgs, DocumentArgs, OfRoleArgs, OfUserArgs, RoleCommand, RolePolicyCommand, UpdateRoleArgs,
    UserCommand, UserPolicyCommand,
};
pub(crate) use pki::{CaArgs, InitArgs, IssueArgs, KubernetesArgs, PkiCommand, ServerCertificateArgs};
pub(crate) use process::{ProcessArgs, ScopeArgs, TracesArgs};
pub(crate) use registration::RegisterThingsArgs;
pub(crate) use roles::{
    ApiArgs, CoresArgs, GatewayArgs, ObjectsArgs, OutboundArgs, PodArgs, RouterArgs, RulesWorkerArgs,
};
pub(crate) use server_certificates::ServerCertificateCommand;
pub(crate) use sql::{SqlCheckArgs, SqlCommand, SqlTestArgs};
pub(crate) use store::{
    BackupArgs, DepthsCommand, DepthsSetArgs, MembersCommand, ReachArgs, RestoreArgs, StoreCommand,
    StoreStatusArgs,
};
pub(crate) use usage::{UsageArgs, UsageQueryArgs};

/// Where `fleethaven dev` keeps everything unless it is told otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = ".fleethaven";

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
    /// Run AWS's REST in front of a cluster.
    Api(Box<ApiArgs>),
    /// Run a gateway: devices connect to it.
    Gateway(Box<GatewayArgs>),
    /// Run a router: it matches messages and fans them out.
    Router(Box<RouterArgs>),
    /// Run what executes rules.
    RulesWorker(Box<RulesWorkerArgs>),
    /// Make and list accounts; without a further word, make the first account of a cluster, unless it is there, and print
    /// its first access key.
    Account(Box<AccountArgs>),
    /// Make, list, deactivate and delete the access keys of an account.
    #[command(subcommand)]
    AccessKey(AccessKeyCommand),
    /// Make, list and delete the users of an account, and say what they may do.
    #[command(subcommand)]
    User(UserCommand),
    /// Make, list and delete the roles of an account, and say who may assume them and what they may do then.
    #[command(subcommand)]
    Role(RoleCommand),
    /// Show who called what, from where, with what outcome: the audit journal of a process.
    Audit(Box<AuditQueryArgs>),
    /// Show what accounts and their billing groups have used of what AWS bills for.
    Usage(Box<UsageQueryArgs>),
    /// Show what happened to clients, messages and rules, as far as their account has asked for it: the log entries of a process.
    Logs(Box<LogsArgs>),
    /// Say where rule actions go: put, list and delete the connections of an account.
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// List, redrive and delete messages that no rules worker could finish.
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
    /// Say what is called where AWS would run Lambda functions: webhooks, or endpoints that speak Lambda's Invoke API.
    #[command(subcommand)]
    Function(FunctionCommand),
    /// Say which CA issues the certificates of an account, and where its key is.
    #[command(subcommand)]
    IssuingCa(IssuingCaCommand),
    /// Register what a file says, a line for each thing: bulk registration of an upload instead of a file in S3. Prints the id of the
    /// task, which AWS's API tells about.
    RegisterThings(Box<RegisterThingsArgs>),
    /// Say what domain configurations show where they name certificates of AWS's certificate manager: chains and their keys.
    #[command(subcommand)]
    ServerCertificate(ServerCertificateCommand),
    /// Try a running instance or cluster as an operator and a device would: a thing, its certificate, a rule, telemetry, the rule's
    /// alert. Everything is deleted again.
    Check(Box<CheckArgs>),
    /// Show a cluster at a glance: nodes and leaders of the metadata store, members, slots.
    Status(StatusArgs),
    /// Look at what an installation stands on, and say what to do about what is not well.
    Doctor(Box<DoctorArgs>),
    /// Make keys for encryption at rest, and tell which are in use.
    #[command(subcommand)]
    EncryptionKey(EncryptionKeyCommand),
    /// Make and rotate the certificates by which the processes of a cluster know each other.
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Try statements of topic rules, and run files of cases that say what is expected of them.
    #[command(subcommand)]
    Sql(SqlCommand),
}

impl Command {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Dev(arguments) => arguments.check(),
            Self::Metastore(arguments) => arguments.check(),
            Self::Api(arguments) => arguments.server.check_given(),
            Self::Gateway(arguments) => {
                arguments.cores.check()?;
                arguments.member.check()?;
                arguments.server.check_given()?;
                arguments.listeners.check(&arguments.server)
            }
            Self::Router(arguments) => {
                arguments.cores.check()?;
                arguments.member.check()
            }
            // The others have nothing that could not work, or do one thing and end.
            _ => Ok(()),
        }
    }

    /// Options of a command that runs until it is told to stop.
    pub(crate) fn process(&self) -> Option<&ProcessArgs> {
        match self {
            Self::Dev(arguments) => Some(&arguments.process),
            Self::Metastore(arguments) => arguments.operation.is_none().then_some(&arguments.process),
            Self::Api(arguments) => Some(&arguments.process),
            Self::Gateway(arguments) => Some(&arguments.process),
            Self::Router(arguments) => Some(&arguments.process),
            Self::RulesWorker(arguments) => Some(&arguments.process),
            // The others do one thing and end.
            _ => None,
        }
    }

    /// The account that is meant where settings name none.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Dev(arguments) => Some(arguments.scope.account_id),
            Self::Api(arguments) => Some(arguments.scope.account_id),
            Self::Gateway(arguments) => Some(arguments.scope.account_id),
            Self::Router(arguments) => Some(arguments.scope.account_id),
            Self::RulesWorker(arguments) => Some(arguments.scope.account_id),
            _ => None,
        }
    }

    /// The profile whose limits and behaviour are in force.
    pub(crate) fn profile(&self) -> Profile {
        match self {
            Self::Dev(arguments) => arguments.scope.profile,
            Self::Metastore(arguments) => arguments.profile,
            Self::Api(arguments) => arguments.scope.profile,
            Self::Gateway(arguments) => arguments.scope.profile,
            Self::Router(arguments) => arguments.scope.profile,
            Self::RulesWorker(arguments) => arguments.scope.profile,
            // The others do one thing and end.
            _ => Profile::default(),
        }
    }
}

/// Arguments of `fleethaven dev`.
#[derive(Args, Clone)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    /// Where everything is kept; made on first start.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) listeners: ListenerArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    #[command(flatten)]
    pub(crate) drain: DrainArgs,

    #[command(flatten)]
    pub(crate) outbound: OutboundArgs,

    #[command(flatten)]
    pub(crate) objects: ObjectsArgs,

    #[command(flatten)]
    pub(crate) audit: AuditArgs,

    #[command(flatten)]
    pub(crate) iot_log: IotLogArgs,

    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,

    #[command(flatten)]
    pub(crate) cores: CoresArgs,

    #[command(flatten)]
    pub(crate) usage: UsageArgs,

    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

impl DevArgs {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.cores.check()?;
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
