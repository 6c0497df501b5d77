//! Device shadows, as pure logic: what an update does to a document, and what is answered (shadow.md).
//!
//! - [`request`]: [`Request`], what a client asks for, checked; [`request::client_token`]
//! - [`document`]: [`Document`], desired and reported state with the time of each value; how it is stored
//! - [`shadow`]: [`Shadow`], a document with its version; [`Entry`], what is kept of one, after its end too;
//!   [`update`] and [`delete`]
//! - [`answer`]: the JSON of every answer
//! - [`topic`]: the MQTT topics; [`name`]: [`ShadowName`], which shadow is meant
//! - [`error`]: AWS's codes and messages; [`limits`]: sizes and depth
//!
//! Inside: [`Node`](node::Node), a value that knows when each of its leaves was set, so that metadata has the shape of
//! the state by construction; `merge` and `delta` work on it. Time is an argument. Who may do what, and where shadows
//! are kept, is decided elsewhere.
#![warn(missing_docs)]

pub mod answer;
pub mod document;
pub mod error;
pub mod limits;
pub mod name;
pub mod request;
pub mod shadow;
pub mod topic;

mod delta;
mod merge;
mod node;
#[cfg(test)]
mod tests;

pub use document::Document;
pub use error::{Error, Rejection};
pub use limits::Limits;
pub use name::ShadowName;
pub use request::Request;
pub use shadow::{Entry, Shadow, Update, delete, update};
