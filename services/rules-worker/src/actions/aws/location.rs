//! `location`: each message is a position of a device (rules-actions.md 5.16).

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::{Value, json};

use super::json::{self, Operation, first_refused, part, text};
use super::{Action, Error, Fields, Invocation, Service};
use crate::actions::times::iso_8601;

const TRACKING: Operation = Operation { host: "tracking.geo", service: "geo", target: None };

/// A location action with its templates parsed.
pub(super) struct Location {
    role: String,
    tracker: Template,
    device: Template,
    latitude: Template,
    longitude: Template,
    /// Value and unit.
    timestamp: Option<(Template, Option<Template>)>,
}

impl Location {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let timestamp = match fields.settings.get("timestamp").filter(|value| value.is_object()) {
            Some(_) => {
                let timestamp = fields.below("timestamp")?;
                Some((timestamp.template("value")?, timestamp.template_if_given("unit")?))
            }
            None => None,
        };
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            tracker: fields.template("trackerName")?,
            device: fields.template("deviceId")?,
            latitude: fields.template("latitude")?,
            longitude: fields.template("longitude")?,
            timestamp,
        })
    }

    /// Milliseconds since 1970.
    fn at(&self, invocation: &Invocation<'_>, resource: &str) -> Result<i128, Error> {
        let Some((value, unit)) = &self.timestamp else {
            return Ok(i128::from(invocation.now.as_millis()));
        };
        let value = invocation.text(value, "timestamp.value", resource)?;
        let unit = invocation.optional(unit.as_ref(), resource)?;
        milliseconds(&value, unit.as_deref()).map_err(|reason| Error::permanent(resource, reason))
    }
}

/// A time of a unit, which is milliseconds unless it is said.
fn milliseconds(value: &str, unit: Option<&str>) -> Result<i128, String> {
    let number: i128 = value.trim().parse().map_err(|_| format!("timestamp '{value}' is no whole number"))?;
    match unit {
        Some("SECONDS") => Ok(number.saturating_mul(1000)),
        None | Some("MILLISECONDS") => Ok(number),
        Some("MICROSECONDS") => Ok(number / 1000),
        Some("NANOSECONDS") => Ok(number / 1_000_000),
        Some(other) => Err(format!("'{other}' is no unit of a timestamp")),
    }
}

/// Degrees within a bound.
fn degrees(text: &str, field: &str, bound: f64) -> Result<f64, String> {
    let degrees = text.trim().parse().ok().filter(|number: &f64| number.abs() <= bound);
    degrees.ok_or_else(|| format!("{field} '{text}' is no number from -{bound} to {bound}"))
}

impl Action for Location {
    fn name(&self) -> &'static str {
        "LocationAction"
    }

    fn kind(&self) -> &str {
        "location"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let tracker = invocation.text(&self.tracker, "trackerName", "location")?;
            let device = invocation.text(&self.device, "deviceId", &tracker)?;
            let position = |template, field, bound| {
                let text = invocation.text(template, field, &tracker)?;
                degrees(&text, field, bound).map_err(|reason| Error::permanent(tracker.as_str(), reason))
            };
            let longitude = position(&self.longitude, "longitude", 180.0)?;
            let latitude = position(&self.latitude, "latitude", 90.0)?;
            let at = self.at(invocation, &tracker)?;
            let sampled = iso_8601(at)
                .ok_or_else(|| Error::permanent(tracker.as_str(), "the timestamp is out of range"))?;
            let service = Service::of(invocation, "location", &self.role, &tracker)?;
            let update =
                json!({"DeviceId": device, "Position": [longitude, latitude], "SampleTime": sampled});
            let body = json!({ "Updates": [update] });
            let path = format!("/tracking/v0/trackers/{}/positions", part(&tracker));
            let told = (tracker.as_str(), "Failed to update device position");
            let answer = json::call(&service, &TRACKING, &path, &body, told).await?;
            let describe =
                |entry: &Value| (text(entry, &["Error", "Code"]), text(entry, &["Error", "Message"]));
            first_refused(&answer, "Errors", describe, told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_positions_bounds() {
        for (value, unit, expected) in [
            ("1700000000", Some("SECONDS"), 1_700_000_000_000),
            ("1700000000123", None, 1_700_000_000_123),
            ("1700000000123456", Some("MICROSECONDS"), 1_700_000_000_123),
            ("1700000000123456789", Some("NANOSECONDS"), 1_700_000_000_123),
        ] {
            assert_eq!(milliseconds(value, unit), Ok(expected));
        }
        assert!(milliseconds("soon", None).is_err() && milliseconds("1", Some("HOURS")).is_err());
        assert_eq!(degrees(" -12.5", "latitude", 90.0), Ok(-12.5));
        for text in ["91", "NaN", "north", "inf"] {
            assert!(degrees(text, "latitude", 90.0).is_err(), "{text}");
        }
    }
}
