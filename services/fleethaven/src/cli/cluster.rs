//! What the processes of a cluster take.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

/// How the processes of a cluster reach each other.
#[derive(Args, Clone)]
pub(crate) struct ServiceArgs {
    /// Where other services of the cluster connect (gRPC with mTLS).
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_LISTEN", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,

    /// A folder with the certificate of this process (`tls.crt`, `tls.key`) and the CAs that it trusts (`ca.crt`), as
    /// `fleethaven pki issue` makes it. Taken up anew when the files change.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_CLUSTER_TLS", required = true)]
    cluster_tls: Option<PathBuf>,
}

impl ServiceArgs {
    /// The folder with the certificate. Without one there is no service: `clap` asks for it wherever it runs.
    pub(crate) fn cluster_tls(&self) -> &Path {
        self.cluster_tls.as_deref().unwrap_or(Path::new(""))
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
}
