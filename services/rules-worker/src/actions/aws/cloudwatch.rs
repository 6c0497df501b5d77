//! `cloudwatchMetric` and `cloudwatchAlarm` (rules-actions.md 5.14).

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;

use super::query::{self, Operation};
use super::{Action, Error, Fields, Invocation, Service};
use crate::actions::times::iso_8601;

const PUT_METRIC_DATA: Operation = operation("PutMetricData");
const SET_ALARM_STATE: Operation = operation("SetAlarmState");

const fn operation(name: &'static str) -> Operation {
    Operation { service: "monitoring", version: "2010-08-01", name }
}

/// A cloudwatchMetric action with its templates parsed.
pub(super) struct Metric {
    role: String,
    namespace: Template,
    name: Template,
    value: Template,
    unit: Template,
    timestamp: Option<Template>,
}

impl Metric {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            namespace: fields.template("metricNamespace")?,
            name: fields.template("metricName")?,
            value: fields.template("metricValue")?,
            unit: fields.template("metricUnit")?,
            timestamp: fields.template_if_given("metricTimestamp")?,
        })
    }

    fn parameters(
        &self,
        invocation: &Invocation<'_>,
        name: &str,
    ) -> Result<[(&'static str, String); 5], Error> {
        let value = invocation.text(&self.value, "metricValue", name)?;
        if value.trim().parse::<f64>().ok().is_none_or(|number| !number.is_finite()) {
            return Err(Error::permanent(name, format!("metricValue '{value}' is no number")));
        }
        let seconds: u64 = match invocation.optional(self.timestamp.as_ref(), name)? {
            Some(text) => text.trim().parse().map_err(|_| {
                Error::permanent(name, format!("metricTimestamp '{text}' is not a number of seconds"))
            })?,
            None => invocation.now.as_secs(),
        };
        let timestamp = iso_8601(i128::from(seconds) * 1000);
        let timestamp = timestamp.ok_or_else(|| Error::permanent(name, "metricTimestamp is out of range"))?;
        Ok([
            ("Namespace", invocation.text(&self.namespace, "metricNamespace", name)?),
            ("MetricData.member.1.MetricName", name.to_owned()),
            ("MetricData.member.1.Value", value.trim().to_owned()),
            ("MetricData.member.1.Unit", invocation.text(&self.unit, "metricUnit", name)?),
            ("MetricData.member.1.Timestamp", timestamp),
        ])
    }
}

impl Action for Metric {
    fn name(&self) -> &'static str {
        "CloudwatchMetricAction"
    }

    fn kind(&self) -> &str {
        "cloudwatchMetric"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let name = invocation.text(&self.name, "metricName", "cloudwatchMetric")?;
            let parameters = self.parameters(invocation, &name)?;
            let service = Service::of(invocation, "cloudwatchMetric", &self.role, &name)?;
            let told = (name.as_str(), "Failed to put CloudWatch metric");
            query::call(&service, &PUT_METRIC_DATA, &parameters, told).await
        })
    }
}

/// A cloudwatchAlarm action with its templates parsed.
pub(super) struct Alarm {
    role: String,
    name: Template,
    reason: Template,
    value: Template,
}

impl Alarm {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            name: fields.template("alarmName")?,
            reason: fields.template("stateReason")?,
            value: fields.template("stateValue")?,
        })
    }
}

impl Action for Alarm {
    fn name(&self) -> &'static str {
        "CloudwatchAlarmAction"
    }

    fn kind(&self) -> &str {
        "cloudwatchAlarm"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let name = invocation.text(&self.name, "alarmName", "cloudwatchAlarm")?;
            let reason = invocation.text(&self.reason, "stateReason", &name)?;
            let value = invocation.text(&self.value, "stateValue", &name)?;
            if !matches!(value.as_str(), "OK" | "ALARM" | "INSUFFICIENT_DATA") {
                let reason = format!("stateValue '{value}' is not OK, ALARM or INSUFFICIENT_DATA");
                return Err(Error::permanent(name, reason));
            }
            let service = Service::of(invocation, "cloudwatchAlarm", &self.role, &name)?;
            let parameters = [("AlarmName", name.clone()), ("StateReason", reason), ("StateValue", value)];
            let told = (name.as_str(), "Failed to set CloudWatch alarm state");
            query::call(&service, &SET_ALARM_STATE, &parameters, told).await
        })
    }
}
