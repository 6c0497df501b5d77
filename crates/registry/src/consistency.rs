//! Tests across resources: random commands keep indexes and records in step, listings equal a model, and
//! pages neither skip nor repeat.

mod actions;
mod invariants;
mod model;
mod paging;
