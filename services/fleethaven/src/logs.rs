//! AWS's log entries of this process, and `fleethaven logs`.

use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_logging::{Bounds, Entry, Filter, LogLevel, Logs, MOST, Options, Place, Position};
use prometheus::Registry;
use serde_json::{Map, Value};

use crate::ask;
use crate::audit::moment;
use crate::cli::{IotLogArg, IotLogArgs, LevelArg, LogsArgs};
use crate::operators::{Line, Request, lines};
use crate::process::print_text;

/// The longest line of standard input that is looked at as one.
const LINE: u64 = 1 << 20;
/// How often `--follow` looks for more.
const EVERY: Duration = Duration::from_millis(500);

/// Opens the place where entries are kept, where there is one.
pub(crate) fn open(arguments: &IotLogArgs, default: Option<PathBuf>, registry: &Registry) -> Result<Logs> {
    let place = match arguments.iot_log {
        IotLogArg::Off => return Ok(Logs::off()),
        IotLogArg::Stderr => Place::Stream(Box::new(std::io::stderr())),
        IotLogArg::Dir => {
            let Some(dir) = arguments.iot_log_dir.clone().or(default) else { return Ok(Logs::off()) };
            let bounds = Bounds {
                bytes: u64::from(arguments.iot_log_max_size) << 20,
                age: Duration::from_secs(u64::from(arguments.iot_log_max_age) * 24 * 60 * 60),
            };
            Place::Folder(dir, bounds)
        }
    };
    let options = Options { place, rate: arguments.iot_log_rate, clock: clock::now };
    Logs::open(options, registry).context("cannot keep log entries (--iot-log-dir)")
}

/// `fleethaven logs`.
pub(crate) async fn run(arguments: LogsArgs) -> Result<()> {
    if arguments.place.cluster_tls.is_some() {
        bail!(
            "each process of a cluster keeps log entries of its own: name its --admin, or an --iot-log-dir"
        );
    }
    let mut filter = filter(&arguments)?;
    if arguments.stdin {
        return piped(&filter, arguments.place.json);
    }
    // Nothing that is written from now on is left out, however late it is looked for.
    let begun = clock::now().as_millis();
    loop {
        let told = answer(&arguments, &filter).await?;
        print_text(&if arguments.place.json { told.clone() } else { readable(&told)? })?;
        if !arguments.follow {
            return Ok(());
        }
        match last(&told) {
            Some(id) => filter.after = Some(id),
            None if filter.after.is_none() => filter.since = Some(filter.since.unwrap_or(0).max(begun)),
            None => {}
        }
        filter.limit = Some(MOST);
        tokio::time::sleep(EVERY).await;
    }
}

/// Prints the entries that standard input holds, as they come.
fn piped(filter: &Filter, json: bool) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while (&mut input).take(LINE).read_until(b'\n', &mut line).context("cannot read standard input")? > 0 {
        if let Some(entry) = filter.entry_in(&String::from_utf8_lossy(&line)) {
            let told = serde_json::to_string(&entry)? + "\n";
            print_text(&if json { told } else { readable(&told)? })?;
        }
        line.clear();
    }
    Ok(())
}

async fn answer(arguments: &LogsArgs, filter: &Filter) -> Result<String> {
    match &arguments.iot_log_dir {
        Some(dir) => {
            let found = fleethaven_logging::read(dir, filter);
            let found = found.with_context(|| format!("cannot read the log entries in {}", dir.display()))?;
            lines(&told(found))
        }
        None => ask::answer(&arguments.place, Request::Logs { filter: Box::new(filter.clone()) }).await,
    }
}

/// The id of the last entry of an answer.
fn last(answer: &str) -> Option<String> {
    let last: Value = serde_json::from_str(answer.lines().last()?).ok()?;
    Some(last.get("id")?.as_str()?.to_owned())
}

/// The lines of an answer.
pub(crate) fn told(found: Vec<(Position, Entry)>) -> Vec<Line> {
    let line =
        |(position, entry): (Position, Entry)| Line::Log { id: position.to_string(), entry: Box::new(entry) };
    found.into_iter().map(line).collect()
}

/// An answer for people: when, how important, what, whom it is about, how it ended; then what is left, by name.
fn readable(answer: &str) -> Result<String> {
    let mut text = String::new();
    for line in answer.lines() {
        let mut entry: Map<String, Value> = serde_json::from_str(line)?;
        let mut take = |name: &str| match entry.shift_remove(name) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => "-".to_owned(),
        };
        let head = ["timestamp", "logLevel", "eventType", "clientId", "status"].map(&mut take);
        text += &head.join("  ");
        for hidden in ["id", "accountId", "region"] {
            take(hidden);
        }
        for (name, value) in entry {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text += &format!("  {name}={value}");
        }
        text.push('\n');
    }
    Ok(text)
}

fn filter(arguments: &LogsArgs) -> Result<Filter> {
    Ok(Filter {
        account: arguments.account.map(|account| account.to_string()),
        client_id: arguments.client_id.clone(),
        principal: arguments.principal.clone(),
        events: arguments.event.clone(),
        level: arguments.level.map(|level| match level {
            LevelArg::Error => LogLevel::Error,
            LevelArg::Warn => LogLevel::Warn,
            LevelArg::Info => LogLevel::Info,
            LevelArg::Debug => LogLevel::Debug,
        }),
        topic: arguments.topic.clone(),
        source_ip: arguments.source_ip,
        rule: arguments.rule.clone(),
        trace_id: arguments.trace_id.clone(),
        log_group: arguments.log_group.clone(),
        since: arguments.since.as_deref().map(moment).transpose()?,
        until: arguments.until.as_deref().map(moment).transpose()?,
        after: None,
        limit: Some(arguments.limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_matters_first() {
        let line = concat!(
            r#"{"id":"1-2","timestamp":"2026-01-31 12:00:00.000","logLevel":"ERROR","traceId":"t","#,
            r#""accountId":"123456789012","status":"Failure","eventType":"Publish-In","clientId":"a","#,
            r#""topicName":"a/b","reason":"AUTHORIZATION_FAILURE","region":"r"}"#,
            "\n"
        );
        assert_eq!(
            readable(line).unwrap(),
            "2026-01-31 12:00:00.000  ERROR  Publish-In  a  Failure  traceId=t  topicName=a/b  reason=AUTHORIZATION_FAILURE\n"
        );
        assert_eq!(last(line).as_deref(), Some("1-2"));
        assert_eq!(last(""), None);
    }
}
