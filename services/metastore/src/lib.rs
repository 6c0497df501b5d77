//! The metadata store: raft groups over one embedded store; evaluates on the leader, replicates effects.
//!
//! [`Metastore`] is a node: the control group and N state groups (`fleethaven_registry::placement`), each with a log, a state and
//! a leader of its own, on one database with one journal. A command travels so: [`Metastore`] queues it for its group's `evaluator`, which
//! runs the registry's logic on applied `state` plus an `overlay` of what is in flight and submits the
//! effects as a proposal; openraft appends it to the `log`, where the `commit` thread makes it durable; the
//! `machine` applies it, adds it to the `changes` that `watch`es read, and the evaluator answers.
//!
//! | module | owns |
//! |---|---|
//! | `config`, `error` | what a node is started with, why it did not start |
//! | `disk`, `commit`, `blocking` | a node's one database, its layout, its writing thread; work that waits for the disk |
//! | `types`, `record` | openraft's type configuration; what is stored, as protobuf |
//! | `log`, `machine`, `snapshot`, `network` | what openraft needs of us |
//! | `state`, `overlay` | views: applied state, and what it will be when all in flight is applied |
//! | `evaluator` | order of commands, what happens when a proposal fails |
//! | `outbox`, `emitter` | messages that entries ask for, until they are published; who publishes them |
//! | `changes`, `watch`, `markers` | watches without gaps; who has caught up with a change |
//! | `group` | one raft group: the parts above, wired |
//! | `leader` | where a group's leader is; commands and reads handed on to it |
//! | `leadership`, `balance` | who should lead a group; state groups given back to their nodes |
//! | `admin`, `nodes` | how a node is; which nodes the metastore has |
//! | `backup`, `restore` | all of it in one file, and a new cluster made of that |
//! | `membership`, `leases` | who is in the cluster, which router owns which slot; how long who counts as alive |
//! | `peer` | what this node does for its peers |
//! | `sealing` | private keys of issuing CAs, which are kept sealed only |
//!
//! Replies to keyed commands are kept in the state (`fleethaven_registry::idempotency`), as are TLS ticket keys.
//!
//! Leases, markers and the cluster's members are the control group's. What a state group's leader does beyond that (publishing
//! what its entries emit) starts in [`Metastore::open`] beside `leases`: a task per group that looks at `Group::raft` for whether
//! this node leads, and at `Group::changes` for what was applied, in the order of the log.
//!
//! What things, certificates, policies and rules are is none of its business: `fleethaven-registry` knows.

mod absent;
mod admin;
mod backup;
mod balance;
mod blocking;
mod changes;
mod commit;
mod config;
mod disk;
mod emitter;
mod error;
mod evaluator;
mod group;
mod leader;
mod leadership;
mod leases;
mod log;
mod machine;
mod markers;
mod membership;
mod metastore;
mod network;
mod nodes;
mod outbox;
mod overlay;
mod peer;
mod quorum;
mod record;
mod restore;
mod sealing;
mod snapshot;
mod state;
mod types;
mod watch;

#[cfg(test)]
mod tests;

pub use config::{Config, Start};
pub use disk::Unsealing;
pub use error::Error;
pub use metastore::Metastore;
pub use network::NoPeers;
pub use restore::{Restore, Restored, inspect, keyring, restore};
pub use sealing::{Sealed, Sealing};
