//! The store on real servers, which the tests start and kill.
//!
//! - `suite`: the suite of the seam
//! - `faults`: Redis is killed, hangs, loses its connections, fails over
//! - `once`: what must happen once, when those who do it give up halfway
//! - `cluster`: Redis Cluster; `tls`: TLS and users
//! - `model`: the same random requests to this store and to the embedded one
//! - `server`: a `redis-server` of a test's own; `asking`: a lane whose answers are waited for
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "as above")]
#![expect(clippy::disallowed_methods, reason = "a test waits for other processes in real time")]

mod asking;
mod cluster;
mod faults;
mod model;
mod once;
mod server;
mod suite;
mod tls;
