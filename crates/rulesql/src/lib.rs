//! AWS IoT rules SQL: text to typed tree to value, substitution templates. Pure.
#![warn(missing_docs)]
mod decimal;
mod error;
pub mod json;
mod value;
mod version;
pub use decimal::Decimal;
pub use error::Error;
pub use value::{Object, Value};
pub use version::{SqlVersion, UnknownVersion};
