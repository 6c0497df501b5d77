//! What the function answers (security.md section 6.5).

use fleethaven_policy::{Limits, PolicyDocument};
use serde_json::Value;

/// Policy documents of one answer.
const MOST_DOCUMENTS: usize = 10;
/// Characters of one of them.
const DOCUMENT_CHARACTERS: usize = 2048;
/// The longest time between two answers, and that a connection lasts; also where the function does not say, in seconds.
const MOST_SECS: u32 = 86_400;

/// A function's answer that says what it must.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whether the client is who it says it is. If not, nothing else counts.
    pub is_authenticated: bool,
    /// 1 to 128 letters and digits; empty where a certificate tells it, or nobody was authenticated.
    pub principal_id: String,
    /// What the client may do: each document with the text that it was read from.
    pub policy_documents: Vec<PolicyDocument>,
    /// Seconds from the connection's begin to its end.
    pub disconnect_after: Option<u32>,
    /// Seconds after which the function is asked again.
    pub refresh_after: Option<u32>,
}

/// An answer that does not say what it must, or not in the form of one. It counts as none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the authorizer's answer is not valid: {0}")]
pub struct Invalid(pub String);

fn invalid<T>(why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(why.into()))
}

impl Answer {
    /// Reads an answer. With a certificate the principal is that, whose id the function may repeat, and policies may be
    /// absent. `least_secs` is the shortest interval that is allowed.
    ///
    /// # Errors
    ///
    /// What is wrong with the answer.
    pub fn read(bytes: &[u8], certificate_id: Option<&str>, least_secs: u32) -> Result<Self, Invalid> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| Invalid(format!("no JSON: {error}")))?;
        let Value::Object(members) = value else { return invalid("it must be an object") };
        let member = |name: &str| members.get(name).filter(|value| !value.is_null());
        let is_authenticated = match member("isAuthenticated") {
            Some(Value::Bool(yes)) => *yes,
            _ => return invalid("isAuthenticated must be true or false"),
        };
        if !is_authenticated {
            return Ok(Self::refusal());
        }
        let policy_documents = documents(member("policyDocuments"))?;
        if policy_documents.is_empty() && certificate_id.is_none() {
            return invalid("policyDocuments must hold a policy");
        }
        Ok(Self {
            is_authenticated,
            principal_id: principal_id(member("principalId"), certificate_id)?,
            policy_documents,
            disconnect_after: interval(
                "disconnectAfterInSeconds",
                member("disconnectAfterInSeconds"),
                least_secs,
            )?,
            refresh_after: interval("refreshAfterInSeconds", member("refreshAfterInSeconds"), least_secs)?,
        })
    }

    fn refusal() -> Self {
        Self {
            is_authenticated: false,
            principal_id: String::new(),
            policy_documents: Vec::new(),
            disconnect_after: None,
            refresh_after: None,
        }
    }

    /// Seconds from the connection's begin to its end.
    pub fn disconnect_secs(&self) -> u32 {
        self.disconnect_after.unwrap_or(MOST_SECS)
    }

    /// Seconds after which the function is asked again.
    pub fn refresh_secs(&self) -> u32 {
        self.refresh_after.unwrap_or(MOST_SECS)
    }
}

fn principal_id(value: Option<&Value>, certificate_id: Option<&str>) -> Result<String, Invalid> {
    let text = match (value, certificate_id) {
        (Some(Value::String(text)), _) => text,
        (None, Some(id)) => return Ok(id.to_owned()),
        _ => return invalid("principalId must be a string"),
    };
    if !(1..=128).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return invalid("principalId must be 1 to 128 letters and digits");
    }
    if certificate_id.is_some_and(|id| id != text) {
        return invalid("principalId must be the certificate's");
    }
    Ok(text.clone())
}

/// Objects, or their text.
fn documents(value: Option<&Value>) -> Result<Vec<PolicyDocument>, Invalid> {
    let documents = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(documents)) if documents.len() <= MOST_DOCUMENTS => documents,
        Some(Value::Array(documents)) => {
            return invalid(format!("{} policyDocuments, {MOST_DOCUMENTS} are allowed", documents.len()));
        }
        Some(_) => return invalid("policyDocuments must be a list"),
    };
    let read = |document: &Value| {
        let text = match document {
            Value::String(text) => text.clone(),
            Value::Object(_) => document.to_string(),
            _ => return invalid("a policy document must be an object or its text"),
        };
        let limits = Limits { characters: DOCUMENT_CHARACTERS, ..Limits::default() };
        PolicyDocument::parse(&text, &limits).map_err(|error| Invalid(format!("policy document: {error}")))
    };
    documents.iter().map(read).collect()
}

