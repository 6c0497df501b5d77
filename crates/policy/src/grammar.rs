//! The grammar of documents (security.md 9.2): every key is known, every value of its type, or the document
//! is refused. What identity policies and trust policies have in common is read by the same code.

mod trust;

use crate::action::ActionElement;
use crate::condition::{Condition, Operator};
use crate::document::{Effect, ResourceElement, Statement, Version};
use crate::error::Error;
use crate::json::Node;
use crate::settings::{Limits, Services};
use crate::template::Template;

pub(crate) use trust::parse as parse_trust;

/// What a document says.
pub(crate) struct Parsed {
    pub(crate) version: Version,
    pub(crate) id: Option<String>,
    pub(crate) statements: Vec<Statement>,
}

/// What the statements of a document have in common.
#[derive(Clone, Copy)]
struct Rules {
    services: Services,
    variables: bool,
}

pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Parsed, Error> {
    let Outer { version, id, statement: node, rules } = outer(text, limits)?;
    Ok(Parsed { version, id, statements: each(node, |node, path| statement(node, path, rules))? })
}

/// A document around its statements.
struct Outer {
    version: Version,
    id: Option<String>,
    statement: Node,
    rules: Rules,
}

fn outer(text: &str, limits: &Limits) -> Result<Outer, Error> {
    check_length(text, limits)?;
    let node = serde_json::from_str::<Node>(text).map_err(|error| Error::Json(error.to_string()))?;
    let mut root = Object::root(node)?;
    let version = version(&mut root)?;
    let id = root.optional_text("Id")?;
    let statement = root.required("Statement")?;
    root.finish()?;
    let rules = Rules { services: limits.services, variables: version == Version::V2012 };
    Ok(Outer { version, id, statement, rules })
}

fn check_length(text: &str, limits: &Limits) -> Result<(), Error> {
    let (mut counted, mut total) = (0, 0);
    for character in text.chars() {
        total += 1;
        counted += usize::from(!character.is_whitespace());
    }
    let too_long = |characters, limit, counting| Err(Error::TooLong { characters, limit, counting });
    match () {
        () if counted == 0 => Err(Error::Empty),
        () if counted > limits.characters => too_long(counted, limits.characters, "excluded"),
        () if total > limits.total_characters => too_long(total, limits.total_characters, "included"),
        () => Ok(()),
    }
}

fn version(root: &mut Object) -> Result<Version, Error> {
    match root.optional_text("Version")?.as_deref() {
        Some("2012-10-17") => Ok(Version::V2012),
        None | Some("2008-10-17") => Ok(Version::V2008),
        Some(other) => {
            Err(Error::malformed("Version", format!("{other:?} is neither 2012-10-17 nor 2008-10-17")))
        }
    }
}

/// One statement or an array of at least one.
fn each<T>(node: Node, read: impl Fn(Node, String) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    match node {
        Node::List(items) if items.is_empty() => Err(Error::malformed("Statement", "there is no statement")),
        Node::List(items) => {
            let each = items.into_iter().enumerate();
            each.map(|(at, item)| read(item, format!("Statement[{at}]"))).collect()
        }
        single => Ok(vec![read(single, "Statement".to_owned())?]),
    }
}

fn statement(node: Node, path: String, rules: Rules) -> Result<Statement, Error> {
    let mut object = Object::new(node, path)?;
    let sid = object.optional_text("Sid")?.map(String::into_boxed_str);
    let effect = effect(&mut object)?;
    let actions = actions(&mut object, rules)?;
    let resources = resources(&mut object, rules)?;
    let conditions = conditions_of(&mut object, rules)?;
    object.finish()?;
    Ok(Statement { sid, effect, actions, resources, conditions })
}

fn effect(object: &mut Object) -> Result<Effect, Error> {
    let path = object.path_of("Effect");
    match text(object.required("Effect")?, &path)?.as_str() {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        other => Err(Error::malformed(path, format!("{other:?} is neither Allow nor Deny"))),
    }
}

fn actions(object: &mut Object, rules: Rules) -> Result<ActionElement, Error> {
    let (names, negated, path) = object.one_of("Action", "NotAction")?;
    match names.iter().find(|name| !is_action(name, rules.services)) {
        Some(wrong) => Err(Error::malformed(path, format!("{wrong:?} is no action"))),
        None => Ok(ActionElement::new(&names, negated)),
    }
}

fn is_action(name: &str, services: Services) -> bool {
    if name == "*" {
        return true;
    }
    let Some((service, action)) = name.split_once(':') else { return false };
    let is_service = match services {
        Services::Iot => ["iot", "greengrass"].iter().any(|known| service.eq_ignore_ascii_case(known)),
        Services::Any => is_word(service, "-"),
    };
    is_service && is_word(action, "*?")
}

fn is_word(text: &str, also: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| character.is_ascii_alphanumeric() || also.contains(character))
}

