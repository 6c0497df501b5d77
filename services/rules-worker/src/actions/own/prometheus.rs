//! `prometheusRemoteWrite`: each message is a sample of a series (Prometheus remote write 1.0: protobuf in snappy's block format).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use prost::Message;

use super::target::Target;
use super::{Action, Error, Invocation, Settings, rendered, web};
use crate::actions::group::Group;
use crate::connections::Connected;

/// Most samples of one request.
const MOST: usize = 500;
const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `prometheus.Sample`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// The labels of a series, by name; the metric's name is one.
type Series = BTreeMap<String, String>;
type Point = (Series, Sample);

/// A prometheusRemoteWrite action with its templates parsed.
pub(super) struct RemoteWrite {
    target: Target,
    metric: Template,
    value: Template,
    timestamp: Option<Template>,
    labels: Vec<(String, Template)>,
}

impl RemoteWrite {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let labels = settings.map()?;
        if let Some((name, _)) = labels.iter().find(|(name, _)| !web::is_name(name, false)) {
            return Err(format!("'{name}' is no name of a label"));
        }
        Ok(Self {
            target: settings.target(),
            metric: settings.template("metric")?,
            value: settings.template("value")?,
            timestamp: settings.template_if_given("timestamp")?,
            labels,
        })
    }

    fn point(&self, invocation: &Invocation<'_>) -> Result<Point, Error> {
        let metric = invocation.text(&self.metric, "metric", &self.target.connection)?;
        let wrong = |what: &str| Error::permanent(metric.as_str(), what.to_owned());
        if !web::is_name(&metric, true) {
            return Err(wrong("this is no name of a metric"));
        }
        let value = invocation.text(&self.value, "value", &metric)?;
        let value = value.trim().parse().map_err(|_| wrong("value is no number"))?;
        let timestamp = match invocation.optional(self.timestamp.as_ref(), &metric)? {
            Some(text) => {
                text.trim().parse().map_err(|_| wrong("timestamp is no whole number of milliseconds"))?
            }
            None => i64::try_from(invocation.message.received_at.as_millis()).unwrap_or(i64::MAX),
        };
        let mut series: Series = rendered(&self.labels, invocation, &metric)?.into_iter().collect();
        // A label without a value is the same as none.
        series.retain(|_, value| !value.is_empty());
        series.insert("__name__".to_owned(), metric);
        Ok((series, Sample { value, timestamp }))
    }

    /// Posts samples. When a batch is refused, nobody says for which: then each goes alone.
    async fn send(
        &self,
        invocation: &Invocation<'_>,
        connected: &Connected,
        points: Vec<Point>,
    ) -> Vec<Result<(), Error>> {
        let resource = self.target.connection.as_str();
        let post = |points: &[Point]| {
            let body = body(points);
            let sent = web::post(invocation.outside, connected, "", &HEADERS, body);
            self.target.in_lane(invocation, resource, sent)
        };
        match post(&points).await {
            Err(error) if !error.transient && points.len() > 1 => {
                let mut outcomes = Vec::with_capacity(points.len());
                for point in points {
                    outcomes.push(post(&[point]).await);
                }
                outcomes
            }
            outcome => vec![outcome; points.len()],
        }
    }
}

impl Action for RemoteWrite {
    fn name(&self) -> &'static str {
        "PrometheusRemoteWriteAction"
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let point = self.point(invocation)?;
            let resource = self.target.connection.as_str();
            let connected = self.target.connected(invocation, resource)?;
            let group = connected.client::<Arc<Group<Point>>>("", Arc::default);
            let send = |points: Vec<Point>| self.send(invocation, &connected, points);
            group.join(point, MOST, resource, send).await
        })
    }
}

/// The samples by their series, in the order of time, as Prometheus asks for.
fn body(points: &[Point]) -> Bytes {
    let mut all: BTreeMap<&Series, Vec<Sample>> = BTreeMap::new();
    for (series, sample) in points {
        all.entry(series).or_default().push(*sample);
    }
    let timeseries = all.into_iter().map(|(series, mut samples)| {
        samples.sort_by_key(|sample| sample.timestamp);
        let label = |(name, value): (&String, &String)| Label { name: name.clone(), value: value.clone() };
        TimeSeries { labels: series.iter().map(label).collect(), samples }
    });
    let request = WriteRequest { timeseries: timeseries.collect() };
    let compressed = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
    // Only a request of 4 GiB and more cannot be compressed.
    compressed.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_series_are_in_the_order_of_time_and_labels_in_that_of_names() {
        let point = |site: &str, timestamp, value| {
            let series = [("site", site), ("__name__", "t"), ("area", "x")];
            let series = series.map(|(name, value)| (name.to_owned(), value.to_owned()));
            (Series::from(series), Sample { value, timestamp })
        };
        let body = body(&[point("a", 2, 2.0), point("b", 1, 3.0), point("a", 1, 1.0)]);
        let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let request = WriteRequest::decode(plain.as_slice()).unwrap();
        let names: Vec<_> = request.timeseries[0].labels.iter().map(|label| label.name.as_str()).collect();
        assert_eq!(names, ["__name__", "area", "site"]);
        let values: Vec<Vec<_>> = request
            .timeseries
            .iter()
            .map(|series| series.samples.iter().map(|sample| (sample.timestamp, sample.value)).collect())
            .collect();
        assert_eq!(values, [vec![(1, 1.0), (2, 2.0)], vec![(1, 3.0)]]);
    }
}
