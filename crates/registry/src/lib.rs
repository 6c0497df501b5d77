//! The registry: everything AWS IoT's control plane knows about things, certificates, policies, rules and
//! accounts, as pure logic over an ordered key-value [`View`].
//!
//! [`evaluate`] turns a [`Command`] into a [`Reply`] and the [`Effects`] that the metastore replicates;
//! [`query()`] answers a [`Query`]. Neither knows a clock, a random source, a socket or a disk.
//!
//! What callers use:
//! - [`command`]: [`Command`], [`Action`], [`Reply`], [`Context`]; [`mod@query`]: [`Query`], [`QueryKind`],
//!   [`QueryReply`]
//! - [`shapes`]: what commands, queries and their answers are made of, in AWS's words
//! - [`error`]: AWS's exceptions with their HTTP status; [`limits`]: quotas
//! - [`change`]: what a changed key means to a cache; [`keys`]: the key layout and prefixes to watch;
//!   [`record`]: the stored values
//! - [`idempotency`]: what a command that comes again is answered
//! - [`placement`]: which raft group of the metastore holds what
//! - [`cluster`]: members and slots as they are stored (what happens to them: `fleethaven-membership`)
//! - [`logging`]: which log entries are written
//! - [`ticket_keys`]: the keys of TLS session tickets, and when they change
//! - [`connections`]: where rule actions go
//! - [`own_actions`]: actions of rules that AWS has not
//! - [`rule_destinations`]: addresses that rules may call
//! - [`functions`]: what is called where AWS would run Lambda functions
//! - [`server_certificates`]: what is shown where AWS would take a certificate of its certificate manager
//! - [`thing_registration_tasks`]: bulk registration: what a process that works on a task needs
//! - [`usage`]: what was used, in AWS's units
//! - [`template`]: provisioning templates, resolved before a command provisions by them
//! - [`testing`]: a [`View`] in memory
//!
//! Inside, one module per resource holds its rules. What is not here: TLS and X.509 (`fleethaven-pki`),
//! policy evaluation (`fleethaven-policy`), SQL evaluation (`fleethaven-rulesql`), replication (the metastore
//! service).
#![warn(missing_docs)]

pub mod change;
pub mod cluster;
pub mod command;
pub mod connections;
pub mod error;
pub mod functions;
pub mod idempotency;
pub mod keys;
pub mod limits;
pub mod logging;
pub mod own_actions;
pub mod placement;
pub mod query;
pub mod record;
pub mod rule_destinations;
pub mod server_certificates;
pub mod shapes;
pub mod template;
pub mod testing;
pub mod thing_registration_tasks;
pub mod ticket_keys;
pub mod usage;

mod accounts;
mod attributes;
mod authorizers;
mod billing_groups;
mod ca_certificates;
mod certificate_providers;
mod certificates;
#[cfg(test)]
mod consistency;
mod domain_configurations;
mod enrolment;
mod events;
mod first_connect;
mod gateway;
mod ids;
mod managed_policies;
mod operator_tags;
mod operators;
mod page;
mod policies;
mod principals;
mod provisioning;
mod provisioning_templates;
#[cfg(test)]
mod requests;
mod role_aliases;
mod rules;
mod session_keys;
mod shadows;
mod store;
mod syntax;
mod tags;
mod thing_groups;
mod thing_types;
mod things;
mod transaction;
mod transfers;
mod view;

pub use change::{Change, classify};
pub use command::{Action, Command, Context, Reply, evaluate};
pub use domain_configurations::DEFAULT_POLICY;
pub use enrolment::ENDED_AT_ONCE;
pub use error::{Error, ErrorCode};
pub use idempotency::IdempotencyKey;
pub use limits::Limits;
pub use placement::{Placement, Shard};
pub use query::{Query, QueryKind, QueryReply, query};
pub use syntax::policy_name as check_policy_name;
pub use view::{Effects, Emit, View, Write};
