//! `fleethaven metastore status|backup|restore|members|depths`: operating the metadata store.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::encryption::EncryptionArgs;
use super::metastore::{STATE_GROUPS, state_groups};

/// What is done to a metadata store.
#[derive(Subcommand, Clone)]
pub(crate) enum StoreCommand {
    /// Tell how each node stands: one line of JSON for each, or a table.
    Status(StoreStatusArgs),
    /// Write everything that the store holds into one file, while it runs.
    Backup(BackupArgs),
    /// Make the first node of a new store of a backup. Start it, and then others with --join; add them with `members add`.
    Restore(RestoreArgs),
    /// Change which nodes the store has.
    #[command(subcommand)]
    Members(MembersCommand),
    /// How many levels of a topic choose its slot, and so which router serves it.
    #[command(subcommand)]
    Depths(DepthsCommand),
}

/// How the store is reached.
#[derive(Args, Clone)]
pub(crate) struct ReachArgs {
    /// Nodes of the store; those that they name are asked, too. May be repeated.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "FLEETHAVEN_METASTORE",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) metastore: Vec<String>,

    /// A folder with a certificate of role operator, as `fleethaven pki issue --role operator` makes it, or of role metastore.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_CLUSTER_TLS")]
    pub(crate) cluster_tls: PathBuf,
}

/// Arguments of `status`.
#[derive(Args, Clone)]
pub(crate) struct StoreStatusArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// A table to be read, instead of JSON.
    #[arg(long)]
    pub(crate) table: bool,
}

/// Arguments of `backup`.
#[derive(Args, Clone)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// The file; an older one is replaced when the new one is whole.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Arguments of `restore`.
#[derive(Args, Clone)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The new node's data directory; nothing may be kept in it yet.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_DATA_DIR")]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,

    /// Do not encrypt the new store: the key only opens the backup.
    #[arg(long)]
    pub(crate) plain: bool,

    /// The new node's number, from 1.
    #[arg(long, value_name = "ID", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) node_id: u64,

    /// Where other nodes will reach it.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: String,

    /// Into how many Raft groups the new store parts the state of things, if the backup was made before there were such groups;
    /// otherwise as many as the old store's. Its nodes are started with the same `--state-groups`.
    #[arg(long, value_name = "N", default_value_t = STATE_GROUPS, value_parser = state_groups)]
    pub(crate) state_groups: NonZeroU32,

    /// The new store's name, another one than the old store's: its nodes are started with the same `--store`.
    #[arg(long, value_name = "NAME")]
    pub(crate) store: String,
}

/// Changes of the nodes; answered when they are in force.
#[derive(Subcommand, Clone)]
pub(crate) enum MembersCommand {
    /// Add a node that was started with --join; it votes when it is level.
    Add(AddArgs),
    /// Take a node out, whether it is alive or not.
    Remove(RemoveArgs),
    /// Put a node that was started with --join in the place of another one, in one change.
    Replace(ReplaceArgs),
    /// Take out every node whose number is above that of the nodes which are to stay: before a StatefulSet gets fewer pods.
    Shrink(ShrinkArgs),
}

/// Depths of topics, by prefix.
#[derive(Subcommand, Clone)]
pub(crate) enum DepthsCommand {
    /// Print them.
    Show(ReachArgs),
    /// Change one of them while messages flow; answered when it is in force.
    Set(DepthsSetArgs),
}

/// Arguments of `depths set`.
#[derive(Args, Clone)]
pub(crate) struct DepthsSetArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// Topics that begin with these levels, such as `acme/prod`; all that are below no other prefix unless given.
    #[arg(long, value_name = "LEVELS")]
    pub(crate) prefix: Option<String>,

    /// How many levels choose their slot, those of the prefix included. Without it: as if it had never been set.
    #[arg(long, value_name = "N")]
    pub(crate) levels: Option<u64>,
}

/// Arguments of `members add`.
#[derive(Args, Clone)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// Its number.
    #[arg(long, value_name = "ID")]
    pub(crate) node_id: u64,

    /// Where the others reach it.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: String,
}

/// Arguments of `members remove`.
#[derive(Args, Clone)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// Its number.
    #[arg(long, value_name = "ID")]
    pub(crate) node_id: u64,
}

/// Arguments of `members replace`.
#[derive(Args, Clone)]
pub(crate) struct ReplaceArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// The number of the one that goes.
    #[arg(long, value_name = "ID")]
    pub(crate) old: u64,

    /// The number of the one that comes.
    #[arg(long, value_name = "ID")]
    pub(crate) node_id: u64,

    /// Where the others reach that one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: String,
}

/// Arguments of `members shrink`.
#[derive(Args, Clone)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// The highest number that stays.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) to: u64,
}
