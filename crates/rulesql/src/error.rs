//! Why a statement or a substitution template is refused; the API answers `SqlParseException`.

/// So many characters of the offending input are told: a string that takes in the rest of a statement is as long as that.
const MAX_FOUND: usize = 64;

/// A refused text: where, what stood there, and what the grammar wants instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: found {found}, expected {expected}")]
pub struct Error {
    /// Line of the offending token, from 1.
    pub line: u32,
    /// Column of the offending token in characters, from 1.
    pub column: u32,
    /// The offending input, quoted; of what is long the beginning.
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

    /// An error at a byte offset of `text`, where `found` stands.
    pub(crate) fn at_token(text: &str, offset: usize, found: &str, expected: impl Into<String>) -> Self {
        let found = match found.char_indices().nth(MAX_FOUND) {
            Some((end, _)) => format!("`{}…`", found.get(..end).unwrap_or_default()),
            None => format!("`{found}`"),
        };
        Self::at(text, offset, found, expected)
    }
}

/// Line and column, in characters, of a byte offset; both from 1.
pub(crate) fn place(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use crate::{SqlVersion, Statement};

    #[test]
    fn of_a_long_token_the_beginning_is_told() {
        let found = |sql: &str| Statement::parse(sql, SqlVersion::default()).unwrap_err().found;
        assert_eq!(found("'SELECT 1'"), "`'SELECT 1'`");
        let long = "ä".repeat(10_000);
        for sql in [format!("'{long}'"), format!("SELECT a FROM 't' '{long}'")] {
            assert_eq!(found(&sql), format!("`'{}…`", "ä".repeat(63)));
        }
        assert_eq!(found(&format!("SELECT @{}", "a".repeat(10_000))), format!("`@{}…`", "a".repeat(63)));
    }
}
