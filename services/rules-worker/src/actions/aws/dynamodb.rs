//! `dynamoDB`: a row for each message; `dynamoDBv2`: an item of the result's members (rules-actions.md 5.6, 5.7).

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeAction, AttributeValue, AttributeValueUpdate};
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::Value;

use super::{Action, Error, Fields, Invocation, Service, client};

type Attributes = HashMap<String, AttributeValue>;

/// A key of a table: its field, its value, and whether that is a number.
struct Key {
    field: Template,
    value: Template,
    number: bool,
}

impl Key {
    fn new(fields: &Fields<'_>, which: &str) -> Result<Self, String> {
        Ok(Self {
            field: fields.template(&format!("{which}KeyField"))?,
            value: fields.template(&format!("{which}KeyValue"))?,
            number: fields.text_if_given(&format!("{which}KeyType")) == Some("NUMBER"),
        })
    }

    fn of(&self, invocation: &Invocation<'_>, table: &str) -> Result<(String, AttributeValue), Error> {
        let field = invocation.text(&self.field, "the field of a key", table)?;
        let value = invocation.text(&self.value, "the value of a key", table)?;
        if !self.number {
            return Ok((field, AttributeValue::S(value)));
        }
        match value.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok((field, AttributeValue::N(value.trim().to_owned()))),
            _ => Err(Error::permanent(table, format!("the key {field} is no number: '{value}'"))),
        }
    }
}

/// A dynamoDB action with its templates parsed.
pub(super) struct Row {
    role: String,
    table: Template,
    hash: Key,
    range: Option<Key>,
    payload_field: Option<Template>,
    operation: Option<Template>,
}

impl Row {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let has = |name| fields.text_if_given(name).is_some();
        let range = match (has("rangeKeyField"), has("rangeKeyValue")) {
            (true, true) => Some(Key::new(fields, "range")?),
            (false, false) => None,
            _ => return Err("rangeKeyField and rangeKeyValue go together".to_owned()),
        };
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            table: fields.template("tableName")?,
            hash: Key::new(fields, "hash")?,
            range,
            payload_field: fields.template_if_given("payloadField")?,
            operation: fields.template_if_given("operation")?,
        })
    }

    async fn write(&self, invocation: &Invocation<'_>, table: &str) -> Result<(), Error> {
        let mut key: Attributes = HashMap::from_iter([self.hash.of(invocation, table)?]);
        if let Some(range) = &self.range {
            key.extend([range.of(invocation, table)?]);
        }
        let operation = invocation.optional(self.operation.as_ref(), table)?;
        let field = invocation.optional(self.payload_field.as_ref(), table)?;
        let field = field.unwrap_or_else(|| "payload".to_owned());
        let service = Service::of(invocation, "dynamoDB", &self.role, table)?;
        let client = client!(service, aws_sdk_dynamodb);
        match operation.as_deref().unwrap_or("INSERT") {
            "INSERT" => {
                key.insert(field, column(&invocation.payload));
                let request = client.put_item().table_name(table).set_item(Some(key));
                service.call(table, "Failed to put DynamoDB item", || request.send()).await.map(drop)
            }
            "UPDATE" => {
                let update = AttributeValueUpdate::builder()
                    .value(column(&invocation.payload))
                    .action(AttributeAction::Put)
                    .build();
                let request = client.update_item().table_name(table).set_key(Some(key));
                let request = request.attribute_updates(field, update);
                service.call(table, "Failed to update DynamoDB item", || request.send()).await.map(drop)
            }
            "DELETE" => {
                let request = client.delete_item().table_name(table).set_key(Some(key));
                service.call(table, "Failed to delete DynamoDB item", || request.send()).await.map(drop)
            }
            other => {
                Err(Error::permanent(table, format!("operation '{other}' is not INSERT, UPDATE or DELETE")))
            }
        }
    }
}

/// The payload as an attribute: what JSON says, and other bytes as they are.
fn column(payload: &[u8]) -> AttributeValue {
    match serde_json::from_slice(payload) {
        Ok(value) => attribute(value),
        Err(_) => AttributeValue::B(Blob::new(payload)),
    }
}

fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(truth) => AttributeValue::Bool(truth),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text),
        Value::Array(elements) => AttributeValue::L(elements.into_iter().map(attribute).collect()),
        Value::Object(members) => {
            AttributeValue::M(members.into_iter().map(|(name, value)| (name, attribute(value))).collect())
        }
    }
}

impl Action for Row {
    fn name(&self) -> &'static str {
        "DynamoDBAction"
    }

    fn kind(&self) -> &str {
        "dynamoDB"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let table = invocation.text(&self.table, "tableName", "dynamoDB")?;
            let written = self.write(invocation, &table).await;
            written.map_err(|error| error.of(format!("Table: {table}")))
        })
    }
}

/// A dynamoDBv2 action with its template parsed.
pub(super) struct Item {
    role: String,
    table: Template,
}

impl Item {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let role = fields.text("roleArn")?.to_owned();
        Ok(Self { role, table: fields.below("putItem")?.template("tableName")? })
    }

    async fn put(&self, invocation: &Invocation<'_>, table: &str) -> Result<(), Error> {
        let item = match serde_json::from_slice(&invocation.payload).map(attribute) {
            Ok(AttributeValue::M(members)) => members,
            _ => return Err(Error::permanent(table, "the result is no JSON object, so it is no item")),
        };
        let service = Service::of(invocation, "dynamoDB", &self.role, table)?;
        let request = client!(service, aws_sdk_dynamodb).put_item().table_name(table).set_item(Some(item));
        service.call(table, "Failed to put DynamoDB item", || request.send()).await.map(drop)
    }
}

impl Action for Item {
    fn name(&self) -> &'static str {
        "DynamoDBv2Action"
    }

    fn kind(&self) -> &str {
        "dynamoDBv2"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let table = invocation.text(&self.table, "tableName", "dynamoDBv2")?;
            let put = self.put(invocation, &table).await;
            put.map_err(|error| error.of(format!("Table: {table}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_types_of_attributes_and_other_bytes_stay_bytes() {
        assert_eq!(column(b"12.50"), AttributeValue::N("12.5".to_owned()));
        assert_eq!(column(b"null"), AttributeValue::Null(true));
        assert_eq!(column(&[0xff, 0]), AttributeValue::B(Blob::new([0xff, 0])));
        let nested = column(br#"{"a": [true, "x"], "b": {}}"#);
        let list = AttributeValue::L(vec![AttributeValue::Bool(true), AttributeValue::S("x".to_owned())]);
        let empty = AttributeValue::M(HashMap::new());
        let expected = HashMap::from([("a".to_owned(), list), ("b".to_owned(), empty)]);
        assert_eq!(nested, AttributeValue::M(expected));
    }
}
