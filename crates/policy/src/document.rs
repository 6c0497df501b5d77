//! A policy document, read and compiled.

use crate::action::ActionElement;
use crate::condition::Condition;
use crate::error::Error;
use crate::grammar;
use crate::settings::Limits;
use crate::template::Template;

/// What a matching statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It grants, unless a Deny matches too.
    Allow,
    /// It refuses, whatever else grants.
    Deny,
}

/// The version of the policy language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `2008-10-17`, also taken when the document names none: `${...}` is plain text.
    V2008,
    /// `2012-10-17`: with variables.
    V2012,
}

/// A policy document (security.md 9.2).
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyDocument {
    text: Box<str>,
    version: Version,
    id: Option<Box<str>>,
    statements: Vec<Statement>,
}

impl PolicyDocument {
    /// Reads a document and compiles its patterns.
    ///
    /// # Errors
    /// Whatever AWS answers with `MalformedPolicyException`: too long, no JSON, an unknown or repeated key, a
    /// value of the wrong type, an unknown condition operator.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Error> {
        let parsed = grammar::parse(text, limits)?;
        let grammar::Parsed { version, id, statements } = parsed;
        Ok(Self { text: text.into(), version, id: id.map(String::into_boxed_str), statements })
    }

    /// The text it was read from, unchanged: what `GetPolicy` returns.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The version of the policy language.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The `Id`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The statements, in the order of the document.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub(crate) sid: Option<Box<str>>,
    pub(crate) effect: Effect,
    pub(crate) actions: ActionElement,
    pub(crate) resources: ResourceElement,
    pub(crate) conditions: Vec<Condition>,
}

impl Statement {
    /// The `Sid`.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// What the statement does when it matches.
    pub fn effect(&self) -> Effect {
        self.effect
    }
}

/// The `Resource` or `NotResource` of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceElement {
    /// `NotResource`: every resource that no pattern matches.
    pub(crate) negated: bool,
    pub(crate) patterns: Vec<Template>,
}
