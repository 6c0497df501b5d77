//! A command that comes again under its key answers what it answered first, and changes nothing again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use fleethaven_fabric::metadata::Metadata;
use fleethaven_registry::shapes::{AttributePayload, UpdateThing};
use fleethaven_registry::{Action, Command, IdempotencyKey, Reply};
use futures_util::{StreamExt, stream};

use super::fixture::{command, config, create, create_with, delete, open, read, run_all};
use crate::Config;

/// Names the directory to a child that runs [`child`].
const DIR: &str = "FLEETHAVEN_METASTORE_IDEMPOTENCY_DIR";
/// Updates that the child's end must have been told of before it is killed.
const TOLD: usize = 200;
/// Commands that the child has in flight.
const WIDTH: usize = 32;

fn keyed(command: Command, key: &str) -> Command {
    Command { key: Some(IdempotencyKey::of(&[key])), ..command }
}

fn thing_id(reply: &Reply) -> &str {
    match reply {
        Reply::Thing(thing) => &thing.thing_id,
        other => panic!("not a thing: {other:?}"),
    }
}

/// Sets the thing's attribute `n`, whatever its version.
fn count(n: usize) -> Command {
    let attributes = BTreeMap::from([("n".to_owned(), n.to_string())]);
    let args = UpdateThing {
        thing_name: "t".into(),
        attribute_payload: Some(AttributePayload { attributes, merge: true }),
        ..UpdateThing::default()
    };
    keyed(command(Action::UpdateThing(Box::new(args))), &format!("update {n}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_answers_what_the_first_did() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let first = node.execute(keyed(create("t"), "k")).await.unwrap();
    node.execute(delete("t")).await.unwrap();
    let again = node.execute(keyed(create("t"), "k")).await.unwrap();
    assert_eq!(again.reply, first.reply);
    assert!(again.revision >= first.revision, "what waits for it finds it in force");
    assert!(read(&node, "t").await.is_err(), "it was not created again");
    // Another command with the key, or another key, is a command of its own.
    let attributes = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let other = node.execute(keyed(create_with("t", attributes), "k")).await.unwrap();
    assert_ne!(thing_id(&other.reply), thing_id(&first.reply));
    node.execute(delete("t")).await.unwrap();
    let fresh = node.execute(keyed(create("t"), "l")).await.unwrap();
    assert_ne!(thing_id(&fresh.reply), thing_id(&first.reply));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_may_overtake_the_first_ones_commit() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let (first, again) =
        tokio::join!(node.execute(keyed(create("t"), "k")), node.execute(keyed(create("t"), "k")));
    let (first, again) = (first.unwrap(), again.unwrap());
    assert_eq!(again.reply, first.reply);
    assert!(again.revision >= first.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_evaluated_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    assert!(node.execute(count(1)).await.is_err(), "there is no such thing");
    node.execute(create("t")).await.unwrap();
    node.execute(count(1)).await.unwrap();
    assert_eq!(read(&node, "t").await.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_outlive_restarts_and_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config { snapshot_every: 50, keep_log: 5, ..config(dir.path()) };
    let node = open(small.clone()).await;
    let first = node.execute(keyed(create("t"), "k")).await.unwrap();
    run_all(&node, 16, (0..200).map(|n| create(&format!("other-{n}"))).collect()).await;
    node.shutdown().await.unwrap();
    drop(node);
    let node = open(small).await;
    let again = node.execute(keyed(create("t"), "k")).await.unwrap();
    assert_eq!(again.reply, first.reply);
    assert!(again.revision >= first.revision);
}

/// Runs in a process of its own: counts until it is killed, telling what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_kill_between_commit_and_answer_leaves_one_effect"]
async fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let node = open(config(Path::new(&dir))).await;
    node.execute(create("t")).await.unwrap();
    let done = stream::iter(0..).map(|n| {
        let node = node.clone();
        async move { node.execute(count(n)).await.map(|_| n) }
    });
    let mut done = std::pin::pin!(done.buffered(WIDTH));
    while let Some(n) = done.next().await {
        println!("\nacknowledged {}", n.unwrap());
    }
}

/// Up to [`WIDTH`] updates are under way when the process dies: some not yet written, some committed and not answered.
/// Whoever sent them asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_commit_and_answer_leaves_one_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::idempotency::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        told += usize::from(line.unwrap().starts_with("acknowledged "));
        if told == TOLD {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    let node = open(config(dir.path())).await;
    let before = read(&node, "t").await.unwrap().version;
    assert!(before >= TOLD as u64, "acknowledged means kept");
    let sent = told + 2 * WIDTH;
    for n in 0..sent {
        node.execute(count(n)).await.unwrap();
    }
    assert_eq!(read(&node, "t").await.unwrap().version, 1 + sent as u64, "each took effect once");
}
