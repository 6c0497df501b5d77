//! Operating the metadata store from outside: what `fleethaven metastore status|backup|restore|members` does.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::{BackupInfo, GroupStatus, NodeRole, Status};
use fleethaven_fabric_grpc::admin::AdminClient;
use fleethaven_fabric_grpc::tls::Tls;
use fleethaven_metastore::{Restore, Restored, inspect, restore};
use fleethaven_pki::ServiceRole;
use futures_util::TryStreamExt;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use crate::cli::{BackupArgs, MembersCommand, ReachArgs, RestoreArgs, StoreCommand, StoreStatusArgs};
use crate::cluster_tls;
use crate::data_dir::DataDir;
use crate::encryption::{Masters, Safe, issuing_keys, safe};
use crate::process::{print_line, print_text};
use crate::standing::table;

/// How long a node may take to tell how it stands.
const STATUS_WITHIN: Duration = Duration::from_secs(5);
/// How long a step that fails is tried again while nodes are taken out.
const SHRUNK_WITHIN: Duration = Duration::from_secs(60);
/// How long a store may be without a leader while its nodes change.
const ELECTED_WITHIN: Duration = Duration::from_secs(30);
/// Pause before a leader is looked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// What was done, or how a node stands: a line of JSON.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Standing {
        address: String,
        node_id: u64,
        /// The release that it runs.
        #[serde(skip_serializing_if = "String::is_empty")]
        version: String,
        #[serde(flatten)]
        control: Group,
        disk_bytes: u64,
        /// Ids of the master keys that its disk is encrypted under.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        master_keys: Vec<String>,
        /// Ids of the keys that seal and open the private keys of issuing CAs, the one that seals first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        issuing_keys: Vec<String>,
        state_groups: Vec<Group>,
    },
    Silent {
        address: String,
        error: String,
    },
    Backup {
        file: PathBuf,
        bytes: u64,
        made_at: u64,
        revisions: Vec<u64>,
        /// Ids of the keys that the private keys of issuing CAs in it may be sealed under: the backup does not hold these.
        issuing_keys: Vec<String>,
    },
    Restored {
        data_dir: PathBuf,
        node_id: u64,
        store: String,
        state_groups: u32,
        made_at: u64,
        revisions: Vec<u64>,
        /// Ids of the keys that the private keys of issuing CAs are sealed under.
        issuing_keys: BTreeSet<String>,
        /// Those of them that the file of --issuing-key-file does not have.
        missing_issuing_keys: BTreeSet<String>,
    },
    Members {
        nodes: Vec<Node>,
    },
}

/// How a node stands in a Raft group.
#[derive(Serialize)]
pub(crate) struct Group {
    /// A state group's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    role: &'static str,
    leader: Option<u64>,
    term: u64,
    last: u64,
    committed: u64,
    applied: u64,
    snapshot: u64,
    in_quorum: bool,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
pub(crate) struct Node {
    node_id: u64,
    address: String,
    votes: bool,
    /// Entries behind the leader; only the leader tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
}

/// Carries out the command.
pub(crate) async fn run(command: StoreCommand) -> Result<()> {
    match command {
        StoreCommand::Status(arguments) => status(&arguments).await,
        StoreCommand::Backup(arguments) => backup(&arguments).await,
        StoreCommand::Restore(arguments) => restored(&arguments).await,
        StoreCommand::Members(command) => members(&command).await,
        StoreCommand::Depths(command) => crate::depths::run(&command).await,
    }
}

/// The store, as it is reached from outside.
pub(crate) struct Store {
    tls: Arc<Tls>,
    given: Vec<String>,
}

impl Store {
    /// The store that these nodes are of.
    pub(crate) fn new(tls: Arc<Tls>, given: Vec<String>) -> Self {
        Self { tls, given }
    }

