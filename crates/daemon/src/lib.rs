//! What the binary does around its services: the clock, signals, threads, the state of a drain.
//!
//! - [`clock`]: the one place that reads the wall clock
//! - [`scheduling`]: which threads go before which
//! - [`shutdown`]: SIGTERM and SIGINT as a value that tasks can wait for
#![warn(missing_docs)]

pub mod clock;
pub mod scheduling;
pub mod shutdown;
