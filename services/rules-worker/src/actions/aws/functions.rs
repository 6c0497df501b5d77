//! `get_dynamodb` and `get_secret` (rules-sql.md section 8.6): functions of statements and templates that ask a service of AWS's, by
//! the connection that the role in their last argument stands for.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_rulesql::{Value, json as values};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Map, Number, Value as Json, json};
use tokio::time::Instant;

use super::Service;
use super::json::{self, Operation};
use crate::external::{Asker, Call};
use crate::outside::Outside;

const GET_ITEM: Operation =
    Operation { host: "dynamodb", service: "dynamodb", target: Some("DynamoDB_20120810.GetItem") };
const GET_SECRET: Operation = Operation {
    host: "secretsmanager",
    service: "secretsmanager",
    target: Some("secretsmanager.GetSecretValue"),
};
/// Most bytes of an item.
const MAX_ITEM: usize = 8 << 10;
/// How long a secret is remembered (AWS: up to 15 minutes).
const REMEMBERED: Duration = Duration::from_secs(300);
/// Secrets that are remembered for one connection.
const MAX_SECRETS: usize = 1000;

/// What `SecretString` and `SecretBinary` of secrets were, and until when that counts.
type Secrets = Arc<Mutex<FxHashMap<String, (Json, Instant)>>>;

/// `get_dynamodb(table, key, value[, sortKey, value], roleArn)`: the item as a plain object; Undefined when there is none.
pub(crate) async fn get_dynamodb(
    outside: &Arc<Outside>,
    asker: Asker<'_>,
    call: &Call,
) -> Result<Value, String> {
    let (table, keys, role) = match call.arguments.as_slice() {
        [table, name, value, role] => (table, vec![(name, value)], role),
        [table, name, value, sort, sorted, role] => (table, vec![(name, value), (sort, sorted)], role),
        _ => return Err("wrong arguments".to_owned()),
    };
    let table = string(table, "the name of a table")?;
    let mut key = Map::new();
    for (name, value) in keys {
        key.insert(string(name, "the name of a key")?.to_owned(), attribute(value)?);
    }
    let service = Service::for_function(outside, asker, "dynamoDB", string(role, "the ARN of a role")?)?;
    let body = json!({"TableName": table, "Key": key});
    let told = (table, "Failed to get item from DynamoDB");
    let answer = json::call(&service, &GET_ITEM, "/", &body, told).await.map_err(|error| error.message)?;
    let Some(Json::Object(item)) = answer.get("Item") else { return Ok(Value::Undefined) };
    let item =
        Json::Object(item.iter().map(|(name, value)| (name.clone(), plain(value))).collect()).to_string();
    if item.len() > MAX_ITEM {
        return Err(format!("the item has more than {MAX_ITEM} bytes"));
    }
    read(&item)
}

/// `get_secret(id, 'SecretString' | 'SecretBinary'[, key], roleArn)`: a secret, or one member of it.
pub(crate) async fn get_secret(
    outside: &Arc<Outside>,
    asker: Asker<'_>,
    call: &Call,
) -> Result<Value, String> {
    let (id, form, key, role) = match call.arguments.as_slice() {
        [id, form, role] => (id, form, None, role),
        [id, form, key, role] => (id, form, Some(string(key, "a key")?), role),
        _ => return Err("wrong arguments".to_owned()),
    };
    let (id, form) = (string(id, "the id of a secret")?, string(form, "the form of a secret")?);
    if form != "SecretString" && form != "SecretBinary" {
        return Err(format!("'{form}' is not SecretString or SecretBinary"));
    }
    let service =
        Service::for_function(outside, asker, "secretsManager", string(role, "the ARN of a role")?)?;
    let secret = secret(&service, id).await?;
    let Some(content) = secret.get(form).and_then(Json::as_str) else {
        return Err(format!("the secret has no {form}"));
    };
    if form == "SecretBinary" {
        return match key {
            None => Ok(Value::from(content)),
            Some(_) => Err("a binary secret has no keys".to_owned()),
        };
    }
    let document = serde_json::from_str::<Json>(content).ok().filter(Json::is_object);
    match (document, key) {
        (Some(_), None) => read(content),
        (None, None) => Ok(Value::from(content)),
        (Some(document), Some(key)) => match document.get(key) {
            Some(value) => read(&value.to_string()),
            None => Err("the secret has no such key".to_owned()),
        },
        (None, Some(_)) => Err("the secret is no JSON object and has no keys".to_owned()),
    }
}

