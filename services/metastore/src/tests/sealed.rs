//! Stores that are sealed: what lies on their disks, nodes that join them, backups of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fleethaven_fabric::Admin;
use fleethaven_fabric::metadata::Metadata;
use fleethaven_registry::shapes::CreatePolicy;
use fleethaven_registry::{Action, Query, QueryKind, QueryReply};
use fleethaven_vault::{DataKey, Keyring, MasterKey, Vault, keyring};
use futures_util::TryStreamExt;

use super::backup::to_restore;
use super::fixture::{command, config, open, scope};
use super::mesh::{Cluster, until};
use crate::{Config, Error, Metastore, NoPeers, Restore, Start, Unsealing, restore};

/// What policies say, which is looked for on disks.
const MARKER: &str = "combination-of-the-vault-4711";

fn vault(config: &Config, opening: u8) -> Option<Arc<Vault>> {
    // Each node has a data key of its own.
    let key = DataKey([u8::try_from(config.node).unwrap(); 32]);
    Vault::new([(1, key)], [opening; 12]).map(Arc::new)
}

fn sealed(config: &mut Config) {
    (config.snapshot_every, config.keep_log) = (50, 5);
    config.vault = vault(config, 1);
}

/// In how many files below `dir` the marker is.
fn found(dir: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        files += match path.is_dir() {
            true => found(&path),
            false => {
                let contents = fs::read(&path).unwrap_or_default();
                usize::from(contents.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()))
            }
        };
    }
    files
}

async fn fill(node: &Metastore, policies: usize) {
    for number in 0..policies {
        let resource = format!("arn:aws:iot:eu-central-1:000000000042:topic/{MARKER}");
        let statement = serde_json::json!({"Effect": "Allow", "Action": "iot:Publish", "Resource": resource});
        let document = serde_json::json!({"Version": "2012-10-17", "Statement": [statement]});
        let create = CreatePolicy {
            policy_name: format!("p{number}"),
            policy_document: document.to_string(),
            tags: Vec::new(),
        };
        node.execute(command(Action::CreatePolicy(Box::new(create)))).await.unwrap();
    }
}

/// Whether the node has a policy, whole.
fn holds(node: &Metastore, number: usize) -> bool {
    match node.query_local(Query::new(scope(), QueryKind::GetPolicy(format!("p{number}")))) {
        Ok(QueryReply::Policy(policy)) => policy.policy_document.contains(MARKER),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disks_of_a_cluster_tell_nothing_nor_does_that_of_a_node_that_joins() {
    let mut cluster = Cluster::start(3, sealed).await;
    let leader = cluster.leader(&[1, 2, 3]).await;
    fill(&cluster.nodes[&leader], 120).await;
    cluster.open(4, Start::Join).await;
    let leader = cluster.leader(&[1, 2, 3]).await;
    cluster.nodes[&leader].add_node(4, "4".to_owned()).await.unwrap();
    until(|| holds(&cluster.nodes[&4], 119).then_some(())).await;
    let received = crate::snapshot::folder(&cluster.dir(4));
    assert!(fs::read_dir(received).unwrap().count() > 0, "it got a snapshot");
    for id in 1..=4 {
        cluster.stop(id).await;
        assert_eq!(found(&cluster.dir(id)), 0, "node {id}");
    }
    cluster.open(4, Start::Join).await;
    until(|| holds(&cluster.nodes[&4], 7).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_store_is_sealed_while_it_is_used_and_opens_with_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let compacting = || Config { snapshot_every: 50, keep_log: 5, ..config(dir.path()) };
    let plain = open(compacting()).await;
    fill(&plain, 120).await;
    plain.shutdown().await.unwrap();
    drop(plain);
    assert!(found(dir.path()) > 0);
    let node = open(Config { vault: vault(&compacting(), 2), ..compacting() }).await;
    assert!(holds(&node, 7));
    let sealing = node.clone();
    tokio::task::spawn_blocking(move || assert_eq!(sealing.seal_plain_values().unwrap(), 0)).await.unwrap();
    assert!(holds(&node, 7));
    node.shutdown().await.unwrap();
    drop(node);
    assert_eq!(found(dir.path()), 0);
    let again = vault(&compacting(), 3);
    again.as_ref().unwrap().refuse_plain_values();
    let node = open(Config { vault: again, ..compacting() }).await;
    assert!(holds(&node, 7));
    node.shutdown().await.unwrap();
    drop(node);
    let error = loop {
        match Metastore::open(compacting(), Arc::new(NoPeers)).await {
            Err(Error::Locked(_)) => tokio::task::yield_now().await,
            opened => break opened.err().unwrap().to_string(),
        }
    };
    assert!(error.contains("it is encrypted, and there is no key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_store_is_made_plain_and_opens_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let compacting = || Config { snapshot_every: 50, keep_log: 5, ..config(dir.path()) };
    let node = open(Config { vault: vault(&compacting(), 2), ..compacting() }).await;
    fill(&node, 120).await;
    node.shutdown().await.unwrap();
    drop(node);
    assert_eq!(found(dir.path()), 0);
    let unsealing = loop {
        match Unsealing::of(dir.path()) {
            Err(Error::Locked(_)) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    let (other, right) = (Vault::new([(1, DataKey([9; 32]))], [3; 12]), vault(&compacting(), 3).unwrap());
    assert!(unsealing.run(&Arc::new(other.unwrap())).is_err(), "by another key");
    assert!(unsealing.run(&right).unwrap() > 120);
    assert_eq!(unsealing.run(&right).unwrap(), 0, "nothing is left");
    drop(unsealing);
    let node = loop {
        match Metastore::open(compacting(), Arc::new(NoPeers)).await {
            Err(Error::Locked(_)) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    assert!(holds(&node, 7) && holds(&node, 119));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_sealed_store_is_sealed_and_restored_by_its_own_keyring() {
    let files = tempfile::tempdir().unwrap();
    let old = Config { vault: vault(&config(files.path()), 1), ..config(&files.path().join("old")) };
    let master = MasterKey::new(&[7; 32]).unwrap();
    let wrapped = fleethaven_vault::WrappedKey {
        number: 1,
        master_key: master.id().to_owned(),
        wrapped: master.wrap(1, &DataKey([1; 32]), [0; 12]).unwrap(),
    };
    fs::create_dir_all(&old.dir).unwrap();
    fs::write(old.dir.join(keyring::FILE), Keyring::new(wrapped, false).encode()).unwrap();
    let node = open(old).await;
    fill(&node, 20).await;
    let file = files.path().join("backup");
    let pieces: Vec<_> = node.backup().await.unwrap().try_collect().await.unwrap();
    fs::write(&file, pieces.concat()).unwrap();
    assert_eq!(found(files.path()), 0);
    assert_eq!(crate::inspect(&file).unwrap().revisions.len(), 2);

    let keyring = crate::keyring(&file).unwrap().unwrap();
    let key = master.unwrap(1, &keyring.keys()[0].wrapped).unwrap();
    let without = restore(to_restore(&file, &files.path().join("none"))).await.unwrap_err().to_string();
    assert!(without.contains("encrypted"), "{without}");
    let opens = Vault::new([(1, key)], [2; 12]).map(Arc::new);
    let dir = files.path().join("new");
    let new = || Config { cluster: "restored".into(), ..config(&dir) };
    let sealed = vault(&new(), 3);
    restore(Restore { opens, vault: sealed.clone(), ..to_restore(&file, &dir) }).await.unwrap();
    let node = open(Config { vault: sealed, ..new() }).await;
    assert!(holds(&node, 7));
    assert_eq!(found(files.path()), 0);
}