    pub(crate) fn open(reach: &ReachArgs) -> Result<Self> {
        let tls = cluster_tls::of_operator(&reach.cluster_tls)?;
        Ok(Self::new(tls, reach.metastore.clone()))
    }

    fn client(&self, address: &str) -> Result<AdminClient> {
        let channel = self.tls.channel(address, ServiceRole::Metastore).map_err(anyhow::Error::msg)?;
        Ok(AdminClient::new(channel))
    }

    async fn ask(&self, address: &str) -> Result<Status> {
        let client = self.client(address)?;
        let answer = tokio::time::timeout(STATUS_WITHIN, client.status()).await;
        Ok(answer.context("it does not answer")??)
    }

    /// Every node that is given or that one of these names, and how it stands.
    pub(crate) async fn standing(&self) -> Vec<(String, Result<Status>)> {
        let mut known: BTreeSet<String> = self.given.iter().cloned().collect();
        let mut waiting = self.given.clone();
        let mut standing = Vec::new();
        while let Some(address) = waiting.pop() {
            let status = self.ask(&address).await;
            let named = status.iter().flat_map(|status| &status.control.nodes).map(|node| &node.address);
            for other in named.filter(|other| !other.is_empty()) {
                if known.insert(other.clone()) {
                    waiting.push(other.clone());
                }
            }
            standing.push((address, status));
        }
        standing.sort_by(|one, other| one.0.cmp(&other.0));
        standing
    }

    /// The node that leads the control group.
    pub(crate) async fn leader(&self) -> Result<AdminClient> {
        self.leader_of(&self.standing().await)
    }

    /// The one that leads it among nodes that stand so.
    pub(crate) fn leader_of(&self, standing: &[(String, Result<Status>)]) -> Result<AdminClient> {
        match standing.iter().find(|(_, status)| status.as_ref().is_ok_and(leads)) {
            Some((address, _)) => self.client(address),
            None => bail!("{}", Self::why_none_leads(standing)),
        }
    }

    /// How that one stands.
    pub(crate) fn leading(standing: &[(String, Result<Status>)]) -> Option<&Status> {
        standing.iter().filter_map(|(_, status)| status.as_ref().ok()).find(|status| leads(status))
    }

    pub(crate) fn why_none_leads(standing: &[(String, Result<Status>)]) -> String {
        let reasons = standing.iter().map(|(address, status)| match status {
            Ok(_) => format!("{address} does not lead"),
            Err(error) => format!("{address}: {error:#}"),
        });
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        format!("no node of the metadata store leads that can be reached: {reasons}")
    }

    /// The node that leads, or will in a moment: an election may be under way.
    async fn next_leader(&self) -> Result<AdminClient> {
        let end = tokio::time::Instant::now() + ELECTED_WITHIN;
        loop {
            match self.leader().await {
                Err(_) if tokio::time::Instant::now() < end => tokio::time::sleep(PAUSE).await,
                leader => return leader,
            }
        }
    }

