//! `fleethaven sql test`: one statement and one message.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_daemon::clock;
use fleethaven_rulesql::{
    Error, Input, NoExternal, Object, Outcome, Payload, SqlVersion, Statement, Template, Trial, Value,
    Variables, json,
};
use fleethaven_topics::name;

use super::{FAILED, print, random, unusable};
use crate::cli::SqlTestArgs;

/// What came of the message.
#[derive(Default)]
struct Report {
    /// Whether FROM matches, or Basic Ingest reaches the rule.
    matches: bool,
    /// Whether the actions run.
    fires: bool,
    /// The parts of the statement.
    trial: Trial,
    /// The payload of the actions.
    output: Option<Bytes>,
    /// The field of an action.
    template: Option<String>,
    /// Why the rule ended.
    failure: Option<String>,
}

pub(super) fn run(arguments: &SqlTestArgs) -> Result<ExitCode> {
    let version: SqlVersion = match arguments.sql_version.parse() {
        Ok(version) => version,
        Err(error) => return unusable(error),
    };
    let payload = match payload(arguments) {
        Ok(payload) => payload,
        Err(reason) => return unusable(reason),
    };
    let statement = match Statement::parse(&arguments.sql, version) {
        Ok(statement) => statement,
        Err(error) => return refused(&arguments.sql, &error, arguments.json),
    };
    let template = arguments.template.as_ref().map(|text| statement.template(text)).transpose();
    let template = match template {
        Ok(template) => template,
        Err(error) => {
            return refused(arguments.template.as_deref().unwrap_or_default(), &error, arguments.json);
        }
    };
    let report = evaluated(arguments, &statement, template.as_ref(), &payload);
    let text = if arguments.json { json::write(&report.document(), false)? + "\n" } else { report.told() };
    print(&text)?;
    Ok(if report.failure.is_some() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn payload(arguments: &SqlTestArgs) -> Result<Payload, String> {
    let bytes = if let Some(text) = &arguments.payload {
        text.clone().into()
    } else if let Some(text) = &arguments.payload_base64 {
        STANDARD.decode(text).map_err(|error| format!("--payload-base64: {error}"))?.into()
    } else if let Some(file) = &arguments.payload_file {
        fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?.into()
    } else {
        Bytes::new()
    };
    Ok(Payload::new(bytes))
}

/// What CreateTopicRule would answer, with the place in the text.
fn refused(text: &str, error: &Error, as_json: bool) -> Result<ExitCode> {
    if as_json {
        let place = |number: u32| Value::Int(i128::from(number));
        let error = object([
            ("code", "SqlParseException".into()),
            ("line", place(error.line)),
            ("column", place(error.column)),
            ("found", error.found.as_str().into()),
            ("expected", error.expected.as_str().into()),
            ("message", error.to_string().as_str().into()),
        ]);
        print(&(json::write(&object([("error", error)]), false)? + "\n"))?;
    } else {
        let line = text.lines().nth(place(error.line)).unwrap_or_default();
        let mark = " ".repeat(place(error.column));
        print(&format!("SqlParseException: {error}\n  {line}\n  {mark}^\n"))?;
    }
    Ok(ExitCode::from(FAILED))
}

/// A line or column, from 0.
fn place(from_one: u32) -> usize {
    usize::try_from(from_one).unwrap_or_default().saturating_sub(1)
}

fn evaluated(
    arguments: &SqlTestArgs,
    statement: &Statement,
    template: Option<&Template>,
    payload: &Payload,
) -> Report {
    let ingest = name::basic_ingest(&arguments.topic);
    let (rule, topic) = ingest.map_or(("test", arguments.topic.as_str()), |(rule, topic)| (rule, topic));
    let input = Input {
        topic,
        client_id: arguments.client_id.as_deref(),
        principal: arguments.principal.as_deref(),
        source_ip: arguments.source_ip.as_deref(),
        trace_id: arguments.trace_id.as_deref(),
        account_id: &arguments.account_id,
        rule_name: rule,
        now_ms: arguments.now.unwrap_or_else(|| i64::try_from(clock::now().as_millis()).unwrap_or(i64::MAX)),
        properties: None,
        random: &random,
    };
    let mut report = Report { matches: statement.matches(topic), ..Report::default() };
    report.matches &= ingest.is_some() || statement.topic_filter().is_some();
    match statement.trial(&input, payload, &mut NoExternal) {
        Ok(trial) => report.trial = trial,
        Err(failure) => report.failure = Some(failure.to_string()),
    }
    if !report.matches {
        return report;
    }
    match statement.evaluate(&input, payload, &mut NoExternal) {
        Outcome::Fired(fired) => {
            report.fires = true;
            report.output = Some(fired.output.into_bytes());
            if let Some(template) = template {
                report.render(template, &input, payload, &fired.variables);
            }
        }
        Outcome::NotFired { .. } => report.failure = None,
        Outcome::Failed(failure) => report.failure = Some(failure.to_string()),
    }
    report
}

fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::object(Object::from_iter(members.map(|(name, value)| (name.into(), value))))
}

/// A part with its name, its type and its value, which Undefined has not.
fn part((name, value): (String, Value)) -> Value {
    object([("name", name.as_str().into()), ("type", value.type_name().into()), ("value", value)])
}

impl Report {
    fn render(&mut self, template: &Template, input: &Input<'_>, payload: &Payload, variables: &Variables) {
        match template.render(input, payload, variables, &mut NoExternal) {
            Ok(text) => self.template = Some(text),
            Err(failure) => self.failure = Some(format!("the template: {failure}")),
        }
    }

    /// The parts of the statement: variables, condition, items.
    fn parts(&self) -> [Vec<(String, Value)>; 3] {
        let Trial { variables, condition, items } = self.trial.clone();
        let variables = variables.into_iter().map(|(name, value)| (format!("@{name}"), value));
        let condition = condition.into_iter().map(|value| ("WHERE".to_owned(), value));
        [variables.collect(), condition.collect(), items]
    }

    /// The payload of the actions as a value where it is JSON, and else in base64.
    fn output(&self) -> (Option<Value>, Option<String>) {
        let Some(output) = &self.output else { return (None, None) };
        let value = json::read(output);
        let base64 = value.is_none().then(|| STANDARD.encode(output));
        (value, base64)
    }

    /// For programs. What is Undefined is left out.
    fn document(&self) -> Value {
        let [variables, condition, items] = self.parts();
        let parts = |parts: Vec<_>| Value::array(parts.into_iter().map(part).collect());
        let text = |text: &Option<String>| text.as_deref().map(Value::from).unwrap_or_default();
        let (output, base64) = self.output();
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
        ])
    }

    /// For people: a line for each part, then the decision.
    fn told(&self) -> String {
        let mut text = String::new();
        let shown = |value: &Value| json::write(value, false).unwrap_or_else(|error| error.to_string());
        for (name, value) in self.parts().into_iter().flatten() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<16} {:<9} {}", value.type_name(), shown(&value));
        }
        let decision = match (&self.failure, self.matches, self.fires) {
            (Some(failure), ..) => format!("fails: {failure}"),
            (None, false, _) => "does not fire: the topic does not match".to_owned(),
            (None, true, false) => "does not fire: WHERE is not true".to_owned(),
            (None, true, true) => "fires".to_owned(),
        };
        let _ = writeln!(text, "the rule {decision}");
        match self.output() {
            (Some(output), _) => {
                let _ = writeln!(text, "{:<16} {}", "output", shown(&output));
            }
            (None, Some(base64)) => {
                let _ = writeln!(text, "{:<16} {base64}", "output (base64)");
            }
            (None, None) => {}
        }
        if let Some(template) = &self.template {
            let _ = writeln!(text, "{:<16} {template}", "template");
        }
        text
    }
}
