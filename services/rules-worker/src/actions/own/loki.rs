//! `lokiPush`: each message is a line of a log stream in Loki (`POST /loki/api/v1/push`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::{Value, json};

use super::target::Target;
use super::{Action, Error, Invocation, Settings, rendered, web};
use crate::actions::group::Group;

const PUSH: &str = "/loki/api/v1/push";
/// Most lines of one request.
const MOST: usize = 500;

/// A lokiPush action with its templates parsed.
pub(super) struct Push {
    target: Target,
    labels: Vec<(String, Template)>,
}

/// Labels by name.
type Labels = BTreeMap<String, String>;

/// A line of a stream.
#[derive(Clone)]
struct Line {
    labels: Labels,
    /// Nanoseconds since 1970.
    at: u128,
    text: String,
}

impl Push {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let labels = settings.map()?;
        match labels.iter().find(|(name, _)| !web::is_name(name, false)) {
            Some((name, _)) => Err(format!("'{name}' is no name of a label")),
            None => Ok(Self { target: settings.target(), labels }),
        }
    }

    fn line(&self, invocation: &Invocation<'_>, resource: &str) -> Result<Line, Error> {
        let mut labels = Labels::from([("rule".to_owned(), invocation.input.rule_name.to_owned())]);
        labels.extend(rendered(&self.labels, invocation, resource)?);
        labels.retain(|_, value| !value.is_empty());
        let text = String::from_utf8(invocation.payload.to_vec())
            .map_err(|_| Error::permanent(resource, "the payload is no text"))?;
        Ok(Line { labels, at: u128::from(invocation.message.received_at.as_millis()) * 1_000_000, text })
    }
}

impl Action for Push {
    fn name(&self) -> &'static str {
        "LokiPushAction"
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let resource = self.target.connection.as_str();
            let line = self.line(invocation, resource)?;
            let connected = self.target.connected(invocation, resource)?;
            let group = connected.client::<Arc<Group<Line>>>("", Arc::default);
            let send = |lines: Vec<Line>| {
                let connected = &connected;
                async move {
                    let count = lines.len();
                    let headers = [("content-type", "application/json")];
                    let sent = web::post(invocation.outside, connected, PUSH, &headers, body(lines));
                    vec![self.target.in_lane(invocation, resource, sent).await; count]
                }
            };
            group.join(line, MOST, resource, send).await
        })
    }
}

/// The lines by their streams.
fn body(lines: Vec<Line>) -> Bytes {
    let mut streams: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    for Line { labels, at, text } in lines {
        streams.entry(labels).or_default().push(json!([at.to_string(), text]));
    }
    let streams: Vec<_> =
        streams.into_iter().map(|(labels, values)| json!({"stream": labels, "values": values})).collect();
    json!({ "streams": streams }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_the_same_labels_are_one_stream() {
        let line = |site: &str, at, text: &str| Line {
            labels: Labels::from([("site".to_owned(), site.to_owned())]),
            at,
            text: text.to_owned(),
        };
        let body = body(vec![line("a", 1, "x"), line("b", 2, "y"), line("a", 3, "z")]);
        let expected = json!({"streams": [
            {"stream": {"site": "a"}, "values": [["1", "x"], ["3", "z"]]},
            {"stream": {"site": "b"}, "values": [["2", "y"]]},
        ]});
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}