    /// Takes out every node above `to`, one after the other, whoever leads at last. What fails is tried again: leadership may be
    /// changing hands.
    async fn shrink(&self, to: u64) -> Result<AdminClient> {
        let leader = self.next_leader().await?;
        self.check_remaining(&leader.status().await?, to).await?;
        let end = tokio::time::Instant::now() + SHRUNK_WITHIN;
        loop {
            match self.take_out_one(to).await {
                Ok(Some(leader)) => return Ok(leader),
                Ok(None) => {}
                Err(error) if tokio::time::Instant::now() > end => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Takes a node above `to` out, the leader last; the leader when there is none left.
    async fn take_out_one(&self, to: u64) -> Result<Option<AdminClient>> {
        let leader = self.leader().await?;
        let status = leader.status().await?;
        // One that was taken out half-way is still in some of the groups.
        let nodes = || status.groups().flat_map(|group| &group.nodes).map(|node| node.node);
        let above = || nodes().filter(|node| *node > to);
        match above().find(|node| *node != status.node) {
            Some(node) => leader.remove_node(node).await?,
            None if above().next().is_some() => leader.hand_over().await?,
            None => return Ok(Some(leader)),
        }
        Ok(None)
    }

    /// Refuses to take out nodes when those that stay would be no quorum of themselves.
    async fn check_remaining(&self, status: &Status, to: u64) -> Result<()> {
        if status.groups().flat_map(|group| &group.nodes).all(|node| node.node <= to) {
            return Ok(());
        }
        let staying = status.control.nodes.iter().filter(|node| node.node <= to && node.votes).count();
        let standing = self.standing().await;
        let answer = |(_, status): &(String, Result<Status>)| {
            status.as_ref().is_ok_and(|status| status.node <= to && status.control.confirmed)
        };
        let answering = standing.iter().filter(|node| answer(node)).count();
        if 2 * answering <= staying {
            bail!(
                "only {answering} of the {staying} nodes that would stay are in touch with the leader: they would be no quorum"
            );
        }
        Ok(())
    }
}

/// Whether it leads the control group, and has a quorum.
fn leads(status: &Status) -> bool {
    status.control.role == NodeRole::Leader && status.control.confirmed
}

fn nodes(group: &GroupStatus) -> Vec<Node> {
    let nodes = group.nodes.iter().map(|node| Node {
        node_id: node.node,
        address: node.address.clone(),
        votes: node.votes,
        lag: group.lag(node.node),
    });
    nodes.collect()
}

/// How a node stands, as it is printed.
pub(crate) fn line(address: String, status: Result<Status>) -> Line {
    let status = match status {
        Ok(status) => status,
        Err(error) => return Line::Silent { address, error: format!("{error:#}") },
    };
    Line::Standing {
        address,
        node_id: status.node,
        control: group(None, &status.control),
        version: status.version,
        disk_bytes: status.disk_bytes,
        master_keys: status.master_keys,
        issuing_keys: status.issuing_keys,
        state_groups: (1..).zip(&status.state).map(|(number, status)| group(Some(number), status)).collect(),
    }
}

fn group(number: Option<usize>, status: &GroupStatus) -> Group {
    Group {
        group: number,
        role: match status.role {
            NodeRole::Leader => "leader",
            NodeRole::Follower => "follower",
            NodeRole::Candidate => "candidate",
            NodeRole::Learner => "learner",
        },
        leader: status.leader,
        term: status.term,
        last: status.last,
        committed: status.committed,
        applied: status.applied,
        snapshot: status.snapshot,
        in_quorum: status.confirmed,
        nodes: nodes(status),
    }
}

async fn status(arguments: &StoreStatusArgs) -> Result<()> {
    let standing = Store::open(&arguments.reach)?.standing().await;
    let answered = standing.iter().any(|(_, status)| status.is_ok());
    if arguments.table {
        print_text(&table(&standing))?;
    }
    for (address, status) in standing.into_iter().filter(|_| !arguments.table) {
        print_line(&line(address, status))?;
    }
    match answered {
        true => Ok(()),
        false => bail!("no node of the metadata store answers"),
    }
}

async fn backup(arguments: &BackupArgs) -> Result<()> {
    let leader = Store::open(&arguments.reach)?.leader().await?;
    let unfinished = arguments.file.with_added_extension("unfinished");
    let bytes = download(&leader, &unfinished).await?;
    // Nobody should find out on the day when it is needed.
    let read = unfinished.clone();
    let info = tokio::task::spawn_blocking(move || inspect(&read)).await?;
    let BackupInfo { revisions, made_at, .. } = info.context("what arrived is no whole backup")?;
    let file = &arguments.file;
    std::fs::rename(&unfinished, file).with_context(|| format!("cannot write {}", file.display()))?;
    let issuing_keys = leader.status().await?.issuing_keys;
    print_line(&Line::Backup { file: file.clone(), bytes, made_at, revisions, issuing_keys })
}

/// Keeps what the node sends, durably and for its owner only; how much it was.
async fn download(node: &AdminClient, path: &Path) -> Result<u64> {
    let failed = || format!("cannot write {}", path.display());
    let mut pieces = node.backup().await?;
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).await.with_context(failed)?;
    let mut bytes = 0;
    while let Some(piece) = pieces.try_next().await.context("the backup broke off")? {
        file.write_all(&piece).await.with_context(failed)?;
        bytes += piece.len() as u64;
    }
    file.sync_all().await.with_context(failed)?;
    Ok(bytes)
}

async fn restored(arguments: &RestoreArgs) -> Result<()> {
    let data = DataDir::open(&arguments.data_dir)?;
    let masters = Masters::of(&arguments.encryption)?;
    let sealed_by = arguments.encryption.issuing_key_file.as_deref().map(issuing_keys::read).transpose()?;
    let opens = match fleethaven_metastore::keyring(&arguments.file)? {
        Some(keyring) => {
            let masters = masters.clone();
            let opening = tokio::task::spawn_blocking(move || safe::vault_of(&keyring, masters.as_ref()));
            Some(opening.await?.context("the backup cannot be opened")?)
        }
        None => None,
    };
    let safe = match arguments.plain {
        true => None,
        false => Safe::opened(masters.as_ref(), "metastore", &data.path("metastore")).await?,
    };
    let restored = restore(Restore {
        vault: safe.as_ref().map(Safe::vault),
        opens,
        file: arguments.file.clone(),
        dir: data.path("metastore"),
        node: arguments.node_id,
        address: arguments.address.clone(),
        state_groups: arguments.state_groups,
        cluster: arguments.store.clone(),
        now: clock::now(),
    });
    let Restored { backup, state_groups, issuing_keys } = restored.await?;
    let opened = |id: &&String| sealed_by.as_ref().is_some_and(|keys| keys.find(id).is_some());
    let missing_issuing_keys: BTreeSet<_> = issuing_keys.iter().filter(|id| !opened(id)).cloned().collect();
    if !missing_issuing_keys.is_empty() {
        let missing = missing_issuing_keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        writeln!(
            std::io::stderr().lock(),
            "fleethaven: private keys of issuing CAs are sealed under {missing}, which no --issuing-key-file was named with: until the \
             nodes have it, or the accounts another CA by `fleethaven issuing-ca put`, their CAs issue no certificates"
        )?;
    }
    let BackupInfo { revisions, made_at, .. } = backup;
    print_line(&Line::Restored {
        data_dir: arguments.data_dir.clone(),
        node_id: arguments.node_id,
        store: arguments.store.clone(),
        state_groups: state_groups.get(),
        made_at,
        revisions,
        issuing_keys,
        missing_issuing_keys,
    })
}

async fn members(command: &MembersCommand) -> Result<()> {
    let reach = match command {
        MembersCommand::Add(arguments) => &arguments.reach,
        MembersCommand::Remove(arguments) => &arguments.reach,
        MembersCommand::Replace(arguments) => &arguments.reach,
        MembersCommand::Shrink(arguments) => &arguments.reach,
    };
    let store = Store::open(reach)?;
    let leader = match command {
        // An election may be under way, also because of what it does itself.
        MembersCommand::Shrink(arguments) => store.shrink(arguments.to).await?,
        _ => store.leader().await?,
    };
    match command {
        MembersCommand::Add(arguments) => {
            leader.add_node(arguments.node_id, arguments.address.clone()).await?
        }
        MembersCommand::Remove(arguments) => leader.remove_node(arguments.node_id).await?,
        MembersCommand::Replace(arguments) => {
            leader.replace_node(arguments.old, arguments.node_id, arguments.address.clone()).await?;
        }
        MembersCommand::Shrink(_) => {}
    }
    print_line(&Line::Members { nodes: nodes(&leader.status().await?.control) })
}
