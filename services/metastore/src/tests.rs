//! Tests of the storage against openraft's suite, and of the whole node.

mod backup;
mod cluster;
mod crash;
mod damage;
mod emitting;
mod figures;
pub(crate) mod fixture;
mod groups;
mod idempotency;
mod install;
mod lost;
mod membership;
mod mesh;
mod node;
mod sealed;
mod sealing;
pub(crate) mod simulation;
mod suite;
mod watching;
