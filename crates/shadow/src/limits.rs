//! What a shadow may hold: AWS's figures by default (shadow.md section 8).

/// Longest `clientToken`, in bytes. Not adjustable at AWS.
pub const CLIENT_TOKEN_BYTES: usize = 64;

/// Quotas of one shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the state as compact JSON, both sections together; metadata does not count.
    pub state_bytes: usize,
    /// Levels of objects and arrays in a section; the section itself is the first.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { state_bytes: 8192, depth: 8 }
    }
}
