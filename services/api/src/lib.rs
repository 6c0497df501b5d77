//! AWS-shaped REST: the `iot` control plane, the `iot-data` plane and the place of `iot-jobs-data`.
//!
//! [`Api::handle`] turns one HTTP request into one answer. Sockets, TLS and client certificates belong to the
//! binary; what is registered belongs to the metastore, behind `fleethaven_fabric::metadata::Metadata`;
//! messages go out through [`DataPlane`].
//!
//! | module | owns |
//! |---|---|
//! | `api` | the way of a request: authenticate, read, route, answer, log, count |
//! | `logging` | AWS's log entries about requests |
//! | `audit` | what is recorded of a call, and when its answer waits for that |
//! | [`config`] | [`ApiConfig`], [`Endpoints`] |
//! | [`peer`] | [`Peer`], what the listener knows of the other side |
//! | `authentication` | SigV4, temporary credentials and client certificates: whose request it is |
//! | [`operations`] | every operation of AWS's models, and which one a path means |
//! | `input`, `members` | labels, query, headers and JSON body of a request, read with AWS's errors |
//! | `call`, `answer` | what a handler works with and what it gives back |
//! | `error` | every refusal with AWS's exception name and status |
//! | `cors` | [`Origin`]: which web pages may ask, and open a WebSocket |
//! | [`bulk`] | bulk registration tasks: reading their files, a step at a time |
//! | `control` | one file per resource of the control plane |
//! | `credentials` | the credentials provider: temporary credentials for devices |
//! | `sts` | who the caller is: what Terraform and its kin ask first; assuming roles |
//! | `iam` | users, roles, their access keys and policies |
//! | `query_protocol` | what `sts` and `iam` speak: forms in, XML out |
//! | `permissions` | whether an operator's policies allow an operation of the control plane, and on what |
//! | [`data`] | the data plane: publishing, retained messages, connections; and [`DataPlane`] |
//! | `throttles` | how often an account may call each operation |
//! | `websocket` | who signed a WebSocket upgrade |
//! | `metrics` | counters and latencies |
#![warn(missing_docs)]

mod answer;
mod api;
mod audit;
mod authentication;
mod body;
pub mod bulk;
mod call;
pub mod challenge;
pub mod config;
mod control;
mod cors;
mod credentials;
pub mod data;
mod error;
mod iam;
mod input;
mod logging;
mod members;
mod metering;
mod metrics;
pub mod operations;
pub mod peer;
mod permissions;
mod query_protocol;
mod sts;
#[cfg(test)]
mod testing;
mod throttles;
mod websocket;

pub use api::{Api, Broker, Counted};
pub use audit::Audit;
pub use bulk::Buckets;
pub use challenge::Challenges;
pub use config::{ApiConfig, Endpoints, HostPort};
pub use cors::{NoOrigin, Origin, Origins};
pub use data::DataPlane;
pub use peer::{ClientCertificate, Peer, Remembered};
pub use websocket::Signer;
