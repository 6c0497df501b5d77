//! `iotSiteWise`: values of properties of assets, which come from templates alone (rules-actions.md 5.16).

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::json::{self, Operation, text};
use super::{Action, Error, Fields, Invocation, Service, is_transient};

const SITE_WISE: Operation = Operation { host: "data.iotsitewise", service: "iotsitewise", target: None };
const KIND: &str = "iotSiteWise";

/// An iotSiteWise action with its templates parsed.
pub(super) struct SiteWise {
    role: String,
    entries: Vec<Entry>,
}

struct Entry {
    id: Option<Template>,
    property: Property,
    values: Vec<PropertyValue>,
}

/// Which property.
enum Property {
    Alias(Template),
    Of { asset: Template, property: Template },
}

struct PropertyValue {
    value: (Kind, Template),
    seconds: Template,
    nanos: Option<Template>,
    quality: Option<Template>,
}

/// Of which type a value is.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Double,
    Boolean,
}

const KINDS: [(&str, Kind); 4] = [
    ("stringValue", Kind::Text),
    ("integerValue", Kind::Integer),
    ("doubleValue", Kind::Double),
    ("booleanValue", Kind::Boolean),
];

impl SiteWise {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let role = fields.text("roleArn")?.to_owned();
        let entries = fields.list("putAssetPropertyValueEntries")?;
        Ok(Self { role, entries: entries.iter().map(Entry::new).collect::<Result<_, _>>()? })
    }
}

impl Entry {
    fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let property = match fields.template_if_given("propertyAlias")? {
            Some(alias) => Property::Alias(alias),
            None => {
                Property::Of { asset: fields.template("assetId")?, property: fields.template("propertyId")? }
            }
        };
        let values = fields.list("propertyValues")?;
        let values = values.iter().map(PropertyValue::new).collect::<Result<_, _>>()?;
        Ok(Self { id: fields.template_if_given("entryId")?, property, values })
    }

    fn render(&self, invocation: &Invocation<'_>) -> Result<Value, Error> {
        let id = invocation.optional(self.id.as_ref(), KIND)?.unwrap_or_else(|| Uuid::new_v4().to_string());
        let values = self.values.iter().map(|value| value.render(invocation, &id));
        let mut entry = Map::new();
        entry.insert("propertyValues".to_owned(), values.collect::<Result<Vec<_>, _>>()?.into());
        let mut put = |name: &str, template| {
            let text = invocation.text(template, name, &id)?;
            entry.insert(name.to_owned(), text.into());
            Ok::<_, Error>(())
        };
        match &self.property {
            Property::Alias(alias) => put("propertyAlias", alias)?,
            Property::Of { asset, property } => {
                put("assetId", asset)?;
                put("propertyId", property)?;
            }
        }
        entry.insert("entryId".to_owned(), id.into());
        Ok(entry.into())
    }
}

impl PropertyValue {
    fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let (value, timestamp) = (fields.below("value")?, fields.below("timestamp")?);
        let mut given =
            KINDS.iter().filter_map(|(name, kind)| Some((*kind, value.template_if_given(name).transpose()?)));
        let (Some((kind, template)), None) = (given.next(), given.next()) else {
            return Err(
                "a value is one of stringValue, integerValue, doubleValue and booleanValue".to_owned()
            );
        };
        Ok(Self {
            value: (kind, template?),
            seconds: timestamp.template("timeInSeconds")?,
            nanos: timestamp.template_if_given("offsetInNanos")?,
            quality: fields.template_if_given("quality")?,
        })
    }

    fn render(&self, invocation: &Invocation<'_>, entry: &str) -> Result<Value, Error> {
        let (kind, template) = &self.value;
        let text = invocation.text(template, "value", entry)?;
        let value = typed(*kind, &text).map_err(|reason| Error::permanent(entry, reason))?;
        let number = |template, name: &str| {
            let text = invocation.text(template, name, entry)?;
            let number: Result<u64, _> = text.trim().parse();
            number.map_err(|_| Error::permanent(entry, format!("{name} '{text}' is no whole number")))
        };
        let mut timestamp = Map::new();
        timestamp.insert("timeInSeconds".to_owned(), number(&self.seconds, "timeInSeconds")?.into());
        if let Some(nanos) = &self.nanos {
            timestamp.insert("offsetInNanos".to_owned(), number(nanos, "offsetInNanos")?.into());
        }
        let mut rendered = Map::new();
        rendered.insert("value".to_owned(), value);
        rendered.insert("timestamp".to_owned(), timestamp.into());
        if let Some(quality) = invocation.optional(self.quality.as_ref(), entry)? {
            if !matches!(quality.as_str(), "GOOD" | "BAD" | "UNCERTAIN") {
                return Err(Error::permanent(
                    entry,
                    format!("quality '{quality}' is not GOOD, BAD or UNCERTAIN"),
                ));
            }
            rendered.insert("quality".to_owned(), quality.into());
        }
        Ok(rendered.into())
    }
}

