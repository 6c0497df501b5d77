//! Tree to value. Total: every step and every byte made is paid from a budget, text and output are bounded.

mod expression;
pub(crate) mod operators;
mod select;

use std::{borrow::Cow, cell::Cell};

use crate::{
    external::{External, ExternalError},
    input::{Input, Payload},
    json::{MAX_TEXT, TooLarge},
    value::{Text, Value},
    version::SqlVersion,
};

/// Steps an evaluation may take; a small statement takes about ten.
const STEPS: u64 = 1_000_000;
/// Bytes of text made or read for the price of one step.
const BYTES_PER_STEP: u64 = 16;

/// Why the rule ends for a message; only a log entry follows, no action runs (spec section 8.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An external function failed.
    #[error("function {function} failed: {error}")]
    External {
        /// Its name, in lower case.
        function: &'static str,
        /// What it answered.
        error: ExternalError,
    },
    /// A function of the engine cannot do what it was asked.
    #[error("function {function} failed: {reason}")]
    Function {
        /// Its name, in lower case.
        function: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// An external function's answer is not here yet: evaluate again once it is.
    #[error("function {0} has not been answered yet")]
    Deferred(&'static str),
    /// A text or the output went beyond [`crate::json::MAX_TEXT`].
    #[error("{0}")]
    TooLarge(#[from] TooLarge),
    /// The evaluation took more steps than any sensible statement needs.
    #[error("the evaluation took more than {STEPS} steps")]
    TooMuchWork,
}

impl Failure {
    /// Whether `get_or_default` turns this failure into its default.
    pub(crate) fn has_default(&self) -> bool {
        matches!(self, Self::External { .. } | Self::Function { .. })
    }
}

/// What functions see of an evaluation: the message, the dialect, and what is left of the budget.
pub(crate) struct Context<'a> {
    pub(crate) version: SqlVersion,
    pub(crate) input: &'a Input<'a>,
    pub(crate) payload: &'a Payload,
    steps: Cell<u64>,
}

impl Context<'_> {
    pub(crate) fn spend(&self, steps: u64) -> Result<(), Failure> {
        let left = self.steps.get().checked_sub(steps).ok_or(Failure::TooMuchWork)?;
        self.steps.set(left);
        Ok(())
    }

    /// The bytes that were paid for so far, had each step been one for bytes.
    pub(crate) fn paid(&self) -> usize {
        usize::try_from((STEPS - self.steps.get()) * BYTES_PER_STEP).unwrap_or(usize::MAX)
    }

    pub(crate) fn spend_bytes(&self, bytes: usize) -> Result<(), Failure> {
        self.spend(1 + u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_STEP)
    }

    /// The String form of an argument, paid for; `None` for Null and Undefined.
    pub(crate) fn text<'v>(&self, value: &'v Value) -> Result<Option<Cow<'v, str>>, Failure> {
        let text = value.to_cow(self.version.is_second())?;
        if let Some(text) = &text {
            self.spend_bytes(text.len())?;
        }
        Ok(text)
    }

    /// A String a function made, paid for and bounded.
    pub(crate) fn made(&self, text: impl Into<Text>) -> Result<Option<Value>, Failure> {
        let text = text.into();
        if text.len() > MAX_TEXT {
            return Err(Failure::TooLarge(TooLarge));
        }
        self.spend_bytes(text.len())?;
        Ok(Some(Value::String(text)))
    }

    /// Whether two values are equal by the rules of `=`; Undefined if either is.
    pub(crate) fn equal(&self, a: &Value, b: &Value) -> Result<Option<bool>, Failure> {
        if a.is_undefined() || b.is_undefined() {
            return Ok(None);
        }
        let mut steps = self.steps.get();
        let equal = a.equals(b, &mut steps).ok_or(Failure::TooMuchWork)?;
        self.steps.set(steps);
        Ok(Some(equal))
    }

    /// A value in the normal form of the dialect.
    pub(crate) fn normal(&self, value: Value) -> Value {
        if self.version.is_second() { value.normalized() } else { value }
    }
}

/// The values of SET, for the templates of the rule's actions.
#[derive(Clone, Debug, Default)]
pub struct Variables(pub(crate) Vec<Value>);

/// One walk over a tree.
pub(crate) struct Evaluation<'a> {
    context: Context<'a>,
    pub(crate) variables: Vec<Value>,
    external: &'a mut dyn External,
    /// Calls of `get_dynamodb`, of which AWS allows one.
    dynamodb_calls: usize,
    /// Calls of `decode(…, 'proto', …)`, of which AWS allows two.
    protobuf_calls: usize,
    /// Calls of the other functions outside the engine.
    other_calls: usize,
}

/// What attributes and `*` refer to.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'s> {
    /// The message's payload.
    Message,
    /// An element of a nested query's source, under its alias.
    Element { value: &'s Value, alias: Option<&'s str> },
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        version: SqlVersion,
        input: &'a Input<'a>,
        payload: &'a Payload,
        variables: Vec<Value>,
        external: &'a mut dyn External,
    ) -> Self {
        let context = Context { version, input, payload, steps: Cell::new(STEPS) };
        Self { context, variables, external, dynamodb_calls: 0, protobuf_calls: 0, other_calls: 0 }
    }

    /// The message and the budget, for what is done with a value afterwards.
    pub(crate) fn context(&self) -> &Context<'a> {
        &self.context
    }
}
