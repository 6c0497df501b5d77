//! Certificate providers: a function of the account signs what devices ask for (provisioning.md section 5).

use std::time::Duration;

use fleethaven_fabric::{Invocation, Source};
use fleethaven_pki::{Certificate, SigningRequest};
use fleethaven_registry::shapes::CertificateProviderDescription;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::operations::Refusal;
use super::{Enrolments, Request};

/// How long a provider may take.
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    certificate_pem: String,
}

/// Has the provider sign. It must give a certificate that is valid now, for the key and subject of the request.
pub(super) async fn sign(
    desk: &Enrolments,
    request: &Request,
    provider: &CertificateProviderDescription,
    (text, signing): (&str, &SigningRequest),
) -> Result<Certificate, Refusal> {
    let functions = desk.settings.functions.as_deref().ok_or_else(Refusal::internal)?;
    let event = json!({
        "certificateSigningRequest": text,
        "principalId": request.claimant(),
        "clientId": request.client_id(),
    });
    let call = Invocation {
        scope: request.scope(),
        function_arn: provider.lambda_function_arn.clone(),
        payload: event.to_string().into(),
        source: Source::CertificateProvider,
        source_arn: provider.certificate_provider_arn.clone(),
        trace_id: Some(Uuid::from_u128(request.message.trace_id()).to_string()),
        below: None,
        deadline: DEADLINE,
    };
    let told = functions.invoke(call).await.map_err(|error| error.to_string());
    let now = (desk.settings.clock)().as_secs();
    told.and_then(|told| signed(&told, signing, now)).map_err(|reason| {
        tracing::warn!(
            account = %request.scope().account, provider = provider.certificate_provider_name, reason,
            "a certificate provider has not signed"
        );
        Refusal::internal()
    })
}

fn signed(told: &[u8], signing: &SigningRequest, now: u64) -> Result<Certificate, String> {
    let answer: Answer = serde_json::from_slice(told).map_err(|error| error.to_string())?;
    let certificate = Certificate::parse_pem(&answer.certificate_pem).map_err(|error| error.to_string())?;
    certificate.check_validity(now).map_err(|error| error.to_string())?;
    if !signing.is_answered_by(&certificate) {
        return Err("the certificate is not for the key and subject of the request".to_owned());
    }
    Ok(certificate)
}
