//! The policies of one principal, taken together.

use std::fmt;
use std::sync::Arc;

use crate::document::{PolicyDocument, Statement};
use crate::settings::Settings;

/// A document under its name; shared by every principal it is attached to.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The policy's name, which decisions cite.
    pub name: Arc<str>,
    /// Its default version's document.
    pub document: Arc<PolicyDocument>,
}

impl Policy {
    /// A document under a name.
    pub fn new(name: impl Into<Arc<str>>, document: impl Into<Arc<PolicyDocument>>) -> Self {
        Self { name: name.into(), document: document.into() }
    }
}

/// Which statement decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementRef<'p> {
    /// The policy's name.
    pub policy: &'p str,
    /// The statement's place in the document, from 0.
    pub index: usize,
    /// Its `Sid`.
    pub sid: Option<&'p str>,
}

impl fmt::Display for StatementRef<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}]", self.policy, self.index)?;
        self.sid.map_or(Ok(()), |sid| write!(formatter, " ({sid})"))
    }
}

/// The policies that apply to a principal: those of the certificate, of the thing's groups and of their
/// ancestors, or those an authorizer returned. Without any, everything is denied.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Vec<Policy>,
    settings: Settings,
}

impl PolicySet {
    /// Takes policies together.
    pub fn new(policies: Vec<Policy>, settings: Settings) -> Self {
        Self { policies, settings }
    }

    /// The policies, in the order given.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// How variables are treated.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    pub(crate) fn statements(&self) -> impl Iterator<Item = (StatementRef<'_>, &Statement)> {
        self.policies.iter().flat_map(|policy| {
            policy.document.statements().iter().enumerate().map(|(index, statement)| {
                (StatementRef { policy: &policy.name, index, sid: statement.sid() }, statement)
            })
        })
    }
}
