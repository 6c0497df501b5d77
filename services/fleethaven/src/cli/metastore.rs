//! `fleethaven metastore`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use fleethaven_registry::Shard;
use fleethaven_types::Profile;

use super::cluster::{IdentityArgs, ListenArgs, NodeAddress, advertised, check_reachable};
use super::encryption::EncryptionArgs;
use super::process::ProcessArgs;
use super::store::StoreCommand;

/// State groups of a store unless it is said otherwise.
pub(super) const STATE_GROUPS: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// Reads a number of state groups.
pub(super) fn state_groups(text: &str) -> Result<NonZeroU32, String> {
    let number = text.parse().ok().filter(|number: &NonZeroU32| number.get() <= Shard::COUNT);
    number.ok_or_else(|| format!("there can be 1 to {} state groups", Shard::COUNT))
}

/// Arguments of `fleethaven metastore`.
#[derive(Args, Clone)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct MetastoreArgs {
    /// What to do with the store instead of running a node of it.
    #[command(subcommand)]
    pub(crate) operation: Option<StoreCommand>,

    #[command(flatten)]
    pub(crate) process: ProcessArgs,

    #[command(flatten)]
    pub(crate) listen: ListenArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// Where everything is kept; made on first start.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_DATA_DIR", default_value = ".fleethaven")]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,

    /// The node's number, from 1. A node whose disk lost data comes back under a new one. Unless given, one above the number
    /// at the end of the host's name (pods of a Kubernetes StatefulSet count from 0).
    #[arg(long, value_name = "ID", env = "FLEETHAVEN_NODE_ID")]
    pub(crate) node_id: Option<u64>,

    /// The nodes that form the store when it is started for the first time: the same list on each. Without it the node is
    /// alone.
    #[arg(long, value_name = "ID=HOST:PORT", env = "FLEETHAVEN_PEER", value_delimiter = ',')]
    pub(crate) peer: Vec<NodeAddress>,

    /// The store's name, the same on all its nodes: the cluster's unless given. A store that was restored from a backup has
    /// another name than the one that was backed up, so that the nodes of both never take each other for their own.
    #[arg(long, value_name = "NAME", env = "FLEETHAVEN_STORE")]
    pub(crate) store: Option<String>,

    /// Ask the nodes of --peer to be added whenever it finds that it is none of the store's nodes. If its directory is empty, a node
    /// first finds out whether there is a store: it comes into one as a new node, also where it was one of its nodes before and has
    /// lost its directory; those of --peer form it when all of them have nothing. Without --peer it waits until `members add` adds
    /// it.
    #[arg(long, env = "FLEETHAVEN_JOIN")]
    pub(crate) join: bool,

    /// Where the others reach --listen, as HOST:PORT, of a node that asks to be added; --listen itself unless given.
    #[arg(long, value_name = "HOST:PORT", env = "FLEETHAVEN_ADVERTISE")]
    pub(crate) advertise: Option<String>,

    /// Into how many Raft groups the state of things (shadows, job executions) is parted, beside the one that holds everything
    /// else: 1 to 256, the same on all nodes, and for ever.
    #[arg(long, value_name = "N", env = "FLEETHAVEN_STATE_GROUPS", default_value_t = STATE_GROUPS,
        value_parser = state_groups)]
    pub(crate) state_groups: NonZeroU32,

    /// `standard`: MQTT by the OASIS text, generous limits. `aws`: AWS's own deviations and quotas.
    #[arg(long, value_name = "standard|aws", env = "FLEETHAVEN_PROFILE", default_value = "standard")]
    pub(crate) profile: Profile,
}

impl MetastoreArgs {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.operation.is_some() {
            return Ok(());
        }
        let node = self.node()?;
        if !self.peer.is_empty() && !self.is_peer(node) && !self.join {
            return Err(format!(
                "node {node} is not among the nodes of --peer: add it, set --node-id, or let it --join them"
            ));
        }
        if self.peers().len() != self.peer.len() {
            return Err("--peer names a node twice".to_owned());
        }
        match self.asks_to_join() && !self.is_peer(node) {
            true => check_reachable(self.listen.listen, self.advertise.as_deref()),
            false => Ok(()),
        }
    }

    fn is_peer(&self, node: u64) -> bool {
        self.peer.iter().any(|peer| peer.node == node)
    }

    /// Whether this node asks those of `--peer` to be added.
    pub(crate) fn asks_to_join(&self) -> bool {
        self.join && !self.peer.is_empty()
    }

    /// Where the others reach it, when it listens there.
    pub(crate) fn reached(&self, node: u64, listen: SocketAddr) -> String {
        let named = self.peer.iter().find(|peer| peer.node == node).map(|peer| peer.address.clone());
        named.unwrap_or_else(|| advertised(self.advertise.as_deref(), listen))
    }

    /// The node's number.
    pub(crate) fn node(&self) -> Result<u64, String> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match self.node_id.or_else(|| ordinal(host.trim())?.checked_add(1)) {
            Some(0) => Err("--node-id counts from 1".to_owned()),
            Some(node) => Ok(node),
            None => Err(format!("the host's name '{}' ends in no number: set --node-id", host.trim())),
        }
    }

    /// The nodes of `--peer` by their numbers.
    pub(crate) fn peers(&self) -> BTreeMap<u64, String> {
        self.peer.iter().map(|peer| (peer.node, peer.address.clone())).collect()
    }
}

