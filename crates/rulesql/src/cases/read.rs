//! A file's text to its cases.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Case, Expected, FieldTemplate, NotACase, NotCases, Stub, object};
use crate::{
    error::place,
    input::MqttProperties,
    json,
    value::{Object, Value},
};

/// When a case that names no time is published, in ms since the epoch.
const NOW_MS: i64 = 1_700_000_000_123;
/// The account of a case that names none.
const ACCOUNT: &str = "123456789012";

impl Case {
    /// The items of a file, in its order.
    pub(super) fn read_all(file: &[u8]) -> Result<Vec<Result<Self, NotACase>>, NotCases> {
        let not_cases = |offset: usize| {
            let text = String::from_utf8_lossy(file);
            let (line, column) = place(&text, offset);
            NotCases { line, column }
        };
        let text = std::str::from_utf8(file).map_err(|error| not_cases(error.valid_up_to()))?;
        let items = json::items(text).map_err(not_cases)?;
        Ok(items.into_iter().zip(1..).map(|(item, number)| read(item, number)).collect())
    }
}

fn read(item: &str, number: usize) -> Result<Case, NotACase> {
    let members = json::members(item).map(Members);
    let (id, expectation) = match &members {
        Some(members) => (members.text("id").ok().flatten(), members.value("expect")),
        None => (None, Value::Undefined),
    };
    let case = match members {
        Some(members) => members.case(),
        None => Err("it is no object".to_owned()),
    };
    case.map_err(|reason| NotACase { number, id, reason, expectation })
}

/// The members of an object of the file, each with its value as it is written there.
struct Members<'t>(Vec<(String, &'t str)>);

impl Members<'_> {
    /// The last member of this name, as others are read, too.
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, raw)| *raw)
    }

    /// The value of a member; Undefined without.
    fn value(&self, name: &str) -> Value {
        self.raw(name).and_then(|raw| json::read(raw.as_bytes())).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.value(name) {
            Value::Undefined | Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.to_string())),
            _ => Err(format!("'{name}' is no string")),
        }
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| format!("'{name}' is missing"))
    }

    fn base64(&self, name: &str) -> Result<Option<Bytes>, String> {
        let decode = |text: String| STANDARD.decode(text).map_err(|_| format!("'{name}' is no base64"));
        Ok(self.text(name)?.map(decode).transpose()?.map(Bytes::from))
    }

    fn case(&self) -> Result<Case, String> {
        let template = self.template()?;
        let expect = self.value("expect");
        let Some(members) = self.raw("expect").and_then(json::members).map(Members) else {
            return Err("'expect' is missing or no object".to_owned());
        };
        Ok(Case {
            id: self.required("id")?,
            sql: self.required("sql")?,
            version: self.text("sqlVersion")?.unwrap_or_else(|| "2015-10-08".to_owned()),
            topic: self.required("topic")?,
            payload: self.payload()?,
            client_id: self.text("clientId")?,
            principal: self.text("principal")?,
            source_ip: self.text("sourceIp")?,
            trace_id: self.text("traceId")?,
            account_id: self.text("accountId")?.unwrap_or_else(|| ACCOUNT.to_owned()),
            rule_name: self.text("ruleName")?,
            now_ms: self.now()?,
            properties: self.properties()?,
            stubs: self.stubs()?,
            approx: self.approx()?,
            expected: members.expected()?,
            expectation: with_template(expect, template.as_ref()),
            template,
        })
    }

    /// The bytes the statement sees: the JSON text as it is written, or those of `payloadBase64`.
    fn payload(&self) -> Result<Bytes, String> {
        match (self.raw("payload"), self.base64("payloadBase64")?) {
            (Some(_), Some(_)) => Err("there are 'payload' and 'payloadBase64'".to_owned()),
            (Some(raw), None) => Ok(Bytes::copy_from_slice(raw.as_bytes())),
            (None, Some(bytes)) => Ok(bytes),
            (None, None) => Ok(Bytes::new()),
        }
    }

    fn now(&self) -> Result<i64, String> {
        match self.value("now") {
            Value::Undefined => Ok(NOW_MS),
            Value::Int(ms) => i64::try_from(ms).map_err(|_| "'now' is out of range".to_owned()),
            _ => Err("'now' is no whole number of milliseconds".to_owned()),
        }
    }

    fn approx(&self) -> Result<Option<f64>, String> {
        match self.value("approx") {
            Value::Undefined => Ok(None),
            value @ (Value::Int(_) | Value::Decimal(_)) => {
                Ok(value.to_decimal().map(crate::Decimal::to_double))
            }
            _ => Err("'approx' is no number".to_owned()),
        }
    }

    fn template(&self) -> Result<Option<FieldTemplate>, String> {
        match (self.text("templateInput")?, self.text("template")?) {
            (Some(input), wanted) => Ok(Some(FieldTemplate { input, wanted })),
            (None, Some(_)) => Err("'template' needs a 'templateInput'".to_owned()),
            (None, None) => Ok(None),
        }
    }

    fn properties(&self) -> Result<Option<MqttProperties>, String> {
        let raw = self.raw("mqttProperties").filter(|raw| *raw != "null");
        raw.map(MqttProperties::read).transpose()
    }

    fn stubs(&self) -> Result<Vec<Stub>, String> {
        match self.value("stubs") {
            Value::Undefined => Ok(Vec::new()),
            Value::Array(stubs) => stubs.iter().map(stub).collect(),
            _ => Err("'stubs' is no array".to_owned()),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.value(name) {
            Value::Undefined => Ok(false),
            Value::Boolean(truth) => Ok(truth),
            _ => Err(format!("'{name}' of 'expect' is no Boolean")),
        }
    }

    /// The members of `expect`. A zero-length payload is no JSON: beside one, a null `output` says nothing.
    fn expected(&self) -> Result<Expected, String> {
        if self.flag("error")? {
            return Ok(Expected::Refused);
        }
        if self.flag("failed")? {
            return Ok(Expected::Failed);
        }
        if self.raw("fires").is_none() {
            return Err("'expect' has no 'fires' and no 'error'".to_owned());
        }
        if !self.flag("fires")? {
            return Ok(Expected::NotFired);
        }
        let (text, bytes) = (self.text("outputText")?, self.base64("outputBase64")?);
        let raw = text.as_deref() == Some("") || bytes.is_some();
        let output = match self.value("output") {
            Value::Undefined => None,
            Value::Null if raw => None,
            output => Some(output),
        };
        Ok(Expected::Fired { output, text, bytes })
    }
}

