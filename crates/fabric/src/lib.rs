//! Seam: the traits through which services call each other, with their messages and errors. In one process a service's
//! own handle implements them; between processes a gRPC client does. One code path, no "local mode".
//!
//! - [`metadata`]: [`Metadata`]: commands, queries and watches of the metastore
//! - [`membership`]: [`Membership`]: who is in the cluster, and which router owns which slot
//! - [`admin`]: [`Admin`]: operating the metastore: status, backup, its nodes
//! - [`raft`]: [`Peer`](raft::Peer): what the nodes of a metastore ask of each other
//! - [`routing`]: [`Routing`]: a gateway core's lane into the routers: publish, subscribe, claim
//! - [`rules`]: [`RuleFollower`], the topic rules as they change
//! - [`delivery`]: [`Delivery`]: a router's way to push to connections
//! - [`connections`]: [`Connections`]: who is connected, for the connections API
//! - [`functions`]: [`Functions`]: what is called where AWS would run Lambda functions
//! - [`traces`]: [`Traces`]: what became of a message or a request, in all processes
#![warn(missing_docs)]

pub mod admin;
pub mod connections;
pub mod delivery;
pub mod functions;
pub mod membership;
pub mod metadata;
pub mod raft;
pub mod responders;
pub mod routing;
pub mod rules;
pub mod traces;

pub use admin::Admin;
pub use connections::Connections;
pub use delivery::{Delivery, Push};
pub use functions::{FunctionError, Functions, Invocation, Source};
pub use membership::{Membership, RoutingTable};
pub use metadata::{Metadata, WatchEvent};
pub use responders::Responders;
pub use routing::{Publish, Routing, RoutingEvent, RoutingRequest};
pub use rules::{RuleChange, RuleFollower};
pub use traces::Traces;
