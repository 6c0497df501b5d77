//! The suite of the seam, on a real Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleethaven_storage::suite::{self, Harness, Instance, START};
use fleethaven_storage::{RetainedStore, RuleQueue, SessionStore};
use fleethaven_storage_redis::{Durability, Options, RedisStore};
use fleethaven_types::Timestamp;

use crate::cluster::Cluster;
use crate::server::Server;

/// Opens stores beside each other in one Redis, each with its own key prefix.
struct OnRedis {
    servers: Arc<Vec<Server>>,
    address: String,
    partitions: u16,
    durability: Durability,
    made: AtomicU64,
}

impl OnRedis {
    fn at(address: String, servers: Vec<Server>, partitions: u16) -> Self {
        let (servers, durability) = (Arc::new(servers), Durability::Process);
        Self { servers, address, partitions, durability, made: AtomicU64::new(0) }
    }
}

struct Opened {
    servers: Arc<Vec<Server>>,
    time: Arc<AtomicU64>,
    options: Options,
    store: Option<Arc<RedisStore>>,
    neighbour: Option<Arc<RedisStore>>,
}

impl Harness for OnRedis {
    fn fresh(&self) -> Box<dyn Instance> {
        let time = Arc::new(AtomicU64::new(START.0));
        let clock = time.clone();
        let clock = Arc::new(move || Timestamp(clock.load(Ordering::Relaxed)));
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let options = Options {
            prefix: format!("suite-{number}"),
            partitions: self.partitions,
            worker_lease: Duration::from_millis(400),
            ..Options::new(&self.address, self.durability, clock).unwrap()
        };
        let store = Some(RedisStore::open(options.clone()).unwrap());
        Box::new(Opened { servers: self.servers.clone(), time, options, store, neighbour: None })
    }
}

impl Opened {
    fn store(&self) -> &RedisStore {
        self.store.as_deref().unwrap()
    }
}

impl Instance for Opened {
    fn sessions(&self) -> &dyn SessionStore {
        self.store()
    }

    fn retained(&self) -> &dyn RetainedStore {
        self.store()
    }

    fn rules(&self) -> &dyn RuleQueue {
        self.store()
    }

    fn neighbour(&mut self) -> &dyn SessionStore {
        let options = &self.options;
        &**self.neighbour.get_or_insert_with(|| RedisStore::open(options.clone()).unwrap())
    }

    /// The suite expects a dead worker's claims to be given out again at once, so this lasts until others notice.
    fn crash(&mut self) {
        (self.store, self.neighbour) = (None, None);
        let leases = format!("{}:*:w:*", self.options.prefix);
        let none = redis::Value::Array(Vec::new());
        for server in &*self.servers {
            server.until("forgot the dead worker", |server| server.command(&["KEYS", &leases]) == none);
        }
        self.store = Some(RedisStore::open(self.options.clone()).unwrap());
    }

    fn set_time(&self, now: Timestamp) {
        self.time.store(now.0, Ordering::Relaxed);
    }
}

#[test]
fn at_the_level_fsync() {
    let Some(server) = Server::newer(&[]) else { return };
    let address = server.url();
    let durability = Durability::Fsync { replicas: 0 };
    suite::run(&OnRedis { durability, ..OnRedis::at(address, vec![server], 16) });
}

fn run(partitions: u16) {
    let server = Server::start(&[]);
    let address = server.url();
    suite::run(&OnRedis::at(address, vec![server], partitions));
}

#[test]
fn in_many_partitions() {
    run(64);
}

#[test]
fn in_one_partition() {
    run(1);
}

#[test]
fn in_a_cluster() {
    let cluster = Cluster::start(3);
    let address = cluster.address();
    suite::run(&OnRedis::at(address, cluster.servers, 16));
}