fn resources(object: &mut Object, rules: Rules) -> Result<ResourceElement, Error> {
    let (patterns, negated, path) = object.one_of("Resource", "NotResource")?;
    match patterns.iter().find(|pattern| *pattern != "*" && !pattern.starts_with("arn:")) {
        Some(wrong) => Err(Error::malformed(path, format!("{wrong:?} is neither an ARN nor *"))),
        None => {
            let patterns = patterns.iter().map(|text| Template::resource(text, rules.variables)).collect();
            Ok(ResourceElement { negated, patterns })
        }
    }
}

fn conditions_of(object: &mut Object, rules: Rules) -> Result<Vec<Condition>, Error> {
    match object.take("Condition") {
        Some(node) => conditions(node, object.path_of("Condition"), rules),
        None => Ok(Vec::new()),
    }
}

fn conditions(node: Node, path: String, rules: Rules) -> Result<Vec<Condition>, Error> {
    let mut conditions = Vec::new();
    for (name, keys) in Object::new(node, path.clone())?.entries {
        let path = format!("{path}.{name}");
        let Some(operator) = Operator::read(&name) else {
            return Err(Error::malformed(path, "there is no such condition operator"));
        };
        for (key, values) in Object::new(keys, path.clone())?.entries {
            let path = format!("{path}.{key}");
            if key.is_empty() {
                return Err(Error::malformed(path, "the condition key is empty"));
            }
            let condition =
                Condition::new(operator, &key, &condition_values(values, &path)?, rules.variables);
            let refuse = |value| Error::malformed(path, format!("{value:?} is no value for {name}"));
            conditions.push(condition.map_err(refuse)?);
        }
    }
    Ok(conditions)
}

/// One value or an array of them, which may be empty; booleans and numbers may stand without quotes.
fn condition_values(node: Node, path: &str) -> Result<Vec<String>, Error> {
    match node {
        Node::List(items) => items.into_iter().map(|item| scalar(item, path)).collect(),
        single => Ok(vec![scalar(single, path)?]),
    }
}

fn scalar(node: Node, path: &str) -> Result<String, Error> {
    match node {
        Node::Text(value) | Node::Number(value) => Ok(value),
        Node::Bool(value) => Ok(value.to_string()),
        other => Err(Error::malformed(path, format!("a string is expected, not {}", other.kind()))),
    }
}

fn text(node: Node, path: &str) -> Result<String, Error> {
    match node {
        Node::Text(value) => Ok(value),
        other => Err(Error::malformed(path, format!("a string is expected, not {}", other.kind()))),
    }
}

/// A JSON object whose keys are taken one by one; what is left at the end is unknown.
struct Object {
    /// What comes before a key in the path of an error.
    prefix: String,
    path: String,
    entries: Vec<(String, Node)>,
}

impl Object {
    /// The document itself; the paths of its keys have no prefix.
    fn root(node: Node) -> Result<Self, Error> {
        Ok(Self { prefix: String::new(), ..Self::new(node, "document".to_owned())? })
    }

    fn new(node: Node, path: String) -> Result<Self, Error> {
        match node {
            Node::Object(entries) => Ok(Self { prefix: format!("{path}."), path, entries }),
            other => Err(Error::malformed(path, format!("an object is expected, not {}", other.kind()))),
        }
    }

    fn path_of(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    fn required(&mut self, key: &str) -> Result<Node, Error> {
        let missing = Error::malformed(self.path.clone(), format!("{key} is missing"));
        self.take(key).ok_or(missing)
    }

    fn optional_text(&mut self, key: &str) -> Result<Option<String>, Error> {
        let path = self.path_of(key);
        self.take(key).map(|node| text(node, &path)).transpose()
    }

    /// Takes one of two keys that exclude each other: its strings, whether it was the second, and its path.
    fn one_of(&mut self, key: &str, negated: &str) -> Result<(Vec<String>, bool, String), Error> {
        let (node, negated, path) = match (self.take(key), self.take(negated)) {
            (Some(node), None) => (node, false, self.path_of(key)),
            (None, Some(node)) => (node, true, self.path_of(negated)),
            (None, None) => {
                let problem = format!("{key} or {negated} is missing");
                return Err(Error::malformed(self.path.clone(), problem));
            }
            (Some(_), Some(_)) => {
                let problem = format!("{key} and {negated} exclude each other");
                return Err(Error::malformed(self.path.clone(), problem));
            }
        };
        Ok((strings(node, &path)?, negated, path))
    }

    fn finish(self) -> Result<(), Error> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => Err(Error::malformed(self.path, format!("the key {key:?} is unknown"))),
        }
    }
}

/// A string or an array of at least one.
fn strings(node: Node, path: &str) -> Result<Vec<String>, Error> {
    match node {
        Node::List(items) if items.is_empty() => Err(Error::malformed(path, "the array is empty")),
        Node::List(items) => {
            let each = items.into_iter().enumerate();
            each.map(|(at, item)| text(item, &format!("{path}[{at}]"))).collect()
        }
        single => Ok(vec![text(single, path)?]),
    }
}

#[cfg(test)]
mod tests;
