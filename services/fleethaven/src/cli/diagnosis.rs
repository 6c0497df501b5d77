//! `fleethaven status` and `fleethaven doctor`.

use std::path::PathBuf;

use clap::Args;

use super::check::Place;
use super::cluster::StoreArgs;
use super::store::ReachArgs;

/// Arguments of `fleethaven status`.
#[derive(Args, Clone)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,

    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `fleethaven doctor`. What is not named is not looked at.
#[derive(Args, Clone)]
pub(crate) struct DoctorArgs {
    /// The data directory of a `fleethaven dev` or `metastore`: its place on disk, its certificates.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Nodes of a cluster's metadata store: they, the members and the slots. May be repeated.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', requires = "cluster_tls")]
    pub(crate) metastore: Vec<String>,

    /// A folder with a certificate of role operator, or metastore.
    #[arg(long, value_name = "DIR", requires = "metastore")]
    pub(crate) cluster_tls: Option<PathBuf>,

    /// Look at the session store that --redis and the options beside it name.
    #[arg(long)]
    pub(crate) session_store: bool,

    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Where the API or devices' HTTPS is: its certificate, and this machine's clock against its own. May be repeated.
    #[arg(long, value_name = "HOST:PORT", requires = "ca")]
    pub(crate) https: Vec<Place>,

    /// The CA that certified --https (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Print JSON: one finding a line.
    #[arg(long)]
    pub(crate) json: bool,
}
