//! Custom authorizers (security.md section 6): who decides about a client without certificate or signature, what that
//! function is asked, and what its answer allows.
//!
//! - [`attempt`]: [`Attempt`], what a client brings: a server name, an HTTP request, a CONNECT
//! - [`endpoint`]: [`Endpoint`], whose endpoint a server name means, and whom it takes
//! - [`callback`]: [`check_certificate`], the function of a domain that says whether a client certificate is taken
//! - [`event`]: the JSON that the function gets
//! - [`answer`]: [`Answer`], its answer, checked
//! - [`authorizers`]: [`Authorizers`]: selects, checks the token's signature, calls, checks the answer
//!
//! The gateway asks for MQTT and WebSocket clients, the API for publishes over HTTPS. Neither sockets nor timers are here:
//! whoever asks bounds how long it waits, and forgets the answer when that is over.
#![warn(missing_docs)]

pub mod answer;
pub mod attempt;
pub mod authorizers;
pub mod callback;
pub mod endpoint;
pub mod event;

pub use answer::{Answer, Invalid};
pub use attempt::{Attempt, Certificate, Connect, HttpRequest};
pub use authorizers::{Authorizers, DEADLINE, Granted, Refusal};
pub use callback::{Blocked, Presented, check_certificate};
pub use endpoint::{Credentials, Endpoint, NotTaken, Protocol};
