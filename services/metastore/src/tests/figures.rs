//! Figures for the decision records; run by hand:
//! `cargo test --release -p fleethaven-metastore figures -- --ignored --nocapture`.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use fleethaven_fabric::metadata::Metadata;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::Config;
use crate::disk::Disk;
use crate::leadership::favourite;

use super::fixture::{config, create, open, read, run_all};
use super::groups::four;
use super::mesh::{Cluster, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, asserts nothing"]
async fn figures() {
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let node = open(config(dir.path())).await;
    println!("bootstrap of an empty directory: {:?}", start.elapsed());

    let start = Instant::now();
    for n in 0..1000 {
        node.execute(create(&format!("s{n}"))).await.unwrap();
    }
    println!("sequential: {:.0} commands/s", 1000.0 / start.elapsed().as_secs_f64());

    for width in [64, 512] {
        let start = Instant::now();
        run_all(&node, width, (0..20_000).map(|n| create(&format!("w{width}-{n}"))).collect()).await;
        println!("{width} in flight: {:.0} commands/s", 20_000.0 / start.elapsed().as_secs_f64());
    }
    run_all(&node, 512, (0..59_000).map(|n| create(&format!("x{n}"))).collect()).await;

    let start = Instant::now();
    for n in 0..10_000 {
        read(&node, &format!("x{n}")).await.unwrap();
    }
    println!("linearizable reads: {:.0}/s", 10_000.0 / start.elapsed().as_secs_f64());

    node.shutdown().await.unwrap();
    drop(node);
    for _ in 0..3 {
        let start = Instant::now();
        let disk = free(dir.path());
        println!("the store alone, opened: {:?}", start.elapsed());
        let start = Instant::now();
        disk.committer.close();
        drop(disk);
        println!("closed: {:?}", start.elapsed());
        let start = Instant::now();
        let node = open(config(dir.path())).await;
        println!("open to ready with 100,000 things: {:?}", start.elapsed());
        assert!(read(&node, "x58999").await.is_ok());
        node.shutdown().await.unwrap();
    }
}

/// Three nodes in this process, each with a directory of its own: what the leaders of 1 and of 4 state groups carry out together.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, asserts nothing"]
async fn state_groups() {
    fn one(config: &mut Config) {
        four(config);
        config.state_groups = NonZeroU32::MIN;
    }
    for (groups, adjust) in [(1, one as fn(&mut Config)), (4, four), (1, one), (4, four)] {
        let cluster = Cluster::start(3, adjust).await;
        let nodes: BTreeSet<u64> = cluster.nodes.keys().copied().collect();
        for group in 1..=groups {
            let belongs = favourite(group, &nodes);
            until(|| (cluster.agreed(group, &[1, 2, 3]) == belongs).then_some(())).await;
        }
        for width in [1, 16, 64, 512, 2048] {
            let commands = if width == 1 { 500 } else { 20_000 };
            let start = Instant::now();
            let done = stream::iter(0..commands).map(|n: u32| {
                let group = 1 + n % groups;
                let node = &cluster.nodes[&favourite(group, &nodes).unwrap()];
                node.run_in(node.group(group).unwrap(), create(&format!("w{width}-{n}")))
            });
            let done: Vec<_> = done.buffer_unordered(width).try_collect().await.unwrap();
            let rate = done.len() as f64 / start.elapsed().as_secs_f64();
            println!("{groups} state groups, {width} in flight: {rate:.0} commands/s");
        }
    }
}

/// The store, as soon as the previous node of this process has let go of it.
fn free(dir: &Path) -> Arc<Disk> {
    loop {
        match Disk::open(dir, None) {
            Err(crate::Error::Locked(_)) => std::thread::yield_now(),
            disk => return disk.unwrap(),
        }
    }
}
