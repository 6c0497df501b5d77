//! What the processes of a cluster take.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use fleethaven_daemon::clock;
use fleethaven_storage_redis::{Durability, Options, Tls};

/// Who a process is to the others.
#[derive(Args, Clone)]
pub(crate) struct IdentityArgs {
    /// A folder with the certificate of this process (`tls.crt`, `tls.key`) and the CAs that it trusts (`ca.crt`), as
    /// `fleethaven pki issue` makes it. Taken up anew when the files change.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_CLUSTER_TLS", required = true)]
    cluster_tls: Option<PathBuf>,
}

impl IdentityArgs {
    /// The folder with the certificate. Without one there is no service: `clap` asks for it wherever it runs.
    pub(crate) fn folder(&self) -> &Path {
        self.cluster_tls.as_deref().unwrap_or(Path::new(""))
    }
}

/// Where a process is called.
#[derive(Args, Clone)]
pub(crate) struct ListenArgs {
    /// Where other services of the cluster connect (gRPC with mTLS).
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_LISTEN", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,
}

/// A process that the others find through the metadata store.
#[derive(Args, Clone)]
pub(crate) struct MemberArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,

    /// Where the others reach --listen, as HOST:PORT; --listen itself unless given.
    #[arg(long, value_name = "HOST:PORT", env = "FLEETHAVEN_ADVERTISE")]
    pub(crate) advertise: Option<String>,
}

impl MemberArgs {
    /// Where the others reach the listener that is bound at `listen`.
    pub(crate) fn address(&self, listen: SocketAddr) -> String {
        advertised(self.advertise.as_deref(), listen)
    }

    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_reachable(self.listen.listen, self.advertise.as_deref())
    }
}

/// Where the others reach a listener: as advertised, or where it is bound. An IPv6 address may stand without brackets, as
/// Kubernetes gives that of a pod.
pub(crate) fn advertised(advertise: Option<&str>, listen: SocketAddr) -> String {
    let Some(address) = advertise else { return listen.to_string() };
    match address.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        _ => address.to_owned(),
    }
}

/// Refuses an address that nobody can connect to.
pub(super) fn check_reachable(listen: SocketAddr, advertise: Option<&str>) -> Result<(), String> {
    match advertise {
        Some(address) if !has_port(address) => Err(format!("--advertise '{address}' is not HOST:PORT")),
        None if listen.ip().is_unspecified() => {
            Err(format!("nobody can connect to {listen}: say with --advertise where the others reach it"))
        }
        _ => Ok(()),
    }
}

/// How a process reaches the metadata store.
#[derive(Args, Clone)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// The nodes of the metadata store; one is asked at a time. May be repeated.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "FLEETHAVEN_METASTORE",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) metastore: Vec<String>,
}

/// The session store.
#[derive(Args, Clone)]
pub(crate) struct StoreArgs {
    /// The Redis or Valkey with sessions, queues, retained messages and the rules queue:
    /// `redis://[user:password@]host[:port][/database]`, `redis+sentinel://…/name` or `redis+cluster://…`; `rediss` for TLS.
    #[arg(
        long,
        value_name = "URL",
        env = "FLEETHAVEN_REDIS",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub(crate) redis: String,

    /// Certificates of the authorities that Redis may be certified by; without, those that the system trusts.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_REDIS_CA")]
    pub(crate) redis_ca: Option<PathBuf>,

    /// A client certificate for Redis: a PEM chain.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_REDIS_CERT", requires = "redis_key")]
    pub(crate) redis_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_REDIS_KEY", requires = "redis_cert")]
    pub(crate) redis_key: Option<PathBuf>,

    /// What an acknowledged message survives: `process`, the end of Redis's process; `replica:N`, also the loss of its machine,
    /// as N replicas have it; `fsync:N`, on disk there and on N replicas.
    #[arg(
        long,
        value_name = "process|replica:N|fsync:N",
        env = "FLEETHAVEN_REDIS_DURABILITY",
        default_value = "process",
        value_parser = durability
    )]
    pub(crate) redis_durability: Durability,

    /// What all keys begin with: two clusters in one Redis need two.
    #[arg(long, value_name = "PREFIX", env = "FLEETHAVEN_REDIS_PREFIX", default_value = "fleethaven")]
    pub(crate) redis_prefix: String,
}

impl StoreArgs {
    /// The store's settings.
    pub(crate) fn options(&self) -> Result<Options> {
        let options = Options::new(&self.redis, self.redis_durability, Arc::new(clock::now));
        let options = options.context("--redis")?;
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let roots = self.redis_ca.as_ref().map(read).transpose()?;
        let identity = match (&self.redis_cert, &self.redis_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        Ok(Options { tls: Tls { roots, identity }, prefix: self.redis_prefix.clone(), ..options })
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    let (level, replicas) = match text.split_once(':') {
        Some((level, replicas)) => (level, replicas.parse().ok()),
        None => (text, Some(u32::from(text == "replica"))),
    };
    match (level, replicas) {
        ("process", Some(0)) if !text.contains(':') => Ok(Durability::Process),
        ("replica", Some(replicas)) if replicas > 0 => Ok(Durability::Replica { replicas }),
        ("fsync", Some(replicas)) => Ok(Durability::Fsync { replicas }),
        _ => Err(format!("'{text}' is none of process, replica:N with N from 1, fsync:N")),
    }
}

/// A node of the metadata store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) node: u64,
    /// `host:port` of its gRPC listener.
    pub(crate) address: String,
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(node, address)| Some((node.parse().ok()?, address)));
        match parts {
            Some((node, address)) if node > 0 && has_port(address) => {
                Ok(Self { node, address: address.to_owned() })
            }
            _ => Err(format!("'{text}' is not ID=HOST:PORT, where ID is a number from 1")),
        }
    }
}

fn has_port(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nodes() {
        let node = |node, address: &str| Ok(NodeAddress { node, address: address.to_owned() });
        assert_eq!("3=meta-2.meta:7400".parse(), node(3, "meta-2.meta:7400"));
        assert_eq!("1=[::1]:7400".parse(), node(1, "[::1]:7400"));
        for text in ["", "1", "a=b:1", "0=b:1", "1=b", "1=b:0", "1=:1", "1=b:65536"] {
            assert!(text.parse::<NodeAddress>().unwrap_err().contains("ID=HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn addresses_that_others_are_told() {
        let listen = "10.0.0.1:7400".parse().unwrap();
        let told = |advertise| advertised(advertise, listen);
        assert_eq!(told(None), "10.0.0.1:7400");
        assert_eq!(told(Some("node-0.nodes:7401")), "node-0.nodes:7401");
        assert_eq!(told(Some("fd00::7:7400")), "[fd00::7]:7400", "as $(POD_IP):7400 comes out");
        assert_eq!(told(Some("[fd00::7]:7400")), "[fd00::7]:7400");
    }

    #[test]
    fn levels_of_durability() {
        for (text, level) in [
            ("process", Durability::Process),
            ("replica", Durability::Replica { replicas: 1 }),
            ("replica:2", Durability::Replica { replicas: 2 }),
            ("fsync", Durability::Fsync { replicas: 0 }),
            ("fsync:1", Durability::Fsync { replicas: 1 }),
        ] {
            assert_eq!(durability(text), Ok(level), "{text}");
        }
        for text in ["", "process:1", "replica:0", "replica:x", "fsync:-1", "disk"] {
            assert!(durability(text).unwrap_err().contains(text), "{text}");
        }
    }
}
