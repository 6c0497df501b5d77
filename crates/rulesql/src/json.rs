//! JSON in and out with numbers exact: what the payload says is what an expression sees and an action gets.
//!
//! The reader bounds depth and keeps the last of duplicate keys; the writer is compact and bounds its output. Small payloads
//! are only indexed as long as nobody asks for a container of theirs.

mod index;
mod read;
mod write;

pub(crate) use self::index::{Found, Index, Unindexed};
pub use self::read::read;
pub(crate) use self::read::{items, members, read_text, whole};
pub(crate) use self::write::Writer;
pub use self::write::{TooLarge, write};

/// Most bytes any text or serialised value of an evaluation may have: four payloads of 128 KiB.
pub const MAX_TEXT: usize = 512 * 1024;

/// Deepest nesting of a document; deeper ones are treated as no JSON.
pub const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests;
