//! A statement tried out: what each part of it gives for a message, for people who write rules.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    ast::Name,
    error::Error,
    evaluate::{Evaluation, Failure, Scope},
    external::{External, NoExternal},
    input::{Input, Payload},
    json,
    statement::{Outcome, Statement},
    template::Template,
    value::{Object, Value},
};

/// What the author of a statement without FROM is told, whose message comes by its topic.
const NO_FROM: &str =
    "without FROM only Basic Ingest reaches the rule: publish to $aws/rules/NAME, or below it";

/// The parts of a statement and their values for one message.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// The variables of SET, without `@`.
    pub variables: Vec<(String, Value)>,
    /// The value of WHERE; `None` for a statement without.
    pub condition: Option<Value>,
    /// The items of SELECT with the names they get, dotted where an alias is, `*` where members are copied; what is Undefined
    /// is left out of the output.
    pub items: Vec<(String, Value)>,
}

impl Statement {
    /// Evaluates every part, SELECT also where WHERE refuses.
    ///
    /// # Errors
    /// The failure that would end the rule.
    pub fn trial<'a>(
        &'a self,
        input: &'a Input<'a>,
        payload: &'a Payload,
        external: &'a mut dyn External,
    ) -> Result<Trial, Failure> {
        let parsed = self.parsed();
        let mut evaluation = Evaluation::new(self.version(), input, payload, Vec::new(), external);
        for assignment in &parsed.assignments {
            let value = evaluation.value(assignment, Scope::Message)?;
            evaluation.variables.push(value);
        }
        let condition = parsed.condition.as_ref();
        let condition = condition.map(|condition| evaluation.value(condition, Scope::Message)).transpose()?;
        let mut items = Vec::with_capacity(parsed.select.items.len());
        for item in &parsed.select.items {
            let name = match &item.name {
                Name::Splice => "*".to_owned(),
                Name::Path(path) => path.join("."),
            };
            items.push((name, evaluation.value(&item.expr, Scope::Message)?));
        }
        let variables = parsed.variables.iter().cloned().zip(evaluation.variables).collect();
        Ok(Trial { variables, condition, items })
    }
}

/// What comes of a message, for people who try a rule: `fleethaven sql test`, and the API's twin of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Whether FROM matches, or Basic Ingest reaches the rule.
    pub matches: bool,
    /// Whether the actions run.
    pub fires: bool,
    /// The parts of the statement.
    pub trial: Trial,
    /// The payload of the actions.
    pub output: Option<Bytes>,
    /// The field of an action.
    pub template: Option<String>,
    /// Why the rule ended.
    pub failure: Option<String>,
    /// What the statement's author should know.
    pub warnings: Vec<String>,
}

impl Report {
    /// Tries a statement, and a field of an action where one is given. No function asks anybody. `ingested`: the message came by
    /// Basic Ingest, and needs no FROM.
    pub fn of(
        statement: &Statement,
        template: Option<&Template>,
        input: &Input<'_>,
        payload: &Payload,
        ingested: bool,
    ) -> Self {
        let matches = statement.matches(input.topic) && (ingested || statement.topic_filter().is_some());
        let warning = |pattern: &String| {
            format!("the regular expression '{pattern}' cannot be used here: calls with it are Undefined")
        };
        let mut warnings: Vec<_> = statement.unusable_patterns().iter().map(warning).collect();
        if !matches && statement.topic_filter().is_none() {
            warnings.push(NO_FROM.to_owned());
        }
        let mut report = Self { matches, warnings, ..Self::default() };
        match statement.trial(input, payload, &mut NoExternal) {
            Ok(trial) => report.trial = trial,
            Err(failure) => report.failure = Some(failure.to_string()),
        }
        if !report.matches {
            return report;
        }
        match statement.evaluate(input, payload, &mut NoExternal) {
            Outcome::Fired(fired) => {
                report.fires = true;
                report.output = Some(fired.output.into_bytes());
                match template.map(|field| field.render(input, payload, &fired.variables, &mut NoExternal)) {
                    Some(Ok(text)) => report.template = Some(text),
                    Some(Err(failure)) => report.failure = Some(format!("the template: {failure}")),
                    None => {}
                }
            }
            Outcome::NotFired { .. } => report.failure = None,
            Outcome::Failed(failure) => report.failure = Some(failure.to_string()),
        }
        report
    }

    /// The parts of the statement with their names: variables, condition, items.
    pub fn parts(&self) -> [Vec<(String, Value)>; 3] {
        let Trial { variables, condition, items } = self.trial.clone();
        let variables = variables.into_iter().map(|(name, value)| (format!("@{name}"), value));
        let condition = condition.into_iter().map(|value| ("WHERE".to_owned(), value));
        [variables.collect(), condition.collect(), items]
    }

    /// The payload of the actions as a value where it is JSON, and else in base64.
    pub fn shown(&self) -> (Option<Value>, Option<String>) {
        let Some(output) = &self.output else { return (None, None) };
        let value = json::read(output);
        let base64 = value.is_none().then(|| STANDARD.encode(output));
        (value, base64)
    }

    /// For programs. What is Undefined is left out.
    pub fn document(&self) -> Value {
        let [variables, condition, items] = self.parts();
        let parts = |parts: Vec<_>| Value::array(parts.into_iter().map(part).collect());
        let text = |text: &Option<String>| text.as_deref().map(Value::from).unwrap_or_default();
        let (output, base64) = self.shown();
        let warnings: Vec<_> = self.warnings.iter().map(|warning| warning.as_str().into()).collect();
        let warnings = if warnings.is_empty() { Value::Undefined } else { Value::array(warnings) };
        object([
            ("matches", self.matches.into()),
            ("fires", self.fires.into()),
            ("variables", parts(variables)),
            ("where", condition.into_iter().next().map(part).unwrap_or_default()),
            ("items", parts(items)),
            ("output", output.unwrap_or_default()),
            ("outputBase64", text(&base64)),
            ("template", text(&self.template)),
            ("failure", text(&self.failure)),
            ("warnings", warnings),
        ])
    }
}

impl Error {
    /// What CreateTopicRule would answer, with the place in the text, for programs.
    pub fn document(&self) -> Value {
        let place = |number: u32| Value::Int(i128::from(number));
        let error = object([
            ("code", "SqlParseException".into()),
            ("line", place(self.line)),
            ("column", place(self.column)),
            ("found", self.found.as_str().into()),
            ("expected", self.expected.as_str().into()),
            ("message", self.to_string().as_str().into()),
        ]);
        object([("error", error)])
    }
}

/// A part with its name, its type and its value, which Undefined has not.
fn part((name, value): (String, Value)) -> Value {
    object([("name", name.as_str().into()), ("type", value.type_name().into()), ("value", value)])
}

fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::object(Object::from_iter(members.map(|(name, value)| (name.into(), value))))
}
