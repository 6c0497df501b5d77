//! What operators see of a process: structured logs, Prometheus metrics, traces and the admin port.
//!
//! | module | owns |
//! |---|---|
//! | [`logs`] | the log subscriber: standard error, JSON lines or text, the level filter |
//! | [`traces`] | spans in batches to an OTLP receiver |
//! | [`exemplars`] | traces beside the buckets of histograms |
//! | [`admin`] | the admin port: `/livez`, `/readyz`, `/startupz`, `/metrics`, `/operator` |
//!
//! What it does not own: the metrics themselves (each service registers its own in the `prometheus::Registry`
//! that it hands over), and what ready means (each service sets its own checks).
#![warn(missing_docs)]

pub mod admin;
pub mod exemplars;
pub mod logs;
pub mod traces;
