//! `timestream`: each member of the result is a measure of a table (rules-actions.md 5.12).

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::json::{self, Operation, text};
use super::{Action, Error, Fields, Invocation, Service};

const KIND: &str = "timestream";
const WRITE: Operation = operation("Timestream_20181101.WriteRecords");
const DESCRIBE: Operation = operation("Timestream_20181101.DescribeEndpoints");
/// Most measures of one message.
const MAX_RECORDS: usize = 100;
/// Most bytes of a value.
const MAX_VALUE: usize = 2048;

const fn operation(target: &'static str) -> Operation {
    Operation { host: "ingest.timestream", service: "timestream", target: Some(target) }
}

/// Where AWS says that records go, and until when that is so.
type Discovered = Arc<Mutex<Option<(String, Instant)>>>;

/// A timestream action with its templates parsed.
pub(super) struct Timestream {
    role: String,
    database: Template,
    table: Template,
    dimensions: Vec<(String, Template)>,
    /// Value and unit.
    timestamp: Option<(Template, Template)>,
}

impl Timestream {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let dimensions = fields.list("dimensions")?;
        let dimension = |fields: &Fields<'_>| {
            let name = fields.text("name")?;
            if !is_dimension(name) {
                return Err(format!("'{name}' is no name of a dimension"));
            }
            Ok((name.to_owned(), fields.template("value")?))
        };
        let timestamp = fields.settings.get("timestamp").filter(|value| value.is_object());
        let timestamp = timestamp.map(|_| fields.below("timestamp")).transpose()?;
        let timestamp =
            timestamp.map(|fields| Ok::<_, String>((fields.template("value")?, fields.template("unit")?)));
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            database: fields.template("databaseName")?,
            table: fields.template("tableName")?,
            dimensions: dimensions.iter().map(dimension).collect::<Result<_, String>>()?,
            timestamp: timestamp.transpose()?,
        })
    }

    fn common(&self, invocation: &Invocation<'_>, table: &str) -> Result<Value, Error> {
        let mut dimensions = Vec::with_capacity(self.dimensions.len());
        for (name, value) in &self.dimensions {
            if let Some(value) = invocation.optional(Some(value), table)? {
                dimensions.push(json!({"Name": name, "Value": value}));
            }
        }
        let (time, unit) = match &self.timestamp {
            Some((value, unit)) => {
                let time = invocation.text(value, "timestamp.value", table)?;
                if time.trim().parse::<u64>().is_err() {
                    return Err(Error::permanent(table, format!("timestamp '{time}' is no whole number")));
                }
                let unit = invocation.text(unit, "timestamp.unit", table)?;
                if !matches!(unit.as_str(), "SECONDS" | "MILLISECONDS" | "MICROSECONDS" | "NANOSECONDS") {
                    return Err(Error::permanent(table, format!("'{unit}' is no unit of a timestamp")));
                }
                (time.trim().to_owned(), unit)
            }
            None => (invocation.now.as_millis().to_string(), "MILLISECONDS".to_owned()),
        };
        Ok(json!({"Dimensions": dimensions, "Time": time, "TimeUnit": unit}))
    }
}

/// Names of dimensions that AWS takes.
fn is_dimension(name: &str) -> bool {
    let kept = ["measure_name", "measure_value", "time"].contains(&name);
    !name.is_empty()
        && !kept
        && !name.starts_with("ts_")
        && !name.starts_with("measure_value")
        && !name.contains(':')
}

