//! The control plane over the registry in memory: shapes, errors, pages.

mod authorization;
mod authorizers;
mod certificates;
mod policies;
mod rules;
mod things;
