//! Figures for the decision records; run by hand:
//! `cargo test --release -p fleethaven-metastore figures -- --ignored --nocapture`.

use std::path::Path;
use std::sync::Arc;

use fleethaven_fabric::metadata::Metadata;
use tokio::time::Instant;

use crate::disk::Disk;

use super::fixture::{config, create, open, read, run_all};

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

/// The store, as soon as the previous node of this process has let go of it.
fn free(dir: &Path) -> Arc<Disk> {
    loop {
        match Disk::open(dir) {
            Err(crate::Error::Locked(_)) => std::thread::yield_now(),
            disk => return disk.unwrap(),
        }
    }
}
