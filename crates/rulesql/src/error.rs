//! Why a statement or a substitution template is refused; the API answers `SqlParseException`.

/// A refused text: where, what stood there, and what the grammar wants instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: found {found}, expected {expected}")]
pub struct Error {
    /// Line of the offending token, from 1.
    pub line: u32,
    /// Column of the offending token in characters, from 1.
    pub column: u32,
    /// The offending input, quoted.
    pub found: String,
    /// What would have been accepted there.
    pub expected: String,
}

impl Error {
    /// An error at a byte offset of `text`.
    pub(crate) fn at(text: &str, offset: usize, found: String, expected: impl Into<String>) -> Self {
        let (line, column) = place(text, offset);
        Self { line, column, found, expected: expected.into() }
    }
}

/// Line and column, in characters, of a byte offset; both from 1.
pub(crate) fn place(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
