//! Pre-authentication certificate checks (security.md section 5.3): whether a client whose certificate is good may go on is for
//! the function to say that its domain configuration names.

use bytes::Bytes;
use fleethaven_fabric::{FunctionError, Functions, Invocation, Source};
use fleethaven_registry::shapes::DomainFunction;
use fleethaven_types::Scope;
use serde_json::{Value, json};

use crate::authorizers::DEADLINE;

/// What a client presents in the TLS handshake.
#[derive(Debug, Clone)]
pub struct Presented<'a> {
    /// The certificate that it proved to hold and what it sent beside it, in its order: PEM.
    pub chain: Vec<String>,
    /// The id of that certificate.
    pub certificate_id: &'a str,
    /// The server name that it asked for.
    pub server_name: &'a str,
    /// Unique for the connection.
    pub connection_id: &'a str,
}

/// Why a client does not get past its TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// The function says no.
    #[error("PRE_AUTHENTICATION_REFUSED: the domain's function does not take the certificate")]
    Refused,
    /// The function's answer is not what it must be.
    #[error(
        "PRE_AUTHENTICATION_FAILED: the answer of the domain's function has no isAuthenticated that is true or false"
    )]
    Answer,
    /// There is no answer.
    #[error("PRE_AUTHENTICATION_FAILED: {0}")]
    Function(#[from] FunctionError),
    /// Too many clients of the account wait for answers.
    #[error("PRE_AUTHENTICATION_FAILED: too many clients wait for the domain's function")]
    Crowded,
}

/// Asks the function. Nothing but `"isAuthenticated": true` lets the client go on.
///
/// # Errors
///
/// Why it does not.
pub async fn check_certificate(
    functions: &dyn Functions,
    scope: Scope,
    callback: &DomainFunction,
    presented: &Presented<'_>,
) -> Result<(), Blocked> {
    let call = Invocation {
        scope,
        function_arn: callback.function_arn.clone(),
        payload: event(presented),
        source: Source::CertificateCallback,
        source_arn: callback.domain_configuration_arn.clone(),
        trace_id: Some(presented.connection_id.to_owned()),
        below: None,
        deadline: DEADLINE,
    };
    let answer = functions.invoke(call).await?;
    let answer: Option<Value> = serde_json::from_slice(&answer).ok();
    match answer.as_ref().and_then(|answer| answer.get("isAuthenticated")) {
        Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => Err(Blocked::Refused),
        _ => Err(Blocked::Answer),
    }
}

fn event(presented: &Presented<'_>) -> Bytes {
    let event = json!({
        "connectionMetadata": {"id": presented.connection_id},
        "principalId": presented.certificate_id,
        "serverName": presented.server_name,
        "clientCertificateChain": presented.chain,
    });
    Bytes::from(event.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizers::tests::{Fake, attempt};

    async fn ask(answer: Result<&str, FunctionError>) -> (Result<(), Blocked>, Invocation) {
        let functions = Fake::new(answer.map(|text| Bytes::from(text.to_owned())));
        let callback = DomainFunction {
            function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:check".to_owned(),
            domain_configuration_arn: "arn:aws:iot:eu-west-1:123456789012:domainconfiguration/d/1".to_owned(),
        };
        let presented = Presented {
            chain: vec!["leaf".to_owned(), "issuer".to_owned()],
            certificate_id: "ab12",
            server_name: "d.iot.example",
            connection_id: "id",
        };
        let checked = check_certificate(&functions, attempt().endpoint.scope, &callback, &presented).await;
        (checked, functions.calls().remove(0))
    }

    #[tokio::test]
    async fn what_the_function_is_asked() {
        let (checked, call) = ask(Ok(r#"{"isAuthenticated": true}"#)).await;
        assert_eq!(checked, Ok(()));
        assert_eq!(call.source.as_str(), "certificate-callback");
        assert!(call.source_arn.ends_with("domainconfiguration/d/1"));
        let event: Value = serde_json::from_slice(&call.payload).unwrap();
        let expected = json!({
            "connectionMetadata": {"id": "id"}, "principalId": "ab12", "serverName": "d.iot.example",
            "clientCertificateChain": ["leaf", "issuer"],
        });
        assert_eq!(event, expected);
    }

    #[tokio::test]
    async fn only_true_lets_a_client_go_on() {
        assert_eq!(ask(Ok(r#"{"isAuthenticated": false}"#)).await.0, Err(Blocked::Refused));
        for odd in ["", "true", "[]", "{}", r#"{"isAuthenticated": "true"}"#, r#"{"isAuthenticated": 1}"#] {
            assert_eq!(ask(Ok(odd)).await.0, Err(Blocked::Answer), "{odd}");
        }
        let failure = FunctionError::TimedOut;
        assert_eq!(ask(Err(failure.clone())).await.0, Err(Blocked::Function(failure)));
    }
}