fn interval(name: &str, value: Option<&Value>, least: u32) -> Result<Option<u32>, Invalid> {
    let Some(value) = value else { return Ok(None) };
    let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    match seconds {
        Some(seconds) if (least..=MOST_SECS).contains(&seconds) => Ok(Some(seconds)),
        _ => invalid(format!("{name} must be a whole number of {least} to {MOST_SECS}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POLICY: &str =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;

    fn whole() -> Value {
        let object: Value = serde_json::from_str(POLICY).unwrap();
        json!({
            "isAuthenticated": true, "principalId": "Me1", "policyDocuments": [POLICY, object],
            "disconnectAfterInSeconds": 86_400, "refreshAfterInSeconds": 300,
        })
    }

    fn read(value: &Value) -> Result<Answer, Invalid> {
        Answer::read(value.to_string().as_bytes(), None, 300)
    }

    /// The whole answer with one member changed, or without it.
    fn with(name: &str, value: Value) -> Result<Answer, Invalid> {
        let mut answer = whole();
        let members = answer.as_object_mut().unwrap();
        members.insert(name.to_owned(), value);
        read(&answer)
    }

    #[test]
    fn an_answer_with_everything() {
        let answer = read(&whole()).unwrap();
        assert_eq!((answer.principal_id.as_str(), answer.policy_documents.len()), ("Me1", 2));
        assert_eq!((answer.disconnect_secs(), answer.refresh_secs()), (86_400, 300));
        let without = with("refreshAfterInSeconds", Value::Null).unwrap();
        assert_eq!((without.refresh_after, without.refresh_secs()), (None, 86_400));
    }

    #[test]
    fn who_is_not_authenticated_needs_nothing_else() {
        let answer = Answer::read(br#"{"isAuthenticated": false, "principalId": "-"}"#, None, 300).unwrap();
        assert!(!answer.is_authenticated);
        for bad in ["", "[]", "{}", "true", r#"{"isAuthenticated": "false"}"#, r#"{"isAuthenticated": null}"#]
        {
            assert!(Answer::read(bad.as_bytes(), None, 300).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_must_be_what_aws_says() {
        let ten = vec![json!(POLICY); 10];
        assert_eq!(with("policyDocuments", ten.clone().into()).unwrap().policy_documents.len(), 10);
        let eleven = [ten, vec![json!(POLICY)]].concat();
        let long = POLICY.replace("iot:*", &format!("iot:{}", "x".repeat(2048)));
        for (name, value) in [
            ("principalId", Value::Null),
            ("principalId", json!("")),
            ("principalId", json!("a-b")),
            ("principalId", json!("x".repeat(129))),
            ("principalId", json!(1)),
            ("policyDocuments", Value::Null),
            ("policyDocuments", json!([])),
            ("policyDocuments", json!(POLICY)),
            ("policyDocuments", eleven.into()),
            ("policyDocuments", json!([long])),
            ("policyDocuments", json!(["{"])),
            ("policyDocuments", json!([1])),
            ("refreshAfterInSeconds", json!(299)),
            ("refreshAfterInSeconds", json!(86_401)),
            ("refreshAfterInSeconds", json!("300")),
            ("disconnectAfterInSeconds", json!(-1)),
            ("disconnectAfterInSeconds", json!(300.5)),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn with_a_certificate_that_is_the_principal() {
        let read = |value: Value| Answer::read(value.to_string().as_bytes(), Some("ab12"), 300);
        let answer = read(json!({"isAuthenticated": true})).unwrap();
        assert_eq!((answer.principal_id.as_str(), answer.policy_documents.len()), ("ab12", 0));
        assert!(read(json!({"isAuthenticated": true, "principalId": "ab12"})).is_ok());
        assert!(read(json!({"isAuthenticated": true, "principalId": "other"})).is_err());
    }
}
