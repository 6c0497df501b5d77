//! Values of a template: literals, references and functions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{CERTIFICATE, Error, MAX_TEXT, Mappings, literal, object, shown};

/// What names mean something where an expression stands.
pub(super) struct Scope<'a> {
    pub(super) parameters: &'a BTreeMap<String, Option<String>>,
}

impl Scope<'_> {
    fn check(&self, place: &str, name: &str) -> Result<(), Error> {
        if self.parameters.contains_key(name) || name.starts_with(CERTIFICATE) {
            return Ok(());
        }
        Err(Error::new(format!("{place} refers to '{}', which is no parameter", shown(name))))
    }
}

/// What expressions are resolved with.
pub(super) struct Values<'a> {
    pub(super) given: &'a BTreeMap<String, String>,
    pub(super) certificate: &'a BTreeMap<String, String>,
    pub(super) declared: &'a BTreeMap<String, Option<String>>,
    pub(super) mappings: &'a Mappings,
}

impl Values<'_> {
    fn of(&self, name: &str) -> Result<String, Error> {
        if name.starts_with(CERTIFICATE) {
            let value = self.certificate.get(name);
            return value
                .cloned()
                .ok_or_else(|| Error::new(format!("the certificate has no {}", shown(name))));
        }
        let default = || self.declared.get(name).cloned().flatten();
        let value = self.given.get(name).cloned().or_else(default);
        value.ok_or_else(|| Error::new(format!("parameter '{}' has no value", shown(name))))
    }
}

/// A value that may have to be computed.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Text(String),
    List(Vec<Expression>),
    Ref(String),
    Join {
        delimiter: String,
        list: Box<Expression>,
    },
    Select {
        index: Box<Expression>,
        list: Box<Expression>,
    },
    Split {
        delimiter: String,
        text: Box<Expression>,
    },
    FindInMap(Box<[Expression; 3]>),
    /// Literal pieces, each followed by a name.
    Sub {
        pieces: Vec<(String, String)>,
        rest: String,
        variables: BTreeMap<String, Expression>,
    },
}

/// What an expression is.
enum Resolved {
    Text(String),
    List(Vec<String>),
}

impl Expression {
    /// Reads what stands at `place`. The depth is bounded by that of JSON.
    pub(super) fn parse(place: &str, value: &Value, scope: &Scope<'_>) -> Result<Self, Error> {
        if let Some(text) = literal(value) {
            return Ok(Self::Text(text));
        }
        if let Value::Array(items) = value {
            let items = items.iter().map(|item| Self::parse(place, item, scope));
            return Ok(Self::List(items.collect::<Result<_, _>>()?));
        }
        let members = object(place, value)?;
        let mut members = members.iter();
        match (members.next(), members.next()) {
            (Some((function, argument)), None) => Self::function(place, function, argument, scope),
            _ => Err(Error::new(format!("{place} must be a text, a list or one function"))),
        }
    }

    /// Whether an object is a reference or a function rather than data.
    pub(super) fn is_function(value: &Value) -> bool {
        let members = value.as_object().filter(|members| members.len() == 1);
        let name = members.and_then(|members| members.keys().next());
        name.is_some_and(|name| name == "Ref" || name.starts_with("Fn::"))
    }

    fn function(place: &str, name: &str, argument: &Value, scope: &Scope<'_>) -> Result<Self, Error> {
        let wrong = |form: &str| Error::new(format!("{place}: {name} takes {form}"));
        let items = argument.as_array().map_or(&[] as &[Value], Vec::as_slice);
        let nested = |value: &Value| Self::parse(place, value, scope).map(Box::new);
        match (name, items) {
            ("Ref", _) => {
                let parameter = argument.as_str().ok_or_else(|| wrong("the name of a parameter"))?;
                scope.check(place, parameter)?;
                Ok(Self::Ref(parameter.to_owned()))
            }
            ("Fn::Join", [Value::String(delimiter), list]) => {
                Ok(Self::Join { delimiter: delimiter.clone(), list: nested(list)? })
            }
            ("Fn::Join", _) => Err(wrong("[delimiter, list]")),
            ("Fn::Select", [index, list]) => Ok(Self::Select { index: nested(index)?, list: nested(list)? }),
            ("Fn::Select", _) => Err(wrong("[index, list]")),
            ("Fn::Split", [Value::String(delimiter), text]) if !delimiter.is_empty() => {
                Ok(Self::Split { delimiter: delimiter.clone(), text: nested(text)? })
            }
            ("Fn::Split", _) => Err(wrong("[delimiter, text]")),
            ("Fn::FindInMap", [map, first, second]) => {
                Ok(Self::FindInMap(Box::new([*nested(map)?, *nested(first)?, *nested(second)?])))
            }
            ("Fn::FindInMap", _) => Err(wrong("[map, key, key]")),
            ("Fn::Sub", _) => Self::sub(place, argument, scope),
            _ => Err(Error::new(format!("{place}: '{}' is no function", shown(name)))),
        }
    }