impl MqttProperties {
    /// Reads `{"contentType", "responseTopic", "correlationData" (base64), "payloadFormatIndicator", "userProperties" (pairs)}`,
    /// as cases and trials have it.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(text: &str) -> Result<Self, String> {
        let given = json::members(text).map(Members).ok_or("'mqttProperties' is no object")?;
        let user_properties = match given.value("userProperties") {
            Value::Undefined => Vec::new(),
            Value::Array(pairs) => {
                let pairs = pairs.iter().map(pair).collect::<Option<_>>();
                pairs.ok_or("a member of 'userProperties' is no pair of strings")?
            }
            _ => return Err("'userProperties' is no array".to_owned()),
        };
        let utf8_payload = match given.value("payloadFormatIndicator") {
            Value::Undefined | Value::Boolean(false) | Value::Int(0) => false,
            Value::Boolean(true) | Value::Int(1) => true,
            Value::String(text) if matches!(&*text, "UTF8_DATA" | "UNSPECIFIED_BYTES") => {
                &*text == "UTF8_DATA"
            }
            _ => {
                return Err("'payloadFormatIndicator' is not 0, 1, UTF8_DATA or UNSPECIFIED_BYTES".to_owned());
            }
        };
        Ok(Self {
            content_type: given.text("contentType")?,
            response_topic: given.text("responseTopic")?,
            correlation_data: given.base64("correlationData")?,
            utf8_payload,
            user_properties,
        })
    }
}

fn pair(pair: &Value) -> Option<(String, String)> {
    let Value::Array(pair) = pair else { return None };
    match pair.as_slice() {
        [Value::String(key), Value::String(value)] => Some((key.to_string(), value.to_string())),
        _ => None,
    }
}

fn stub(stub: &Value) -> Result<Stub, String> {
    let Value::String(function) = stub.member("fn") else {
        return Err("a stub names no function in 'fn'".to_owned());
    };
    let arguments = match stub.member("args") {
        Value::Undefined => None,
        arguments @ Value::Array(_) => Some(arguments),
        _ => return Err("'args' of a stub is no array".to_owned()),
    };
    Ok(Stub { function: function.to_string(), arguments, answer: stub.member("returns") })
}

/// `expect` with the text expected of the template.
fn with_template(expect: Value, template: Option<&FieldTemplate>) -> Value {
    let Some(wanted) = template.and_then(|template| template.wanted.as_deref()) else { return expect };
    let Value::Object(members) = &expect else { return object([("template", wanted.into())]) };
    let mut members = Object::clone(members);
    members.insert("template".into(), wanted.into());
    Value::object(members)
}
