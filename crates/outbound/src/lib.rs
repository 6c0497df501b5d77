//! Calls to the world outside: rule actions, functions in place of Lambda.
//!
//! Whoever may create a rule or an authorizer says what is called, so that no call may reach what only this machine or the
//! cluster should reach.
//!
//! - [`address`]: [`AddressGuard`]: which addresses may be called
//! - [`connect`]: TCP connections to addresses that passed the guard
//! - [`dial`]: [`Dialer`]: connections, perhaps by TLS, for what speaks no HTTP
//! - [`client`]: [`HttpClient`]: one request with a deadline and a bounded answer
//! - [`breaker`]: [`Breaker`]: leaves alone for a moment what fails again and again
//! - [`backoff`]: pauses between tries
//! - [`functions`]: [`MappedFunctions`]: webhooks and Lambda's Invoke API behind function ARNs
//! - [`metrics`]: what is counted
#![warn(missing_docs)]

pub mod address;
pub mod backoff;
pub mod breaker;
pub mod client;
pub mod connect;
pub mod dial;
pub mod functions;
pub mod metrics;

pub use address::AddressGuard;
pub use backoff::Backoff;
pub use breaker::Breaker;
pub use client::{HttpClient, Limits, OutboundError, OutboundSettings};
pub use dial::Dialer;
pub use functions::{Catalogue, MappedFunctions};