/// A value of its type, as `{"<type>Value": …}`.
fn typed(kind: Kind, text: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("'{text}' is no {what}");
    let trimmed = text.trim();
    Ok(match kind {
        Kind::Text => json!({ "stringValue": text }),
        Kind::Integer => json!({"integerValue": trimmed.parse::<i32>().map_err(|_| wrong("integer"))?}),
        Kind::Double => {
            let number = trimmed.parse::<f64>().ok().filter(|number| number.is_finite());
            json!({"doubleValue": number.ok_or_else(|| wrong("number"))?})
        }
        Kind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" => json!({ "booleanValue": true }),
            "false" => json!({ "booleanValue": false }),
            _ => return Err(wrong("boolean")),
        },
    })
}

impl Action for SiteWise {
    fn name(&self) -> &'static str {
        "IotSiteWiseAction"
    }

    fn kind(&self) -> &str {
        KIND
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let entries = self.entries.iter().map(|entry| entry.render(invocation));
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let first = entries.first().map(|entry| text(entry, &["entryId"])).unwrap_or_default();
            let service = Service::of(invocation, KIND, &self.role, &first)?;
            let told = (first.as_str(), "Failed to put asset property values");
            let answer =
                json::call(&service, &SITE_WISE, "/properties", &json!({ "entries": entries }), told).await?;
            refused(&answer, told)
        })
    }
}

/// The first entry that the service refused.
fn refused(answer: &Value, (resource, doing): (&str, &str)) -> Result<(), Error> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(entry) = list(answer, "errorEntries").into_iter().next() else { return Ok(()) };
    let error = list(&entry, "errors").into_iter().next().unwrap_or_default();
    let (code, message) = (text(&error, &["errorCode"]), text(&error, &["errorMessage"]));
    let transient = is_transient(&code, 400) || code == "InternalFailureException";
    let entry = text(&entry, &["entryId"]);
    let resource = if entry.is_empty() { resource.to_owned() } else { entry };
    let message = format!("{doing}. The error received was {code}: {message}");
    Err(Error { transient, ..Error::permanent(resource, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_type_that_the_rule_says() {
        assert_eq!(typed(Kind::Text, "1 ").unwrap(), json!({"stringValue": "1 "}));
        assert_eq!(typed(Kind::Integer, " 7").unwrap(), json!({"integerValue": 7}));
        assert_eq!(typed(Kind::Double, "7").unwrap(), json!({"doubleValue": 7.0}));
        assert_eq!(typed(Kind::Boolean, "True").unwrap(), json!({"booleanValue": true}));
        for (kind, text) in [(Kind::Integer, "7.5"), (Kind::Double, "NaN"), (Kind::Boolean, "yes")] {
            assert!(typed(kind, text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_entry_that_is_refused_is_named() {
        let errors = json!([{"errorCode": "ThrottlingException", "errorMessage": "slow"}]);
        let answer = json!({"errorEntries": [{"entryId": "e", "errors": errors}]});
        let error = refused(&answer, ("r", "Failed")).unwrap_err();
        assert_eq!((error.resource.as_str(), error.transient), ("e", true));
        assert_eq!(refused(&json!({"errorEntries": []}), ("r", "Failed")), Ok(()));
    }
}
