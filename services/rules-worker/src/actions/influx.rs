//! `influxDB`: each message, or each element of an array, is a point (rules-actions.md 5.13).
//!
//! - `line`: the line protocol

mod line;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::traces::Begun;
use fleethaven_outbound::{Limits, OutboundError};
use fleethaven_registry::shapes::Connection;
use fleethaven_rulesql::Template;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::batches::{Batches, Defaults, Item};
use super::{Action, Error, Fields, Invocation, Member};
use crate::connections::Connected;
use crate::lanes::Key;
use crate::outside::Outside;
use crate::retry::Policy;

use line::{Tag, Unit};

const KIND: &str = "influxDB";
const LIMITS: Limits = Limits { deadline: Duration::from_secs(5), max_response: 64 << 10 };
const DEFAULTS: Defaults = Defaults { open: 20, size: 500, bytes: 131_072 };
/// Most points of one message.
const MAX_POINTS: usize = 500;
/// Longest measurement in characters.
const MAX_TABLE: usize = 1024;

/// Which API a server has: an option of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
    V3,
}

/// An influxDB action with its templates parsed.
pub(super) struct Influx {
    /// What stands for the connection in rules.
    destination: String,
    database: Template,
    table: Template,
    organization: Option<Template>,
    tags: Vec<(Template, Tag)>,
    unit: Unit,
    batches: Option<Batches<Points>>,
}

/// Lines for a request.
struct Points {
    lines: String,
    count: usize,
}

impl Item for Points {
    fn bytes(&self) -> usize {
        self.lines.len()
    }

    fn count(&self) -> usize {
        self.count
    }
}

impl Influx {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let tags = fields.settings.get("tags").and_then(Value::as_object);
        let tag = |(name, value): (&String, &Value)| {
            let value = value.as_str().unwrap_or_default();
            let value = match line::of_element(value) {
                Some(path) => Tag::OfElement(path),
                None => Tag::Template(fields.parse(value)?),
            };
            Ok((fields.parse(name)?, value))
        };
        let batched = fields.settings.get("batchConfig").is_some_and(Value::is_object);
        Ok(Self {
            destination: fields.text("destinationArn")?.to_owned(),
            database: fields.template("databaseName")?,
            table: fields.template("tableName")?,
            organization: fields.template_if_given("organization")?,
            tags: tags.into_iter().flatten().map(tag).collect::<Result<_, String>>()?,
            unit: Unit::of(fields.text_if_given("timestampUnit").unwrap_or("ms"))?,
            batches: batched.then(|| Batches::new(fields.settings, &DEFAULTS)),
        })
    }

    /// The points of a message as lines.
    fn points(&self, invocation: &Invocation<'_>, table: &str) -> Result<Points, Error> {
        let refused = |reason: String| Error::permanent(table, reason);
        if table.starts_with('_') || table.chars().count() > MAX_TABLE {
            return Err(refused(format!(
                "tableName has at most {MAX_TABLE} characters and begins with no _"
            )));
        }
        let mut tags = Vec::with_capacity(self.tags.len());
        for (name, tag) in &self.tags {
            let name = invocation.text(name, "the name of a tag", table)?;
            let value = match tag {
                Tag::Template(template) => line::Value::Text(invocation.possibly_empty(template, table)?),
                Tag::OfElement(path) => line::Value::OfElement(path),
            };
            tags.push((name, value));
        }
        let payload = serde_json::from_slice(&invocation.payload);
        let elements = match payload.map_err(|_| refused("the payload is no JSON".to_owned()))? {
            Value::Array(elements) => elements,
            single => vec![single],
        };
        if elements.is_empty() || elements.len() > MAX_POINTS {
            return Err(refused(format!("a message has 1 to {MAX_POINTS} points, not {}", elements.len())));
        }
        // The document of an error action brings no time.
        let now = invocation.of_error().then(|| self.unit.of_milliseconds(invocation.now.as_millis()));
        let mut lines = String::new();
        for element in &elements {
            if !lines.is_empty() {
                lines.push('\n');
            }
            line::write(&mut lines, table, &tags, element, now).map_err(refused)?;
        }
        Ok(Points { lines, count: elements.len() })
    }

    fn call(&self, invocation: &Invocation<'_>, table: &str) -> Result<Call, Error> {
        let connected = invocation.connected(KIND, &self.destination, table)?;
        let database = invocation.text(&self.database, "databaseName", table)?;
        let organization = invocation.optional(self.organization.as_ref(), table)?;
        let (version, connection) = (version(&connected.connection), &connected.connection);
        if version == Version::V2 && organization.is_none() {
            return Err(Error::permanent(table, "InfluxDB 2 needs an organization"));
        }
        let url = url(version, connection, &database, organization.as_deref(), self.unit);
        let key = Key { account: invocation.scope.account, kind: KIND, target: connected.name.clone() };
        Ok(Call { connected, url, key, table: table.to_owned() })
    }
}

