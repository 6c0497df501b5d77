//! TestRuleSql: a statement tried out on one message, as `fleethaven sql test` does it. Ours: no operation of AWS's has its path, and the
//! console asks it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_rulesql::{Input, MqttProperties, Payload, Report, SqlVersion, Statement, Value, json};
use fleethaven_topics::name;
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

/// The dialect where none is named, as for `fleethaven sql test`.
const VERSION: &str = "2016-03-23";

/// A statement and the message that it is tried on.
struct Tried {
    sql: String,
    version: SqlVersion,
    template: Option<String>,
    topic: String,
    payload: Bytes,
    client_id: Option<String>,
    principal: Option<String>,
    source_ip: Option<String>,
    trace_id: Option<String>,
    properties: Option<MqttProperties>,
    account: String,
    now: i64,
}

/// TestRuleSql. An evaluation is bounded by itself, in steps and in bytes; it is done on a thread of its own, and as many at a time as there
/// are places for what takes long to compute.
pub(super) async fn test(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let tried = Tried::read(call, &Members::of_body(&object))?;
    let Ok(place) = call.state.trials.clone().try_acquire_owned() else { return Err(Error::Throttled) };
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        json::write(&tried.document(), false)
    });
    let written = done.await.map_err(|error| Error::Internal(error.to_string()))?;
    written
        .map(Answer::Document)
        .map_err(|error| Error::invalid(format!("the result cannot be shown: {error}")))
}

impl Tried {
    fn read(call: &Call<'_>, body: &Members<'_>) -> Result<Self, Error> {
        let version = body.string("awsIotSqlVersion")?.unwrap_or_else(|| VERSION.to_owned());
        let version = version
            .parse()
            .map_err(|_| Error::invalid("'awsIotSqlVersion' must be 2015-10-08, 2016-03-23 or beta"))?;
        let payload = match (body.string("payload")?, body.string("payloadBase64")?) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("'payload' and 'payloadBase64' are one too many"));
            }
            (Some(text), None) => text.into(),
            (None, Some(text)) => {
                let decoded = STANDARD.decode(text);
                decoded.map_err(|_| Error::invalid("'payloadBase64' is no base64"))?.into()
            }
            (None, None) => Bytes::new(),
        };
        let most = call.limits().payload_bytes;
        if payload.len() > most {
            return Err(Error::invalid(format!("the payload has more than {most} bytes")));
        }
        let now = body.integer("now")?.unwrap_or_else(|| call.now.as_millis());
        Ok(Self {
            sql: body.required_string("sql")?,
            version,
            template: body.string("template")?,
            topic: body.required_string("topic")?,
            payload,
            client_id: body.string("clientId")?,
            principal: body.string("principal")?,
            source_ip: body.string("sourceIp")?,
            trace_id: body.string("traceId")?,
            properties: properties(body)?,
            account: call.scope.account.to_string(),
            now: i64::try_from(now).unwrap_or(i64::MAX),
        })
    }

    /// What comes of it, or why the statement or the field is refused.
    fn document(&self) -> Value {
        let statement = match Statement::parse(&self.sql, self.version) {
            Ok(statement) => statement,
            Err(error) => return error.document(),
        };
        let template = match self.template.as_ref().map(|text| statement.template(text)).transpose() {
            Ok(template) => template,
            Err(error) => return error.document(),
        };
        let ingest = name::basic_ingest(&self.topic);
        let (rule, topic) = ingest.map_or(("test", self.topic.as_str()), |(rule, topic)| (rule, topic));
        let random = || *Uuid::new_v4().as_bytes();
        let input = Input {
            topic,
            client_id: self.client_id.as_deref(),
            principal: self.principal.as_deref(),
            source_ip: self.source_ip.as_deref(),
            trace_id: self.trace_id.as_deref(),
            account_id: &self.account,
            rule_name: rule,
            now_ms: self.now,
            properties: self.properties.as_ref(),
            random: &random,
        };
        let payload = Payload::new(self.payload.clone());
        Report::of(&statement, template.as_ref(), &input, &payload, ingest.is_some()).document()
    }
}

/// `mqttProperties`, as files of cases have them.
fn properties(body: &Members<'_>) -> Result<Option<MqttProperties>, Error> {
    let given = body.value("mqttProperties").map(ToString::to_string);
    given.as_deref().map(MqttProperties::read).transpose().map_err(Error::invalid)
}