/// The number of a StatefulSet's pod.
fn ordinal(host: &str) -> Option<u64> {
    host.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parsed};

    fn arguments(line: &str) -> MetastoreArgs {
        let Command::Metastore(arguments) = parsed(&format!("metastore --cluster-tls tls {line}")) else {
            panic!("another command")
        };
        *arguments
    }

    #[test]
    fn nodes_know_themselves_and_each_other() {
        let three = "--peer 1=a:1,2=b:1,3=c:1";
        assert!(arguments(&format!("--node-id 2 {three}")).check().is_ok());
        let strange = arguments(&format!("--node-id 4 {three}")).check();
        assert!(strange.unwrap_err().contains("node 4 is not among"));
        assert!(arguments("--node-id 0").check().unwrap_err().contains("from 1"));
        assert!(arguments("--node-id 1 --peer 1=a:1,1=b:1").check().unwrap_err().contains("twice"));
        assert!(arguments("--node-id 9 --join").check().is_ok());
        assert_eq!(arguments("--node-id 1").state_groups.get(), 4);
        assert_eq!(state_groups("256").unwrap().get(), 256);
        for bad in ["0", "257", "-1", ""] {
            assert!(state_groups(bad).unwrap_err().contains("1 to 256"));
        }
    }

    #[test]
    fn who_asks_to_join_can_be_reached() {
        let listen = "10.0.0.1:7400".parse().unwrap();
        let asks = |line: &str| {
            let arguments = arguments(&format!("--join {line}"));
            let reached = arguments.reached(arguments.node().unwrap(), listen);
            arguments.check().map(|()| arguments.asks_to_join().then_some(reached))
        };
        let two = "--peer 1=a:1,2=b:1";
        assert_eq!(asks(&format!("--node-id 2 {two} --listen 0.0.0.0:7400")), Ok(Some("b:1".to_owned())));
        assert_eq!(asks("--node-id 9"), Ok(None), "it waits");
        let third = format!("--node-id 3 {two}");
        assert_eq!(asks(&third), Ok(Some("10.0.0.1:7400".to_owned())));
        assert!(asks(&format!("{third} --listen 0.0.0.0:7400")).unwrap_err().contains("--advertise"));
        let advertised = format!("{third} --listen 0.0.0.0:7400 --advertise c:7400");
        assert_eq!(asks(&advertised), Ok(Some("c:7400".to_owned())));
        assert!(asks(&format!("{third} --advertise c")).unwrap_err().contains("HOST:PORT"));
    }

    #[test]
    fn operations_need_no_more_than_they_take() {
        let operation = |line: &str| {
            let Command::Metastore(arguments) = parsed(&format!("metastore {line}")) else {
                panic!("another command")
            };
            assert!(arguments.check().is_ok());
            arguments.operation.unwrap()
        };
        let reach = "--metastore a:1,b:1 --cluster-tls op";
        let StoreCommand::Status(asked) = operation(&format!("status {reach}")) else {
            panic!("another operation")
        };
        assert_eq!((asked.reach.metastore, asked.table), (vec!["a:1".to_owned(), "b:1".to_owned()], false));
        assert!(matches!(operation(&format!("backup {reach} --file f")), StoreCommand::Backup(_)));
        let restore = "restore --file f --data-dir d --address a:1 --store s";
        assert!(matches!(operation(restore), StoreCommand::Restore(_)));
        let replace = format!("members replace {reach} --old 1 --node-id 4 --address d:1");
        assert!(matches!(operation(&replace), StoreCommand::Members(_)));
    }

    #[test]
    fn pods_have_their_number_at_the_end() {
        assert_eq!(ordinal("fleethaven-metastore-12"), Some(12));
        for host in ["", "host", "host-", "host-a"] {
            assert_eq!(ordinal(host), None, "{host}");
        }
    }
}
