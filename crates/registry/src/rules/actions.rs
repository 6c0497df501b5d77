//! Checks actions against the [catalogue](super::catalogue) of shapes.

use fleethaven_rulesql::Statement;
use fleethaven_types::arn::is_role_arn;
use serde_json::Value;

use super::catalogue::{ACTIONS, Member, Shape};
use super::sql_error;
use crate::error::Error;
use crate::own_actions;
use crate::syntax;

/// What an action is checked with.
struct Check<'a> {
    statement: &'a Statement,
    /// Templates of an error action call no functions outside the engine.
    error_action: bool,
}

/// Checks one entry of `actions`, or the error action: exactly one known member, of that member's shape.
/// Members that AWS's model does not know are ignored and kept.
pub(super) fn check(
    action: &Value,
    path: &str,
    statement: &Statement,
    error_action: bool,
) -> Result<(), Error> {
    let present = |(_, value): &(&String, &Value)| !value.is_null();
    let members: Vec<_> = action.as_object().into_iter().flatten().filter(present).collect();
    let [(name, value)] = members.as_slice() else {
        return Err(Error::invalid(format!("{path} must be an object with exactly one action")));
    };
    let known = ACTIONS.iter().find(|(known, _)| known == name);
    let Some((_, members)) = known else {
        return Err(Error::invalid(format!("{path}: '{}' is no type of action", syntax::shortened(name))));
    };
    let check = Check { statement, error_action };
    let path = format!("{path}.{name}");
    if *name == "http" && own_actions::is_own(value) {
        return check.own(value, &path);
    }
    check.object(value, members, &path)
}

fn wrong(path: &str, expected: &str) -> Error {
    Error::invalid(format!("{path} must be {expected}"))
}

impl Check<'_> {
    /// An action of ours, in the clothes of an `http` action.
    fn own(&self, http: &Value, path: &str) -> Result<(), Error> {
        let action = own_actions::checked(http, path)?;
        let mut templates = action.templates();
        templates.try_for_each(|(name, text)| self.template(text, &format!("{path}: {name}")))
    }

    fn object(&self, value: &Value, members: &[Member], path: &str) -> Result<(), Error> {
        let object = value.as_object().ok_or_else(|| wrong(path, "an object"))?;
        for member in members {
            let path = format!("{path}.{}", member.name);
            match object.get(member.name) {
                None | Some(Value::Null) if member.required => {
                    return Err(Error::invalid(format!("{path} is required")));
                }
                None | Some(Value::Null) => {}
                Some(value) => self.shape(value, &member.shape, &path)?,
            }
        }
        Ok(())
    }

    fn shape(&self, value: &Value, shape: &Shape, path: &str) -> Result<(), Error> {
        match shape {
            Shape::Text(most) => text(value, *most, path).map(|_| ()),
            Shape::Template(most) => self.template(text(value, *most, path)?, path),
            Shape::Role => match value.as_str() {
                Some(role) if is_role_arn(role) => Ok(()),
                _ => Err(wrong(path, "the ARN of a role: arn:aws:iam::<account>:role/<name>")),
            },
            Shape::OneOf(choices) => match value.as_str() {
                Some(choice) if choices.contains(&choice) => Ok(()),
                _ => Err(wrong(path, &format!("one of {}", choices.join(", ")))),
            },
            Shape::Integer(low, high) => match value.as_i64() {
                Some(number) if (*low..=*high).contains(&number) => Ok(()),
                _ => Err(wrong(path, &format!("a whole number from {low} to {high}"))),
            },
            Shape::Boolean => value.as_bool().map(|_| ()).ok_or_else(|| wrong(path, "true or false")),
            Shape::Object(members) => self.object(value, members, path),
            Shape::List(members, low, high) => self.list(value, members, *low, *high, path),
            Shape::Map => self.map(value, path),
        }
    }

    fn list(
        &self,
        value: &Value,
        members: &[Member],
        low: usize,
        high: usize,
        path: &str,
    ) -> Result<(), Error> {
        let items = value.as_array().filter(|items| (low..=high).contains(&items.len()));
        let items = items.ok_or_else(|| wrong(path, &format!("a list of {low} to {high} objects")))?;
        let mut indexed = items.iter().enumerate();
        indexed.try_for_each(|(index, item)| self.object(item, members, &format!("{path}[{index}]")))
    }

    fn map(&self, value: &Value, path: &str) -> Result<(), Error> {
        let object = value.as_object().ok_or_else(|| wrong(path, "a map of strings"))?;
        object.iter().try_for_each(|(key, value)| {
            let path = format!("{path}.{}", syntax::shortened(key));
            self.template(text(value, usize::MAX, &path)?, &path)
        })
    }

    fn template(&self, text: &str, path: &str) -> Result<(), Error> {
        let template = self.statement.template(text).map_err(|error| {
            let inner = sql_error(error);
            Error { message: format!("{path}: {}", inner.message), ..inner }
        })?;
        if self.error_action && template.uses_external() {
            return Err(Error::invalid(format!("{path}: an error action cannot call external functions")));
        }
        Ok(())
    }
}

fn text<'v>(value: &'v Value, most: usize, path: &str) -> Result<&'v str, Error> {
    let text = value.as_str().ok_or_else(|| wrong(path, "a string"))?;
    if most != usize::MAX && text.chars().count() > most {
        return Err(wrong(path, &format!("a string of at most {most} characters")));
    }
    Ok(text)
}
