//! `machinelearning_predict` (rules-sql.md section 8.6): a model that is asked in the wire form of Amazon Machine Learning, which AWS has
//! retired; what answers is whatever the account's connection of kind `machineLearning` names.

use std::sync::Arc;

use fleethaven_rulesql::{Value, json as values};
use serde_json::{Map, Value as Json, json};

use super::Service;
use super::functions::{read, string};
use super::json::{self, Operation};
use crate::external::{Asker, Call};
use crate::outside::Outside;

const KIND: &str = "machineLearning";
const PREDICT: Operation = Operation {
    host: "realtime.machinelearning",
    service: "machinelearning",
    target: Some("AmazonML_20141212.Predict"),
};

/// `machinelearning_predict(modelId, roleArn, record)`: the prediction, an object.
pub(crate) async fn machinelearning_predict(
    outside: &Arc<Outside>,
    asker: Asker<'_>,
    call: &Call,
) -> Result<Value, String> {
    let [model, role, record] = call.arguments.as_slice() else { return Err("wrong arguments".to_owned()) };
    let model = string(model, "the id of a model")?;
    let service = Service::for_function(outside, asker, KIND, string(role, "the ARN of a role")?)?;
    let Some(endpoint) = service.connected.connection.endpoint.clone() else {
        return Err(format!("AWS has retired its service: a connection of kind {KIND} says what is asked"));
    };
    let body = json!({"MLModelId": model, "Record": flat(record)?, "PredictEndpoint": endpoint});
    let told = (model, "Failed to ask the model");
    let answer = json::call(&service, &PREDICT, "/", &body, told).await.map_err(|error| error.message)?;
    match answer.get("Prediction") {
        Some(prediction @ Json::Object(_)) => read(&prediction.to_string()),
        _ => Err("the answer has no Prediction".to_owned()),
    }
}

/// A record of one level, as AWS describes it: what is deeper is text.
fn flat(record: &Value) -> Result<Json, String> {
    let text = values::write(record, false).map_err(|_| "the record is too large".to_owned())?;
    let Ok(Json::Object(members)) = serde_json::from_str::<Json>(&text) else {
        return Err(format!("the record is an Object, not {}", record.type_name()));
    };
    let one = |(name, value): (String, Json)| match value {
        Json::Object(_) | Json::Array(_) => (name, Json::String(value.to_string())),
        plain => (name, plain),
    };
    Ok(Json::Object(members.into_iter().map(one).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_one_level() {
        let record = values::read(br#"{"k": {"inner": "v"}, "l": [1], "n": 0, "s": "t"}"#).unwrap();
        let expected = json!({"k": r#"{"inner":"v"}"#, "l": "[1]", "n": 0, "s": "t"});
        assert_eq!(flat(&record).unwrap(), expected);
        assert!(flat(&Value::Int(1)).unwrap_err().contains("an Object, not"));
    }
}
