//! The seam to functions that call outside the engine (spec section 8.6).

use crate::value::Value;

/// Why an external function gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    /// No one is configured to answer this function.
    #[error("not available")]
    NotAvailable,
    /// The call was made and failed.
    #[error("{0}")]
    Failed(String),
    /// The answer is not here yet: the caller noted the call, will make it, and evaluates the statement
    /// again. `get_or_default` does not turn this into its default.
    #[error("the call has not been answered yet")]
    Deferred,
}

/// Answers external functions during an evaluation. Evaluation is synchronous and, apart from random bytes,
/// gives the same calls each time: an asynchronous caller answers [`ExternalError::Deferred`], awaits the
/// calls it was asked for, and evaluates again with their results at hand.
pub trait External {
    /// Calls `name`, in lower case, with evaluated arguments.
    ///
    /// # Errors
    /// A failure ends the rule for this message, except inside `get_or_default`.
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, ExternalError> {
        let _ = (name, arguments);
        Err(ExternalError::NotAvailable)
    }
}

/// No external function is available.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExternal;

impl External for NoExternal {}
