//! A rule's statement: parsed once, evaluated per message.

use bytes::Bytes;

use crate::{
    ast::{Expr, Select},
    error::Error,
    evaluate::{Evaluation, Failure, Scope, Variables},
    external::External,
    filter,
    input::{Input, Payload},
    json::Writer,
    parser::{Parsed, Parser},
    template::Template,
    value::Value,
    version::SqlVersion,
};

/// Longest statement, in bytes: a whole rule document has 256 KB.
const MAX_SQL: usize = 256 * 1024;

/// A parsed statement (AWS page "SQL reference").
#[derive(Debug)]
pub struct Statement {
    version: SqlVersion,
    parsed: Parsed,
}

/// What one message made of a statement.
#[derive(Debug)]
pub enum Outcome {
    /// WHERE was not true: no action runs, the error action neither.
    NotFired {
        /// Whether WHERE gave the Boolean false; anything else deserves a warning in the rule's log.
        condition_is_boolean: bool,
    },
    /// The actions run.
    Fired(Fired),
    /// The rule ends for this message; only a log entry follows.
    Failed(Failure),
}

/// What the actions get.
#[derive(Debug)]
pub struct Fired {
    /// The payload of the actions.
    pub output: Output,
    /// The values of SET, for the templates of the actions.
    pub variables: Variables,
    /// How many bytes both take, roughly.
    pub weight: usize,
}

/// Payload of the actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The incoming bytes, unchanged, JSON or not.
    Original(Bytes),
    /// Serialised JSON; empty for an Undefined `SELECT VALUE`.
    Json(Bytes),
}

impl Output {
    fn len(&self) -> usize {
        match self {
            Self::Original(bytes) | Self::Json(bytes) => bytes.len(),
        }
    }

    /// The bytes, wherever they come from.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Original(bytes) | Self::Json(bytes) => bytes,
        }
    }
}

impl Statement {
    /// Parses a statement in a dialect.
    ///
    /// # Errors
    /// What is no statement of that dialect; the API answers `SqlParseException`.
    pub fn parse(sql: &str, version: SqlVersion) -> Result<Self, Error> {
        if sql.len() > MAX_SQL {
            let found = format!("{} bytes", sql.len());
            return Err(Error::at(sql, 0, found, format!("a statement of at most {MAX_SQL} bytes")));
        }
        Ok(Self { version, parsed: Parser::statement(sql, version)? })
    }

    /// Parses a substitution template that sees this statement's variables, in its dialect.
    ///
    /// # Errors
    /// An unbalanced `${` or what is no expression in it.
    pub fn template(&self, text: &str) -> Result<Template, Error> {
        Template::with_variables(text, self.version, &self.parsed.variables)
    }

    /// The filter of FROM; `None` for a rule that only Basic Ingest reaches.
    #[must_use]
    pub fn topic_filter(&self) -> Option<&str> {
        self.parsed.filter.as_deref()
    }

    /// Whether FROM matches a topic, Basic Ingest prefix removed; true without FROM. Unlike in MQTT, `a/#`
    /// does not match `a`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.topic_filter().is_none_or(|filter| filter::matches(filter, topic))
    }

    /// The dialect.
    #[must_use]
    pub fn version(&self) -> SqlVersion {
        self.version
    }

    pub(crate) fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Whether evaluating may read the payload as JSON: false for `SELECT *` without a condition on
    /// attributes.
    #[must_use]
    pub fn needs_document(&self) -> bool {
        self.parsed.reads_payload
    }

    /// Whether the statement calls functions outside the engine.
    #[must_use]
    pub fn uses_external(&self) -> bool {
        self.parsed.uses_external
    }

    /// Regular expressions of the statement that are none, or need what a linear-time engine has not: calls with them are
    /// Undefined, which their author should hear of.
    #[must_use]
    pub fn unusable_patterns(&self) -> &[String] {
        &self.parsed.unusable_patterns
    }

    /// SET, WHERE and SELECT for one message whose topic matches.
    pub fn evaluate<'a>(
        &'a self,
        input: &'a Input<'a>,
        payload: &'a Payload,
        external: &'a mut dyn External,
    ) -> Outcome {
        self.run(input, payload, external).unwrap_or_else(Outcome::Failed)
    }

    fn run<'a>(
        &'a self,
        input: &'a Input<'a>,
        payload: &'a Payload,
        external: &'a mut dyn External,
    ) -> Result<Outcome, Failure> {
        let mut evaluation = Evaluation::new(self.version, input, payload, Vec::new(), external);
        for assignment in &self.parsed.assignments {
            let value = evaluation.value(assignment, Scope::Message)?;
            evaluation.variables.push(value);
        }
        if let Some(refused) = refused(self.parsed.condition.as_ref(), &mut evaluation)? {
            return Ok(refused);
        }
        let output = self.output(payload, &mut evaluation)?;
        // Shared containers can be far larger than what was made, which was paid for.
        let mut left = evaluation.context().paid();
        let paid = left;
        evaluation.variables.iter().for_each(|value| value.weigh(&mut left));
        let weight = output.len() + (paid - left);
        Ok(Outcome::Fired(Fired { output, variables: Variables(evaluation.variables), weight }))
    }

    fn output(&self, payload: &Payload, evaluation: &mut Evaluation<'_>) -> Result<Output, Failure> {
        let Select { value: bare, .. } = self.parsed.select;
        let second = self.version.is_second();
        if self.parsed.select.is_everything() && (second || !bare) {
            return Ok(Output::Original(payload.bytes().clone()));
        }
        let result = evaluation.select(&self.parsed.select, Scope::Message)?;
        match result {
            Value::Raw(bytes) => Ok(Output::Original(bytes)),
            // The first dialect cannot send a bare array (AWS page "SQL versions").
            Value::Array(_) if !second => Ok(Output::Json(Bytes::new())),
            value => {
                let mut writer = Writer::new(second, crate::json::MAX_TEXT);
                writer.value(&value)?;
                Ok(Output::Json(writer.text.into()))
            }
        }
    }
}

/// The outcome of a condition that is not true.
fn refused(condition: Option<&Expr>, evaluation: &mut Evaluation<'_>) -> Result<Option<Outcome>, Failure> {
    let Some(condition) = condition else { return Ok(None) };
    Ok(match evaluation.value(condition, Scope::Message)?.to_boolean() {
        Some(true) => None,
        truth => Some(Outcome::NotFired { condition_is_boolean: truth.is_some() }),
    })
}
