//! Texts of a policy with variables in them, and what becomes of them for a request.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::pattern;
use crate::variable::{Scope, Variable};

/// How a policy's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// `${...}` is a variable or an escape: version 2012-10-17 (security.md 9.2).
    pub(crate) variables: bool,
    /// `*` and `?` are wildcards: resources, and the operators with `Like` or `Arn` in their names.
    pub(crate) wildcards: bool,
}

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A compiled pattern; see [`pattern`].
    Fixed(Vec<u8>),
    Variable {
        variable: Variable,
        /// `${...}` as written: it stays if the variable does not resolve.
        written: Box<str>,
        /// `aws:SourceIp` and its like are for conditions only.
        allowed: bool,
    },
}

/// A template with its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved<'t> {
    pub(crate) pattern: Cow<'t, [u8]>,
    /// Whether every variable had a value.
    pub(crate) complete: bool,
}

impl Template {
    /// The text of a `Resource`.
    pub(crate) fn resource(text: &str, variables: bool) -> Self {
        let mut template = Self::read(text, Reading { variables, wildcards: true });
        for part in &mut template.parts {
            if let Part::Variable { variable, allowed, .. } = part {
                *allowed = !matches!(variable, Variable::SourceIp | Variable::VpcSourceIp);
            }
        }
        template
    }

    pub(crate) fn read(text: &str, reading: Reading) -> Self {
        let mut template = Self { parts: Vec::new() };
        let mut rest = text;
        while let Some((before, name, after)) = next_variable(rest).filter(|_| reading.variables) {
            template.push_text(before, reading.wildcards);
            match name {
                "*" | "?" | "$" => template.push_text(name, false),
                _ => template.parts.push(Part::Variable {
                    variable: Variable::read(name.trim()),
                    written: format!("${{{name}}}").into_boxed_str(),
                    allowed: true,
                }),
            }
            rest = after;
        }
        template.push_text(rest, reading.wildcards);
        template
    }

    fn push_text(&mut self, text: &str, wildcards: bool) {
        if !matches!(self.parts.last(), Some(Part::Fixed(_))) {
            self.parts.push(Part::Fixed(Vec::new()));
        }
        if let Some(Part::Fixed(pattern)) = self.parts.last_mut() {
            if wildcards {
                pattern::push_wildcards(pattern, text);
            } else {
                pattern.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Whether the text is the same for every request.
    pub(crate) fn is_fixed(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Fixed(_)))
    }

    pub(crate) fn resolve(&self, scope: &Scope<'_>) -> Resolved<'_> {
        if let [Part::Fixed(pattern)] = self.parts.as_slice() {
            return Resolved { pattern: Cow::Borrowed(pattern), complete: true };
        }
        let mut pattern = Vec::new();
        let mut complete = true;
        for part in &self.parts {
            match part {
                Part::Fixed(fixed) => pattern.extend_from_slice(fixed),
                Part::Variable { variable, written, allowed } => {
                    let value = variable.substitute(scope).filter(|_| *allowed);
                    complete &= value.is_some();
                    pattern.extend_from_slice(value.as_deref().unwrap_or(written).as_bytes());
                }
            }
        }
        Resolved { pattern: Cow::Owned(pattern), complete }
    }

    /// Adds the names of variables without a value, as they are written.
    pub(crate) fn missing(&self, scope: &Scope<'_>, names: &mut BTreeSet<String>) {
        for part in &self.parts {
            if let Part::Variable { variable, written, allowed } = part
                && (!allowed || variable.substitute(scope).is_none())
            {
                names.insert(written.trim_start_matches("${").trim_end_matches('}').trim().to_owned());
            }
        }
    }
}

/// Splits at the first `${name}`: what is before, the name, what is after.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::context::Context;
    use crate::settings::Settings;

    fn matches(template: &str, client_id: Option<&str>, text: &str) -> bool {
        let context = Context { client_id, ..Context::default() };
        let settings = Settings { reject_wildcards_in_variables: false, ..Settings::default() };
        let scope = Scope { action: Action::Publish.into(), context: &context, settings };
        pattern::matches(&Template::resource(template, true).resolve(&scope).pattern, text)
    }

    #[test]
    fn variables_and_escapes() {
        assert!(matches("a/${iot:ClientId}/*", Some("c"), "a/c/x"));
        assert!(matches("a/${IOT:clientid}/*", Some("c"), "a/c/x"));
        assert!(matches("a/${iot:ClientId}", Some("*"), "a/*"));
        assert!(!matches("a/${iot:ClientId}", Some("*"), "a/b"));
        assert!(!matches("a/${iot:ClientId}", Some("?"), "a/b"));
        assert!(matches("a/${iot:ClientId}", Some("${iot:ClientId}"), "a/${iot:ClientId}"));
        assert!(matches("a/${iot:ClientId}", None, "a/${iot:ClientId}"));
        assert!(!matches("a/${iot:ClientId}", None, "a/c"));
        assert!(matches("${*}${?}${$}", None, "*?$"));
        assert!(!matches("${*}", None, "x"));
        assert!(!matches("${?}", None, "x"));
        assert!(matches("${$}{iot:ClientId}", Some("c"), "${iot:ClientId}"));
        assert!(matches("${unfinished", None, "${unfinished"));
        assert!(matches("$/${}/x", None, "$/${}/x"));
        assert!(matches("${iot:Nonsense}", None, "${iot:Nonsense}"));
        assert!(!matches("x${aws:SourceIp}", None, "x"));
    }

    #[test]
    fn old_versions_have_no_variables() {
        let context = Context { client_id: Some("c"), ..Context::default() };
        let scope =
            Scope { action: Action::Publish.into(), context: &context, settings: Settings::default() };
        let template = Template::resource("${iot:ClientId}/${*}", false);
        assert!(template.is_fixed());
        let resolved = template.resolve(&scope);
        assert!(pattern::matches(&resolved.pattern, "${iot:ClientId}/${anything}"));
        assert!(!pattern::matches(&resolved.pattern, "c/x"));
    }
}
