//! `kill -9` loses nothing that was acknowledged, in whatever group: all write to one journal.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use futures_util::{StreamExt, stream};

use super::fixture::{config, create, open};
use super::groups::has;

/// Names the directory to a child that runs [`child`].
const DIR: &str = "FLEETHAVEN_METASTORE_CRASH_DIR";
/// Names the round.
const ROUND: &str = "FLEETHAVEN_METASTORE_CRASH_ROUND";
const ROUNDS: usize = 12;

/// Groups that are written to, the control group among them.
const GROUPS: u32 = 4;

fn several(dir: &Path) -> crate::Config {
    crate::Config { state_groups: NonZeroU32::new(GROUPS - 1).unwrap(), ..config(dir) }
}

/// The thing that is acknowledged as `name`, which begins with its group.
fn thing(name: &str) -> String {
    name.replace(' ', "-")
}

/// Runs in a process of its own: creates things until it is killed, telling each that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by nothing_acknowledged_is_lost"]
async fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let small = crate::Config { snapshot_every: 200, keep_log: 50, ..several(Path::new(&dir)) };
    let node = open(small).await;
    let names = (0..u32::MAX).map(|n| (n % GROUPS, format!("{} r{round}-{n}", n % GROUPS)));
    let done = stream::iter(names).map(|(group, name)| {
        let node = node.clone();
        async move { node.run_in(node.group(group).unwrap(), create(&thing(&name))).await.map(|_| name) }
    });
    let mut done = std::pin::pin!(done.buffer_unordered(32));
    while let Some(name) = done.next().await {
        println!("\nacknowledged {}", name.unwrap());
    }
}

/// Lets a child work until it has acknowledged `until` things, kills it, and returns all that it
/// acknowledged.
fn run_and_kill(dir: &Path, round: usize, until: usize) -> Vec<String> {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut names = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(name) = line.unwrap().strip_prefix("acknowledged ") {
            names.push(name.to_owned());
        }
        if names.len() == until {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    // A last line cut short by the kill names a thing that does not exist: it was not told in full.
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let names = run_and_kill(dir.path(), round, 100 + 61 * round);
        assert!(names.len() >= 100 + 61 * round);
        let (last, whole) = names.split_last().unwrap();
        acknowledged.extend(whole.iter().cloned());
        let node = open(several(dir.path())).await;
        for name in &acknowledged {
            let group = name.split(' ').next().and_then(|group| group.parse().ok()).unwrap();
            let there = has(node.group(group).unwrap(), &thing(name));
            assert!(there, "round {round} lost {name} (last {last})");
        }
        node.shutdown().await.unwrap();
    }
}
