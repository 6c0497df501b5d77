//! Who operators are and what they may do: users, and sessions of roles, with IAM's policies; and the temporary credentials
//! that a session has.
//!
//! | module | owns |
//! |---|---|
//! | [`identity`](Identity) | who signs: the account itself, a user, a session; its ARN and condition keys |
//! | [`operator`](Operator) | an identity with its policies, and a decision |
//! | [`session`](Session) | temporary credentials: made from a key of ours, and known again by it |
//! | [`access_key`](new_access_key) | long-term access keys, made of randomness that is given |
//! | [`request`](RequestKeys) | condition keys that every request has |
//!
//! It does not know signatures (`fleethaven-sigv4`), nor which resource an operation touches (the API).
#![warn(missing_docs)]

mod access_key;
mod identity;
mod operator;
mod request;
mod session;

pub use access_key::new_access_key;
pub use identity::Identity;
pub use operator::{Operator, Ruling, mentions};
pub use request::{RequestKeys, iso};
pub use session::{Error as SessionError, Issued, LONGEST_SECS, Session, TOKEN_BYTES};
