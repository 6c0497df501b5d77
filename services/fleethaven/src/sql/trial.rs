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
    Error, Input, MqttProperties, Payload, Report, SqlVersion, Statement, Template, Value, json,
};
use fleethaven_topics::name;

use super::{FAILED, print, random, unusable};
use crate::cli::SqlTestArgs;

/// So many characters before and after the place of a fault are shown.
const AROUND: usize = 50;

pub(super) fn run(arguments: &SqlTestArgs) -> Result<ExitCode> {
    let version: SqlVersion = match arguments.sql_version.parse() {
        Ok(version) => version,
        Err(error) => return unusable(error),
    };
    let payload = match payload(arguments) {
        Ok(payload) => payload,
        Err(reason) => return unusable(reason),
    };
    let properties = match arguments.mqtt_properties.as_deref().map(MqttProperties::read).transpose() {
        Ok(properties) => properties,
        Err(reason) => return unusable(format_args!("--mqtt-properties: {reason}")),
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
    let report = evaluated(arguments, &statement, template.as_ref(), (&payload, properties.as_ref()));
    let text = match arguments.json {
        true => json::write(&report.document(), false)? + "\n",
        false => told(&report, statement.topic_filter().is_some()),
    };
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
        print(&(json::write(&error.document(), false)? + "\n"))?;
    } else {
        let (excerpt, mark) =
            excerpt(text.lines().nth(place(error.line)).unwrap_or_default(), place(error.column));
        print(&format!("SqlParseException: {error}\n  {excerpt}\n  {mark}^\n"))?;
    }
    Ok(ExitCode::from(FAILED))
}

/// What stands around a column of a line, and what leads to the column below it.
fn excerpt(line: &str, column: usize) -> (String, String) {
    let start = column.saturating_sub(AROUND);
    let mut rest = line.chars().skip(start);
    let mut excerpt = if start > 0 { "…".to_owned() } else { String::new() };
    let mark = " ".repeat(column - start + usize::from(start > 0));
    excerpt.extend(rest.by_ref().take(2 * AROUND));
    excerpt.extend(rest.next().map(|_| '…'));
    (excerpt, mark)
}

/// A line or column, from 0.
fn place(from_one: u32) -> usize {
    usize::try_from(from_one).unwrap_or_default().saturating_sub(1)
}

fn evaluated(
    arguments: &SqlTestArgs,
    statement: &Statement,
    template: Option<&Template>,
    (payload, properties): (&Payload, Option<&MqttProperties>),
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
        properties,
        random: &random,
    };
    Report::of(statement, template, &input, payload, ingest.is_some())
}

/// For people: a line for each part, then the decision.
fn told(report: &Report, has_from: bool) -> String {
    let mut text = String::new();
    let shown = |value: &Value| json::write(value, false).unwrap_or_else(|error| error.to_string());
    for (name, value) in report.parts().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<16} {:<9} {}", value.type_name(), shown(&value));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let decision = match (&report.failure, report.matches, report.fires) {
        (Some(failure), ..) => format!("fails: {failure}"),
        (None, false, _) if has_from => "does not fire: the topic does not match".to_owned(),
        (None, false, _) => "does not fire: it has no FROM".to_owned(),
        (None, true, false) => "does not fire: WHERE is not true".to_owned(),
        (None, true, true) => "fires".to_owned(),
    };
    let _ = writeln!(text, "the rule {decision}");
    match report.shown() {
        (Some(output), _) => {
            let _ = writeln!(text, "{:<16} {}", "output", shown(&output));
        }
        (None, Some(base64)) => {
            let _ = writeln!(text, "{:<16} {base64}", "output (base64)");
        }
        (None, None) => {}
    }
    if let Some(template) = &report.template {
        let _ = writeln!(text, "{:<16} {template}", "template");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_the_place() {
        assert_eq!(excerpt("SELECT", 2), ("SELECT".to_owned(), "  ".to_owned()));
        assert_eq!(excerpt("", 0), (String::new(), String::new()));
        let line = format!("{}x{}", "ä".repeat(70), "b".repeat(70));
        let (shown, mark) = excerpt(&line, 70);
        assert_eq!(shown, format!("…{}x{}…", "ä".repeat(50), "b".repeat(49)));
        assert_eq!(shown.chars().nth(mark.len()), Some('x'));
    }
}