impl Action for Influx {
    fn name(&self) -> &'static str {
        "InfluxDBAction"
    }

    fn kind(&self) -> &str {
        KIND
    }

    /// Batches are tried again as a whole, by themselves.
    fn policy(&self) -> Policy {
        match self.batches {
            Some(_) => Policy { tries: 1, ..Policy::DEFAULT },
            None => Policy::DEFAULT,
        }
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let table = invocation.text(&self.table, "tableName", KIND)?;
            let points = self.points(invocation, &table)?;
            let call = self.call(invocation, &table)?;
            let Some(batches) = &self.batches else {
                return call.once(invocation.outside, points.lines.into(), invocation.span).await;
            };
            let kind = batches.kind(&call.url, invocation.input.topic);
            let outside = invocation.outside.clone();
            let send = move |batch: Vec<Points>| {
                let lines: Vec<_> = batch.into_iter().map(|points| points.lines).collect();
                call.repeated(outside, lines.join("\n").into())
            };
            let member = Member::of(invocation.message, invocation.input);
            batches.join(kind, (points, member), send).await
        })
    }
}

/// A request that can be made again.
struct Call {
    connected: Arc<Connected>,
    url: String,
    key: Key,
    table: String,
}

impl Call {
    /// One try; `span` is the step that it is part of, where that is one message's.
    async fn once(&self, outside: &Outside, lines: Bytes, span: Option<&Begun>) -> Result<(), Error> {
        let failed = |reason: String, transient| {
            let message = format!("Failed to write to InfluxDB. The error received was {reason}");
            Error { transient, ..Error::permanent(self.table.as_str(), message) }
        };
        let request = request(&self.url, &self.connected.connection, lines);
        let request = request.map_err(|reason| failed(reason, false))?;
        let exchange = async {
            let http = self.connected.http(&outside.http).map_err(|reason| failed(reason, false))?;
            match http.send(request, LIMITS).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    Err(failed(told(status, answer.body()), transient))
                }
                Err(error) => {
                    let transient = error.is_transient() && !matches!(error, OutboundError::Refused(_));
                    Err(failed(error.to_string(), transient))
                }
            }
        };
        outside.lanes.through(&self.key, &self.table, span, exchange).await
    }

    /// As all actions are tried again, for what no rule waits for alone.
    async fn repeated(self, outside: Arc<Outside>, lines: Bytes) -> Result<(), Error> {
        let begun = tokio::time::Instant::now();
        for failures in 1.. {
            let error = match self.once(&outside, lines.clone(), None).await {
                Err(error) if error.transient => error,
                settled => return settled,
            };
            let dice = uuid::Uuid::new_v4().as_u64_pair().1;
            let pause = Policy::DEFAULT.pause(failures, begun.elapsed(), dice);
            tokio::time::sleep(pause.ok_or(error)?).await;
        }
        Ok(())
    }
}

/// The first that a server says about an error: all versions have a member for it.
fn told(status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = ["message", "error"].into_iter().find_map(|name| body.get(name)?.as_str());
    match text {
        Some(text) => format!("{}: {text}", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    }
}

/// `V2` unless the connection says otherwise.
fn version(connection: &Connection) -> Version {
    match connection.options.get("version").map(String::as_str) {
        Some("V1") => Version::V1,
        Some("V3") => Version::V3,
        _ => Version::V2,
    }
}

fn url(
    version: Version,
    connection: &Connection,
    database: &str,
    organization: Option<&str>,
    unit: Unit,
) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let base = connection.endpoint.as_deref().unwrap_or_default().trim_end_matches('/');
    let (database, precision) = (encoded(database), unit.precision(version));
    match version {
        Version::V1 => format!("{base}/write?db={database}&precision={precision}"),
        Version::V2 => {
            let organization = encoded(organization.unwrap_or_default());
            format!("{base}/api/v2/write?org={organization}&bucket={database}&precision={precision}")
        }
        Version::V3 => format!("{base}/api/v3/write_lp?db={database}&precision={precision}"),
    }
}

fn request(url: &str, connection: &Connection, lines: Bytes) -> Result<Request<Bytes>, String> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(key) = &connection.credentials {
        let text = match version(connection) {
            Version::V1 => format!("Basic {}", STANDARD.encode(format!("{}:{}", key.id, key.secret.0))),
            Version::V2 => format!("Token {}", key.secret.0),
            Version::V3 => format!("Bearer {}", key.secret.0),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| "the secret cannot be sent".to_owned())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(lines).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_address_and_its_header() {
        let connection = |version: &str| Connection {
            kind: KIND.to_owned(),
            endpoint: Some("https://influx.example.com/".to_owned()),
            region: None,
            credentials: None,
            roles: vec!["*".to_owned()],
            rules: vec!["*".to_owned()],
            options: [("version".to_owned(), version.to_owned())].into(),
            tls: Default::default(),
        };
        let url = |name: &str| {
            let connection = connection(name);
            url(version(&connection), &connection, "a b", Some("o"), Unit::Milliseconds)
        };
        assert_eq!(url("V1"), "https://influx.example.com/write?db=a%20b&precision=ms");
        assert_eq!(url("V2"), "https://influx.example.com/api/v2/write?org=o&bucket=a%20b&precision=ms");
        assert_eq!(url("V3"), "https://influx.example.com/api/v3/write_lp?db=a%20b&precision=millisecond");
    }
}
