//! Why a policy document was refused.

/// A policy document that AWS IoT answers with `MalformedPolicyException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document has no character that counts.
    #[error("the policy document is empty")]
    Empty,
    /// The document has more characters than allowed. AWS page "AWS IoT Core quotas": 2048, white space
    /// excluded.
    #[error(
        "the policy document has {characters} characters, white space {counting}, and {limit} are allowed"
    )]
    TooLong {
        /// How many characters were counted.
        characters: usize,
        /// How many are allowed.
        limit: usize,
        /// `excluded` or `included`: which of the two limits was passed.
        counting: &'static str,
    },
    /// The text is no JSON, or an object names a key twice.
    #[error("the policy document is not valid JSON: {0}")]
    Json(String),
    /// The JSON is no policy.
    #[error("malformed policy at {path}: {problem}")]
    Malformed {
        /// Where in the document, such as `Statement[1].Condition.StringEquals`.
        path: String,
        /// What is wrong there, with the offending input.
        problem: String,
    },
}

impl Error {
    pub(crate) fn malformed(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.into(), problem: problem.into() }
    }
}
