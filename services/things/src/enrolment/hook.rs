//! Pre-provisioning hooks: a function of the account looks at a device before anything is made for it
//! (provisioning.md section 6).

use std::collections::BTreeMap;
use std::time::Duration;

use fleethaven_fabric::{Functions, Invocation, Source};
use fleethaven_registry::shapes::{OwnedCertificate, ProvisioningTemplateDescription};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Request;
use super::operations::{Refusal, check};

/// How long a hook may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the function; the parameters with what it has overridden. Anything but a clear yes is a refusal.
pub(super) async fn ask(
    functions: &dyn Functions,
    function_arn: &str,
    (request, owned, template): (&Request, &OwnedCertificate, &ProvisioningTemplateDescription),
    parameters: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let event = json!({
        "claimCertificateId": request.claimant(),
        "certificateId": owned.certificate_id,
        "certificatePem": owned.certificate_pem,
        "templateArn": template.template_arn,
        "clientId": request.client_id(),
        "parameters": parameters,
    });
    let call = Invocation {
        scope: request.scope(),
        function_arn: function_arn.to_owned(),
        payload: event.to_string().into(),
        source: Source::ProvisioningHook,
        source_arn: template.template_arn.clone(),
        trace_id: Some(Uuid::from_u128(request.message.trace_id()).to_string()),
        below: None,
        deadline: DEADLINE,
    };
    let told = functions.invoke(call).await.map_err(|error| {
        tracing::warn!(
            account = %request.scope().account, template = template.template_name, function_arn, %error,
            "a pre-provisioning hook could not be asked"
        );
        Refusal::denied("The pre-provisioning hook did not answer")
    })?;
    let overrides = answer(&told).map_err(|reason| {
        tracing::info!(
            account = %request.scope().account, template = template.template_name, function_arn, reason,
            "a pre-provisioning hook did not allow a device"
        );
        Refusal::denied("The pre-provisioning hook does not allow it")
    })?;
    check(&overrides)?;
    Ok(parameters.into_iter().chain(overrides).collect())
}

/// What the hook overrides, if it allows the device; otherwise why that is not so.
fn answer(told: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let answer: Map<String, Value> =
        serde_json::from_slice(told).map_err(|error| format!("its answer is no JSON object: {error}"))?;
    // Not the text "true" either: what is not clearly a yes is a no.
    if answer.get("allowProvisioning") != Some(&Value::Bool(true)) {
        return Err("allowProvisioning is not true".to_owned());
    }
    match answer.get("parameterOverrides") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(overrides) => serde_json::from_value(overrides.clone())
            .map_err(|error| format!("parameterOverrides must be texts by name: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_allows_a_device() {
        let overrides = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(answer(br#"{"allowProvisioning": true}"#), overrides(&[]));
        assert_eq!(answer(br#"{"allowProvisioning": true, "parameterOverrides": null}"#), overrides(&[]));
        let told = br#"{"allowProvisioning": true, "parameterOverrides": {"a": "1"}, "more": 1}"#;
        assert_eq!(answer(told), overrides(&[("a", "1")]));
        for other in [
            &b""[..],
            b"true",
            b"{}",
            br#"{"allowProvisioning": false}"#,
            br#"{"allowProvisioning": "true"}"#,
            br#"{"allowProvisioning": 1}"#,
            br#"{"allowProvisioning": true, "parameterOverrides": {"a": 1}}"#,
            br#"{"allowProvisioning": true, "parameterOverrides": ["a"]}"#,
            br#"[{"allowProvisioning": true}]"#,
        ] {
            assert!(answer(other).is_err(), "{}", String::from_utf8_lossy(other));
        }
    }
}
