//! What the tests of several crates share. Never part of the product: a test of the layers keeps it out.
//!
//! | module | owns |
//! |---|---|
//! | [`packets`] | the table of malformed and borderline packets, and how a row is played against a broker |
//! | [`normative`] | which test shows what of the MQTT texts, statement by statement |
//! | [`notation`] | the readable form of bytes that the table is written in |
//! | [`seeds`] | running simulations by their seeds, and finding mistakes made on purpose |
#![warn(missing_docs)]

pub mod normative;
pub mod notation;
pub mod packets;
pub mod seeds;