/// One record for each member that has a value.
fn records(payload: &[u8]) -> Result<Vec<Value>, String> {
    let Ok(Value::Object(members)) = serde_json::from_slice(payload) else {
        return Err("the payload is no JSON object".to_owned());
    };
    let mut records = Vec::with_capacity(members.len());
    for (name, value) in members {
        let (kind, value) = match value {
            Value::Null => continue,
            Value::Bool(value) => ("BOOLEAN", value.to_string()),
            Value::Number(number) if number.is_f64() => ("DOUBLE", number.to_string()),
            Value::Number(number) => ("BIGINT", number.to_string()),
            Value::String(text) => ("VARCHAR", text),
            nested => ("VARCHAR", nested.to_string()),
        };
        if value.len() > MAX_VALUE {
            return Err(format!("the value of '{name}' has more than {MAX_VALUE} bytes"));
        }
        records.push(json!({"MeasureName": name, "MeasureValue": value, "MeasureValueType": kind}));
    }
    match records.len() {
        0 => Err("the payload has no measures".to_owned()),
        1..=MAX_RECORDS => Ok(records),
        more => Err(format!("the payload has {more} measures: a message may have {MAX_RECORDS}")),
    }
}

/// Where records go: the connection's endpoint, or what AWS says.
async fn address(service: &Service<'_>, told: (&str, &str)) -> Result<String, Error> {
    if let Some(endpoint) = &service.connected.connection.endpoint {
        return Ok(endpoint.clone());
    }
    let discovered = service.connected.client::<Discovered>(&service.region, Arc::default);
    let known = discovered.lock().clone().filter(|(_, until)| *until > Instant::now());
    if let Some((address, _)) = known {
        return Ok(address);
    }
    let answer = json::call(service, &DESCRIBE, "/", &json!({}), told).await?;
    let first = answer.get("Endpoints").and_then(|all| all.get(0)).cloned().unwrap_or_default();
    let host = text(&first, &["Address"]);
    if host.is_empty() {
        return Err(Error::transient(told.0, format!("{}. No endpoint is told", told.1)));
    }
    let minutes = first.get("CachePeriodInMinutes").and_then(Value::as_u64).unwrap_or(1).clamp(1, 24 * 60);
    let address = format!("https://{host}");
    *discovered.lock() = Some((address.clone(), Instant::now() + Duration::from_secs(minutes * 60)));
    Ok(address)
}

impl Action for Timestream {
    fn name(&self) -> &'static str {
        "TimestreamAction"
    }

    fn kind(&self) -> &str {
        KIND
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let table = invocation.text(&self.table, "tableName", KIND)?;
            let database = invocation.text(&self.database, "databaseName", &table)?;
            let common = self.common(invocation, &table)?;
            let records = records(&invocation.payload);
            let records = records.map_err(|reason| Error::permanent(table.as_str(), reason))?;
            let service = Service::of(invocation, KIND, &self.role, &table)?;
            let told = (table.as_str(), "Failed to write records to Timestream");
            let address = address(&service, told).await?;
            let body = json!({
                "DatabaseName": database, "TableName": table, "CommonAttributes": common, "Records": records,
            });
            let url = format!("{}/", address.trim_end_matches('/'));
            json::call_at(&service, &WRITE, &url, &body, told).await.map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_measures_of_their_types() {
        let payload = br#"{"a": 1, "b": 1.5, "c": true, "d": "x", "e": null, "f": [1], "g": 10.0}"#;
        let measure = |record: &Value| {
            (
                text(record, &["MeasureName"]),
                text(record, &["MeasureValue"]),
                text(record, &["MeasureValueType"]),
            )
        };
        let mut found: Vec<_> = records(payload).unwrap().iter().map(measure).collect();
        found.sort();
        let expected = [
            ("a", "1", "BIGINT"),
            ("b", "1.5", "DOUBLE"),
            ("c", "true", "BOOLEAN"),
            ("d", "x", "VARCHAR"),
            ("f", "[1]", "VARCHAR"),
            ("g", "10.0", "DOUBLE"),
        ];
        assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert!(records(b"[1]").is_err() && records(b"{}").is_err());
        let many: serde_json::Map<_, _> = (0..101).map(|n| (n.to_string(), n.into())).collect();
        assert!(records(Value::Object(many).to_string().as_bytes()).unwrap_err().contains("101"));
    }

    #[test]
    fn some_names_are_not_for_dimensions() {
        assert!(is_dimension("site") && is_dimension("times"));
        for name in ["", "time", "measure_name", "measure_value::x", "ts_x", "a:b"] {
            assert!(!is_dimension(name), "{name}");
        }
    }
}
