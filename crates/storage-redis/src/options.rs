//! Settings of the store.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_types::Timestamp;

/// Tells the time. Read once per batch, to pass over expired messages and sessions.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where the primary is. Addresses are those of one server: `redis://[user:password@]host[:port][/database]`, `rediss://…` for
/// TLS, or `unix:///path`.
#[derive(Clone)]
pub enum Server {
    /// One address.
    Primary(String),
    /// Sentinels, which are asked for the primary each time a connection is made.
    Sentinel {
        /// Addresses of the sentinels.
        sentinels: Vec<String>,
        /// Name of the primary in their configuration.
        name: String,
        /// User, password, database and whether TLS for the primary, as an address whose host does not matter.
        primary: String,
    },
    /// Some nodes of a Redis Cluster, which are asked for the others each time connections are made.
    Cluster(Vec<String>),
}

/// What TLS to Redis needs beyond the address.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates of the authorities that Redis may be certified by (PEM); without, those that the system trusts.
    pub roots: Option<Vec<u8>>,
    /// Certificate chain and key of this client (PEM), where Redis asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// What "durable" means: what may happen to Redis without loss of what a completion confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The primary's process may be killed: it writes an append-only file. Under `appendfsync everysec` it holds
    /// writes back for up to two seconds while its disk is slow; under `always` it does not, and a power failure
    /// loses nothing either.
    Process,
    /// Also the primary's machine may be lost, if one of so many replicas that have what was confirmed takes over
    /// (WAIT). Needs `min-replicas-to-write`.
    Replica {
        /// How many replicas must have it, at least 1.
        replicas: u32,
    },
    /// The primary has fsynced it, and so have so many replicas (WAITAOF: Redis 7.2 or later, Valkey).
    Fsync {
        /// How many replicas must have fsynced it, 0 for none.
        replicas: u32,
    },
}

/// Settings of a [`RedisStore`](crate::RedisStore).
#[derive(Clone)]
pub struct Options {
    /// Where Redis is.
    pub server: Server,
    /// For addresses with TLS.
    pub tls: Tls,
    /// What a completion confirms.
    pub durability: Durability,
    /// What all keys begin with: two stores in one Redis need two.
    pub prefix: String,
    /// Wall-clock time.
    pub clock: Clock,
    /// Into how many partitions, each one Redis slot, everything is divided: 1 to 256. Fixed when the store is used
    /// for the first time; the largest number of Redis primaries that can share the load.
    pub partitions: u16,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long one answer may take before the connection counts as broken.
    pub answer_timeout: Duration,
    /// How long a batch is tried again while Redis is away; then its requests fail. Once Redis has been away for so
    /// long, requests fail at the first attempt, and all that come before the next one's time fail at once.
    pub patience: Duration,
    /// A lane is congested when so many of its requests are outstanding.
    pub lane_requests: usize,
    /// A lane is congested when its outstanding requests hold so many bytes.
    pub lane_bytes: usize,
    /// At most so many requests go out in one batch.
    pub batch_requests: usize,
    /// A batch is closed when it holds so many bytes.
    pub batch_bytes: usize,
    /// Entries in the rules queue at which every lane reports congestion.
    pub rule_entries: u64,
    /// Entries in one partition of the rules queue above which those of QoS 0 messages are dropped and counted.
    pub rule_volatile_entries: u64,
    /// Dead letters kept in each partition; the oldest are dropped and counted.
    pub dead_letters: u64,
    /// A rules worker that has not been heard of for so long is dead, and what it had claimed is given to others.
    pub worker_lease: Duration,
}

/// The shortest time for which what was done under a stamp is remembered after it is done everywhere.
const STAMP_KEPT: Duration = Duration::from_secs(60);

impl Options {
    /// How long what was done under a stamp is remembered after it is done everywhere: longer than anybody may still be about to
    /// do it too.
    pub(crate) fn stamp_kept(&self) -> Duration {
        (self.patience * 4).max(STAMP_KEPT)
    }

    /// Settings that fit most, for the Redis at `address`, as [`Server`] reads it.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) when the address cannot be understood.
    pub fn new(address: &str, durability: Durability, clock: Clock) -> Result<Self, crate::Error> {
        Ok(Self {
            server: address.parse()?,
            tls: Tls::default(),
            durability,
            prefix: "fleethaven".to_owned(),
            clock,
            partitions: 64,
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(3),
            patience: Duration::from_secs(10),
            lane_requests: 20_000,
            lane_bytes: 32 << 20,
            batch_requests: 512,
            batch_bytes: 1 << 20,
            rule_entries: 1_000_000,
            rule_volatile_entries: 10_000,
            dead_letters: 1_000,
            worker_lease: Duration::from_secs(6),
        })
    }
}
