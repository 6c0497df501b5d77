//! What a node promises: commands in order, nothing lost at a restart, refusals that are true.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleethaven_fabric::metadata::{Error, Metadata};
use fleethaven_registry::ErrorCode;
use futures_util::future::join_all;

use super::fixture::{clock, config, create, create_with, delete, open, read, read_local, run_all, update};
use crate::{Metastore, NoPeers};

fn code(error: Error) -> ErrorCode {
    match error {
        Error::Refused(refusal) => refusal.code,
        other => panic!("not a refusal: {other}"),
    }
}

async fn restart(node: Arc<Metastore>, config: crate::Config) -> Arc<Metastore> {
    node.shutdown().await.unwrap();
    drop(node);
    open(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut node = open(config.clone()).await;
    let mut revision = 0;
    for round in 0..4 {
        for done in run_all(&node, 16, (0..50).map(|n| create(&format!("r{round}-{n}"))).collect()).await {
            assert!(done.revision > revision);
            revision = done.revision;
        }
        node.execute(delete(&format!("r{round}-7"))).await.unwrap();
        node = restart(node, config.clone()).await;
        for earlier in 0..=round {
            assert!(read(&node, &format!("r{earlier}-49")).await.is_ok());
            let gone = read(&node, &format!("r{earlier}-7")).await.unwrap_err();
            assert_eq!(code(gone), ErrorCode::ResourceNotFoundException);
        }
    }
    node.shutdown().await.unwrap();
    let stopped = node.execute(create("late")).await.unwrap_err();
    assert!(matches!(stopped, Error::Unavailable(_)), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_restarts_from_state_and_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::Config { snapshot_every: 100, keep_log: 10, ..config(dir.path()) };
    let mut node = open(config.clone()).await;
    for round in 0..5 {
        run_all(&node, 32, (0..130).map(|n| create(&format!("r{round}-{n}"))).collect()).await;
        node = restart(node, config.clone()).await;
    }
    let files = std::fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert_eq!(files, 1);
    for round in 0..5 {
        for n in 0..130 {
            assert!(read_local(&node, &format!("r{round}-{n}")).is_ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dependent_commands_are_pipelined() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let created = node.execute(create("t"));
    let updates = (1..=1000).map(|version| node.execute(update("t", version)));
    let (created, updated) = tokio::join!(created, join_all(updates));
    let mut revision = created.unwrap().revision;
    for done in updated {
        let done = done.unwrap();
        assert_eq!(done.revision, revision + 1);
        revision = done.revision;
    }
    let thing = read(&node, "t").await.unwrap();
    assert_eq!(thing.version, 1001);
    assert_eq!(thing.attributes["n"], "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_true_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    for round in 0..100 {
        let name = format!("t{round}");
        let other = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let first = tokio::spawn({
            let node = node.clone();
            let command = create(&name);
            async move { node.execute(command).await }
        });
        let second = node.execute(create_with(&name, other));
        match second.await {
            Err(error) => {
                assert_eq!(code(error), ErrorCode::ResourceAlreadyExistsException);
                // What it was refused for is applied, not merely in flight.
                assert!(read_local(&node, &name).unwrap().attributes.is_empty());
                first.await.unwrap().unwrap();
            }
            Ok(_) => assert!(first.await.unwrap().is_err()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_effect_answers_say_so_and_wait() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let (first, second) = tokio::join!(node.execute(create("t")), node.execute(create("t")));
    assert!(first.unwrap().revision > 0);
    assert_eq!(second.unwrap().revision, 0);
    assert_eq!(node.execute(create("t")).await.unwrap().revision, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_the_directory_and_one_node_id() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let second = Metastore::open(config(dir.path()), Arc::new(NoPeers)).await.err().unwrap();
    assert!(matches!(second, crate::Error::Locked(_)), "{second}");
    node.shutdown().await.unwrap();
    drop(node);
    let other = crate::Config { node: 2, ..config(dir.path()) };
    let refused = loop {
        match Metastore::open(other.clone(), Arc::new(NoPeers)).await.err().unwrap() {
            crate::Error::Locked(_) => tokio::task::yield_now().await,
            refused => break refused,
        }
    };
    assert!(matches!(refused, crate::Error::OtherNode { expected: 2, found: 1, .. }), "{refused}");
    assert_eq!(clock(), (config(dir.path()).clock)());
}
