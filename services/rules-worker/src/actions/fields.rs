//! Reading an action's settings. They were checked when the rule was created: what is wrong here was written by an earlier version.

use fleethaven_rulesql::{Statement, Template};
use serde_json::Value;

/// The settings of one action, and the statement whose variables its templates may use.
pub(crate) struct Fields<'a> {
    pub(crate) settings: &'a Value,
    pub(crate) statement: &'a Statement,
}

impl<'a> Fields<'a> {
    /// The settings below a member, which is an object.
    pub(crate) fn below(&self, name: &str) -> Result<Fields<'a>, String> {
        let settings = self.settings.get(name).filter(|value| value.is_object());
        let settings = settings.ok_or_else(|| format!("{name} is required"))?;
        Ok(Fields { settings, statement: self.statement })
    }

    /// The settings of each object of a list that must be there.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Fields<'a>>, String> {
        let items = self.settings.get(name).and_then(Value::as_array).filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| format!("{name} is required"))?;
        Ok(items.iter().map(|settings| Fields { settings, statement: self.statement }).collect())
    }

    /// A text that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, String> {
        self.text_if_given(name).ok_or_else(|| format!("{name} is required"))
    }

    /// A text.
    pub(crate) fn text_if_given(&self, name: &str) -> Option<&'a str> {
        self.settings.get(name)?.as_str()
    }

    /// A field with templates that must be there.
    pub(crate) fn template(&self, name: &str) -> Result<Template, String> {
        self.parse(self.text(name)?)
    }

    /// A field with templates.
    pub(crate) fn template_if_given(&self, name: &str) -> Result<Option<Template>, String> {
        self.text_if_given(name).map(|text| self.parse(text)).transpose()
    }

    /// Whether a switch is on.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.settings.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A text with templates.
    pub(crate) fn parse(&self, text: &str) -> Result<Template, String> {
        self.statement.template(text).map_err(|error| format!("{text}: {error}"))
    }
}
