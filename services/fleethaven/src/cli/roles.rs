//! The roles of a cluster that keep nothing: `fleethaven api`, `gateway`, `router`, `rules-worker`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use super::audit::AuditArgs;
use super::cluster::{ClusterArgs, MemberArgs, StoreArgs};
use super::front::{DrainArgs, ListenerArgs, ServerArgs, WebArgs};
use super::issuing::IssuingArgs;
use super::logs::IotLogArgs;
use super::process::{ProcessArgs, ScopeArgs};
use super::usage::UsageArgs;

/// Arguments of `fleethaven api`.
#[derive(Args, Clone)]
pub(crate) struct ApiArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) web: WebArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    #[command(flatten)]
    pub(crate) drain: DrainArgs,

    #[command(flatten)]
    pub(crate) outbound: OutboundArgs,

    #[command(flatten)]
    pub(crate) audit: AuditArgs,

    #[command(flatten)]
    pub(crate) iot_log: IotLogArgs,

    /// Where devices reach the gateways' --https, as HOST:PORT: what DescribeEndpoint answers unless there is a
    /// --base-domain.
    #[arg(long, value_name = "HOST:PORT", env = "FLEETHAVEN_DATA_ENDPOINT")]
    pub(crate) data_endpoint: Option<String>,

    /// Where devices reach the credentials provider, as HOST:PORT: the gateways' --https-mtls, or with a --base-domain (of which
    /// only the port counts then) their --https.
    #[arg(long, value_name = "HOST:PORT", env = "FLEETHAVEN_CREDENTIALS_ENDPOINT")]
    pub(crate) credentials_endpoint: Option<String>,

    #[command(flatten)]
    pub(crate) usage: UsageArgs,

    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

/// Arguments of `fleethaven gateway`.
#[derive(Args, Clone)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) member: MemberArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) listeners: ListenerArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    #[command(flatten)]
    pub(crate) outbound: OutboundArgs,

    #[command(flatten)]
    pub(crate) drain: DrainArgs,

    #[command(flatten)]
    pub(crate) cores: CoresArgs,

    /// Seconds for which what is known of clients counts while the metadata store is out of reach. Then new clients are
    /// refused, and connections end.
    #[arg(long, value_name = "SECONDS", env = "FLEETHAVEN_AUTH_MAX_STALENESS", default_value_t = 60)]
    pub(crate) auth_max_staleness: u32,

    #[command(flatten)]
    pub(crate) audit: AuditArgs,

    #[command(flatten)]
    pub(crate) iot_log: IotLogArgs,

    #[command(flatten)]
    pub(crate) usage: UsageArgs,

    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

/// Event loops.
#[derive(Args, Clone)]
pub(crate) struct CoresArgs {
    /// Event loops; the number of cores unless given.
    #[arg(long, value_name = "N", env = "FLEETHAVEN_CORES")]
    pub(crate) cores: Option<u8>,
}

impl CoresArgs {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.cores {
            Some(0) => Err("--cores 0 leaves nothing to run on: use at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    /// How many there are to be.
    pub(crate) fn count(&self) -> u8 {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.cores.unwrap_or_else(|| u8::try_from(all()).unwrap_or(u8::MAX))
    }
}

/// Arguments of `fleethaven router`.
#[derive(Args, Clone)]
pub(crate) struct RouterArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) member: MemberArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) cores: CoresArgs,

    #[command(flatten)]
    pub(crate) iot_log: IotLogArgs,
}

/// A network, or an address alone.
fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(alone).ok_or_else(|| format!("'{text}' is no network such as 10.0.0.0/8"))
}

/// Calls to the outside: functions, for whoever names them, and rule actions.
#[derive(Args, Clone)]
pub(crate) struct OutboundArgs {
    /// Networks that calls of functions and rule actions may reach although they are loopback, link-local or private; they may be
    /// called without TLS, too. May be repeated.
    #[arg(long, value_name = "CIDR", env = "FLEETHAVEN_ALLOW_OUTBOUND", value_delimiter = ',', value_parser = network)]
    pub(crate) allow_outbound: Vec<IpNet>,

    /// Certificates (PEM) of authorities that may certify what is called, beside the system's. May be repeated.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_OUTBOUND_CA", value_delimiter = ',')]
    pub(crate) outbound_ca: Vec<PathBuf>,
}

/// What stands for object storage.
#[derive(Args, Clone)]
pub(crate) struct ObjectsArgs {
    /// A folder that stands for object storage: BUCKET/KEY below it. Rules find descriptor sets of protobuf there.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_OBJECTS")]
    pub(crate) objects: Option<PathBuf>,
}

/// Arguments of `fleethaven rules-worker`.
#[derive(Args, Clone)]
pub(crate) struct RulesWorkerArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) outbound: OutboundArgs,

    #[command(flatten)]
    pub(crate) objects: ObjectsArgs,

    #[command(flatten)]
    pub(crate) iot_log: IotLogArgs,

    #[command(flatten)]
    pub(crate) usage: UsageArgs,
}

/// What a pod is known by to Kubernetes' API, which the variables KUBERNETES_SERVICE_HOST and _PORT tell the place of.
#[derive(Args, Clone)]
pub(crate) struct PodArgs {
    /// A folder with `token`, `ca.crt` and `namespace`.
    #[arg(long, value_name = "DIR", default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    pub(crate) service_account: PathBuf,
}
