//! AWS Signature Version 4 (`AWS4-HMAC-SHA256`): reading, checking and making signatures.
//!
//! | module | owns |
//! |---|---|
//! | [`request`] | [`RequestParts`], the request as it came off the wire |
//! | [`presented`] | [`parse`]: what the caller claims, from the `Authorization` header or a presigned query |
//! | [`verify`](mod@verify) | [`verify()`]: [`Policy`], scope, time window and the signature itself |
//! | [`sign`](mod@sign) | [`sign()`] and [`presign`], for tests and for requests we send |
//! | `canonical` | the canonical request, the string to sign and the signing key |
//! | `encoding` | percent-encoding of paths and query strings |
//! | [`date`] | the `yyyymmddThhmmssZ` form |
//! | [`error`] | [`Error`], with the exception name and status AWS answers |
//!
//! The crate holds no keys, knows no clock and reads no body: the secret, the time and the body's hash are
//! arguments. Looking up the access key and checking the session token belong to the caller, between
//! [`parse`] and [`verify()`]; when the key is unknown it answers [`Error::UnknownAccessKey`].
#![warn(missing_docs)]

mod canonical;
pub mod date;
mod encoding;
pub mod error;
pub mod presented;
pub mod request;
pub mod sign;
pub mod verify;

pub use canonical::PayloadHash;
pub use error::Error;
pub use presented::{Form, Presented, parse};
pub use request::RequestParts;
pub use sign::{Credentials, PathEncoding, Target, TokenPlacement, presign, sign};
pub use verify::{Policy, verify};

/// The only algorithm we know, as it stands in the header, the query and the string to sign.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The signing names of AWS IoT's services, by the plane that accepts them.
pub mod services {
    /// The control plane: `CreateThing` and its kin.
    pub const CONTROL: &[&str] = &["iot"];
    /// The data plane: HTTPS publish, shadows, and MQTT over WebSocket.
    pub const DATA: &[&str] = &["iotdata", "iotdevicegateway"];
    /// The jobs data plane.
    pub const JOBS: &[&str] = &["iot-jobs-data"];
    /// The Security Token Service, of which clients ask who they are.
    pub const STS: &[&str] = &["sts"];
    /// Identity and Access Management: users, roles and their policies.
    pub const IAM: &[&str] = &["iam"];
}