    fn sub(place: &str, argument: &Value, scope: &Scope<'_>) -> Result<Self, Error> {
        let wrong = || Error::new(format!("{place}: Fn::Sub takes a text, or [text, values by name]"));
        let (text, variables) = match argument {
            Value::String(text) => (text, BTreeMap::new()),
            Value::Array(items) => match items.as_slice() {
                [Value::String(text), variables] => (text, super::expressions(place, variables, scope)?),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let (mut pieces, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(wrong)?;
            // `${!name}` stands for `${name}` as it is.
            match name.strip_prefix('!') {
                Some(name) => pieces.push((format!("{before}${{{name}}}"), String::new())),
                None => {
                    if !variables.contains_key(name) {
                        scope.check(place, name)?;
                    }
                    pieces.push((before.to_owned(), name.to_owned()));
                }
            }
            rest = after;
        }
        Ok(Self::Sub { pieces, rest: rest.to_owned(), variables })
    }

    /// The expression as a text.
    pub(super) fn text(&self, values: &Values<'_>) -> Result<String, Error> {
        match self.resolve(values)? {
            Resolved::Text(text) => Ok(text),
            Resolved::List(_) => Err(Error::new("a list stands where a text is wanted")),
        }
    }

    /// The expression as a list of texts.
    pub(super) fn list(&self, values: &Values<'_>) -> Result<Vec<String>, Error> {
        match self.resolve(values)? {
            Resolved::List(list) => Ok(list),
            Resolved::Text(_) => Err(Error::new("a text stands where a list is wanted")),
        }
    }

    fn resolve(&self, values: &Values<'_>) -> Result<Resolved, Error> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Ref(name) => values.of(name)?,
            Self::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| item.text(values)).collect::<Result<_, _>>()?;
                check_size(items.iter().map(String::len).sum())?;
                return Ok(Resolved::List(items));
            }
            Self::Split { delimiter, text } => {
                let text = text.text(values)?;
                return Ok(Resolved::List(text.split(delimiter.as_str()).map(str::to_owned).collect()));
            }
            Self::Join { delimiter, list } => {
                let list = list.list(values)?;
                let between = delimiter.len().saturating_mul(list.len());
                check_size(list.iter().map(String::len).sum::<usize>().saturating_add(between))?;
                list.join(delimiter)
            }
            Self::Select { index, list } => {
                let (index, list) = (index.text(values)?, list.list(values)?);
                let selected = index.parse().ok().and_then(|index: usize| list.get(index));
                let count = list.len();
                let missing =
                    || Error::new(format!("Fn::Select: there is no item '{}' among {count}", shown(&index)));
                selected.cloned().ok_or_else(missing)?
            }
            Self::FindInMap(arguments) => {
                let [map, first, second] = &**arguments;
                let (map, first, second) = (map.text(values)?, first.text(values)?, second.text(values)?);
                let found = values.mappings.get(&map).and_then(|rows| rows.get(&first)?.get(&second));
                let missing = || {
                    let names = [&map, &first, &second].map(|name| shown(name)).join(", ");
                    Error::new(format!("Fn::FindInMap: nothing is mapped at {names}"))
                };
                found.cloned().ok_or_else(missing)?
            }
            Self::Sub { pieces, rest, variables } => substituted(pieces, rest, variables, values)?,
        };
        check_size(text.len())?;
        Ok(Resolved::Text(text))
    }
}

fn substituted(
    pieces: &[(String, String)],
    rest: &str,
    variables: &BTreeMap<String, Expression>,
    values: &Values<'_>,
) -> Result<String, Error> {
    // Each is computed once, however often it stands in the text.
    let mut computed = BTreeMap::new();
    for (name, expression) in variables {
        computed.insert(name.as_str(), expression.text(values)?);
    }
    let mut text = String::new();
    for (before, name) in pieces {
        text.push_str(before);
        match computed.get(name.as_str()) {
            Some(value) => text.push_str(value),
            None if name.is_empty() => {}
            None => text.push_str(&values.of(name)?),
        }
        check_size(text.len())?;
    }
    text.push_str(rest);
    Ok(text)
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_TEXT {
        return Err(Error::new(format!("a value has more than {MAX_TEXT} bytes")));
    }
    Ok(())
}