async fn secret(service: &Service<'_>, id: &str) -> Result<Json, String> {
    let secrets = service.connected.client::<Secrets>(&service.region, Arc::default);
    let known = secrets.lock().get(id).filter(|(_, until)| *until > Instant::now()).cloned();
    if let Some((secret, _)) = known {
        return Ok(secret);
    }
    let told = (id, "Failed to get secret");
    let answer = json::call(service, &GET_SECRET, "/", &json!({ "SecretId": id }), told).await;
    let answer = answer.map_err(|error| error.message)?;
    let mut secrets = secrets.lock();
    if secrets.len() >= MAX_SECRETS {
        secrets.clear();
    }
    secrets.insert(id.to_owned(), (answer.clone(), Instant::now() + REMEMBERED));
    Ok(answer)
}

pub(super) fn string<'v>(value: &'v Value, what: &str) -> Result<&'v str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("{what} is a String, not {}", other.type_name())),
    }
}

/// The value of a key as DynamoDB has it.
fn attribute(value: &Value) -> Result<Json, String> {
    match value {
        Value::String(text) => Ok(json!({ "S": text.to_string() })),
        Value::Int(_) | Value::Decimal(_) => {
            let digits =
                values::write(value, false).map_err(|_| "the value of a key is too large".to_owned())?;
            Ok(json!({ "N": digits }))
        }
        other => Err(format!("the value of a key is a String or a number, not {}", other.type_name())),
    }
}

/// A value of DynamoDB's as plain JSON: sets are arrays, binary values base64.
fn plain(value: &Json) -> Json {
    let Some((kind, content)) = value.as_object().and_then(|members| members.iter().next()) else {
        return Json::Null;
    };
    match (kind.as_str(), content) {
        ("N", Json::String(number)) => self::number(number),
        ("NS", Json::Array(all)) => all.iter().map(|n| number(n.as_str().unwrap_or_default())).collect(),
        ("L", Json::Array(all)) => all.iter().map(plain).collect(),
        ("M", Json::Object(members)) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        ("NULL", _) => Json::Null,
        (_, content) => content.clone(),
    }
}

fn number(text: &str) -> Json {
    let whole = text.parse::<i64>().map(Number::from).ok();
    let number = whole.or_else(|| Number::from_f64(text.parse().ok()?));
    number.map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

pub(super) fn read(document: &str) -> Result<Value, String> {
    values::read(document.as_bytes()).ok_or_else(|| "the answer is no JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_become_plain_objects() {
        let item = json!({"M": {
            "s": {"S": "x"}, "i": {"N": "7"}, "d": {"N": "7.5"}, "b": {"BOOL": true}, "n": {"NULL": true},
            "l": {"L": [{"S": "y"}, {"N": "1"}]}, "ns": {"NS": ["1", "2"]}, "ss": {"SS": ["a"]}, "raw": {"B": "AA=="},
        }});
        let expected = json!({
            "s": "x", "i": 7, "d": 7.5, "b": true, "n": null, "l": ["y", 1], "ns": [1, 2], "ss": ["a"], "raw": "AA==",
        });
        assert_eq!(plain(&item), expected);
    }

    #[test]
    fn keys_are_texts_or_numbers() {
        assert_eq!(attribute(&Value::from("x")).unwrap(), json!({"S": "x"}));
        assert_eq!(attribute(&Value::Int(7)).unwrap(), json!({"N": "7"}));
        assert!(attribute(&Value::Boolean(true)).is_err());
    }
}
