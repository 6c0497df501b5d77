//! One request, carried out: commands to the metastore, and what they come to.

use std::collections::BTreeMap;

use fleethaven_fabric::metadata::{Error as CallError, Executed};
use fleethaven_pki::{Certificate, SigningRequest};
use fleethaven_registry::shapes::{
    CertificateStatus, IssuedFor, OwnedCertificate, OwnershipToken, ProvisionDevice, ProvisioningHook,
    ProvisioningTemplateDescription, RegisterIssuedCertificate, TemplateType, Validity,
};
use fleethaven_registry::template::CERTIFICATE;
use fleethaven_registry::{Action, Command, ErrorCode, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::topic::Call;
use super::{Enrolments, Request, hook, provider};
use crate::patience::patiently;

/// Longest signing request, in characters.
const CSR_CHARACTERS: usize = 4096;
/// Longest name of a parameter, and longest value, in characters.
const PARAMETER_CHARACTERS: (usize, usize) = (2048, 4096);

/// Why a request is rejected: AWS does not list its codes (provisioning.md section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn throttled() -> Self {
        Self::new(429, "Throttled", "Rate exceeded")
    }

    pub(super) fn internal() -> Self {
        Self::new(500, "InternalError", "Internal service failure")
    }

    fn payload_of(reason: impl Into<String>) -> Self {
        Self::new(400, "InvalidPayload", reason)
    }

    fn csr(reason: impl Into<String>) -> Self {
        Self::new(400, "InvalidCertificateSigningRequest", reason)
    }

    fn token() -> Self {
        let message = "The certificate ownership token is not valid, has expired or was used";
        Self::new(400, "InvalidCertificateOwnershipToken", message)
    }

    fn parameters(reason: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameters", reason)
    }

    pub(super) fn denied(reason: impl Into<String>) -> Self {
        Self::new(403, "AccessDenied", reason)
    }

    pub(super) fn payload(&self) -> Value {
        json!({"statusCode": self.status, "errorCode": self.code, "errorMessage": self.message})
    }
}

/// What became of a request.
pub(super) enum Outcome {
    Accepted(Value),
    Rejected(Refusal),
    /// Nobody knows.
    Unknown,
}

/// Why there is nothing to accept.
enum Failure {
    Rejected(Refusal),
    Unknown,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Rejected(refusal)
    }
}

/// `$aws/certificates/create-from-csr/…`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateFromCsr {
    certificate_signing_request: String,
}

/// `$aws/provisioning-templates/{template}/provision/…`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisterThing {
    certificate_ownership_token: String,
    #[serde(default)]
    parameters: Option<BTreeMap<String, String>>,
}

/// `$aws/certificates/create/…`: nothing is asked for.
#[derive(Deserialize)]
struct Nothing {}

pub(super) async fn carry_out(desk: &Enrolments, request: &Request) -> Outcome {
    let carried_out = match &request.call {
        Call::CreateKeysAndCertificate => create_keys(desk, request).await,
        Call::CreateCertificateFromCsr => create_from_csr(desk, request).await,
        Call::RegisterThing { template_name } => register_thing(desk, request, template_name).await,
    };
    match carried_out {
        Ok(payload) => Outcome::Accepted(payload),
        Err(Failure::Rejected(refusal)) => Outcome::Rejected(refusal),
        Err(Failure::Unknown) => Outcome::Unknown,
    }
}

async fn create_keys(desk: &Enrolments, request: &Request) -> Result<Value, Failure> {
    if !request.message.payload.is_empty() {
        let read = request.format.read::<Nothing>(&request.message.payload);
        read.map_err(Refusal::payload_of)?;
    }
    let (key, certificate) = desk.keys_and_certificate(request.scope()).await?;
    let token = register(desk, request, &certificate).await?;
    Ok(json!({
        "certificateId": certificate.id.to_string(),
        "certificatePem": certificate.pem(),
        "privateKey": key.private_key_pem,
        "certificateOwnershipToken": token,
    }))
}

async fn create_from_csr(desk: &Enrolments, request: &Request) -> Result<Value, Failure> {
    let asked: CreateFromCsr = request.format.read(&request.message.payload).map_err(Refusal::payload_of)?;
    let text = asked.certificate_signing_request;
    if text.chars().count() > CSR_CHARACTERS {
        return Err(Refusal::csr(format!("It has more than {CSR_CHARACTERS} characters")).into());
    }
    let signing = SigningRequest::parse_pem(&text).map_err(|error| Refusal::csr(error.to_string()))?;
    let certificate = match query(desk, request, QueryKind::CertificateProviderInUse).await {
        Ok(QueryReply::CertificateProvider(Some(found))) => {
            provider::sign(desk, request, &found, (&text, &signing)).await?
        }
        Ok(_) => desk.certificate(request.scope(), signing).await?,
        Err(error) => return Err(refused(error)),
    };
    let token = register(desk, request, &certificate).await?;
    Ok(json!({
        "certificateOwnershipToken": token,
        "certificateId": certificate.id.to_string(),
        "certificatePem": certificate.pem(),
    }))
}

/// Registers a certificate as PENDING_ACTIVATION; the token with which the client may have it provisioned.
async fn register(
    desk: &Enrolments,
    request: &Request,
    certificate: &Certificate,
) -> Result<String, Failure> {
    let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let at = |seconds: u64| Timestamp(seconds.saturating_mul(1000));
    let action = Action::RegisterIssuedCertificate(Box::new(RegisterIssuedCertificate {
        certificate_id: certificate.id.to_string(),
        certificate_pem: certificate.pem(),
        status: CertificateStatus::PendingActivation,
        validity: Validity { not_before: at(certificate.not_before), not_after: at(certificate.not_after) },
        issued_for: IssuedFor::Device(known_as(&token, request)),
    }));
    match execute(desk, request, action).await {
        Ok(_) => Ok(token),
        // Whether it is registered or not, nobody has its token: it goes when that expires.
        Err(CallError::Unknown) => Err(Refusal::internal().into()),
        Err(error) => Err(refused(error)),
    }
}

/// What the metastore knows of a token that this client presents.
fn known_as(token: &str, request: &Request) -> OwnershipToken {
    OwnershipToken { sha256: hex::encode(Sha256::digest(token)), claimant: request.claimant().to_owned() }
}

async fn register_thing(desk: &Enrolments, request: &Request, template_name: &str) -> Result<Value, Failure> {
    let asked: RegisterThing = request.format.read(&request.message.payload).map_err(Refusal::payload_of)?;
    let parameters = asked.parameters.unwrap_or_default();
    check(&parameters)?;
    let token = known_as(&asked.certificate_ownership_token, request);
    let owned = owned(desk, request, token.clone()).await?;
    let template = template(desk, request, template_name).await?;
    let (parameters, allowed_by) = allowed(desk, (request, &owned, &template), parameters).await?;
    let template_name = template_name.to_owned();
    let provision = ProvisionDevice { template_name, parameters, token, allowed_by };
    let executed = execute(desk, request, Action::ProvisionDevice(Box::new(provision))).await;
    let Executed { reply, revision } = executed.map_err(refused)?;
    let Reply::ProvisionedDevice(provisioned) = reply else { return Err(Refusal::internal().into()) };
    // The device may connect with its certificate at once, anywhere.
    if !desk.settings.metadata.in_force(revision).await {
        tracing::warn!(revision, "a provisioned certificate is not known everywhere yet");
    }
    tracing::info!(
        account = %request.scope().account, client_id = request.client_id(), principal_id = request.claimant(),
        template = template.template_name, certificate_id = owned.certificate_id,
        thing = provisioned.thing_name.as_deref(), "a device was provisioned"
    );
    let mut answer = json!({"deviceConfiguration": provisioned.device_configuration});
    if let (Some(members), Some(name)) = (answer.as_object_mut(), provisioned.thing_name) {
        members.insert("thingName".to_owned(), name.into());
    }
    Ok(answer)
}

/// What comes from the certificate comes from nobody else.
pub(super) fn check(parameters: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let (longest_name, longest_value) = PARAMETER_CHARACTERS;
    for (name, value) in parameters {
        if name.chars().count() > longest_name || value.chars().count() > longest_value {
            return Err(Refusal::parameters(format!(
                "A parameter may have a name of {longest_name} and a value of {longest_value} characters"
            )));
        }
        if name.starts_with(CERTIFICATE) {
            return Err(Refusal::parameters(format!("No parameter may be named {CERTIFICATE}…")));
        }
    }
    Ok(())
}

async fn owned(
    desk: &Enrolments,
    request: &Request,
    token: OwnershipToken,
) -> Result<OwnedCertificate, Failure> {
    match query(desk, request, QueryKind::OwnedCertificate(token)).await {
        Ok(QueryReply::OwnedCertificate(Some(owned))) => Ok(*owned),
        Ok(QueryReply::OwnedCertificate(None)) => Err(Refusal::token().into()),
        Ok(_) => Err(Refusal::internal().into()),
        Err(error) => Err(refused(error)),
    }
}

async fn template(
    desk: &Enrolments,
    request: &Request,
    name: &str,
) -> Result<ProvisioningTemplateDescription, Failure> {
    let template = match query(desk, request, QueryKind::DescribeProvisioningTemplate(name.to_owned())).await
    {
        Ok(QueryReply::ProvisioningTemplate(template)) => *template,
        Ok(_) => return Err(Refusal::internal().into()),
        Err(error) => return Err(refused(error)),
    };
    if template.template_type != TemplateType::FleetProvisioning {
        return Err(Refusal::parameters("The template is not of type FLEET_PROVISIONING").into());
    }
    if !template.enabled {
        return Err(Refusal::denied("The template is not enabled").into());
    }
    Ok(template)
}

/// Has the template's hook look at the device.
async fn allowed(
    desk: &Enrolments,
    (request, owned, template): (&Request, &OwnedCertificate, &ProvisioningTemplateDescription),
    parameters: BTreeMap<String, String>,
) -> Result<(BTreeMap<String, String>, Option<ProvisioningHook>), Failure> {
    let Some(hook) = &template.pre_provisioning_hook else { return Ok((parameters, None)) };
    let functions = desk.settings.functions.as_deref().ok_or_else(Refusal::internal)?;
    let about = (request, owned, template);
    let parameters = hook::ask(functions, &hook.target_arn, about, parameters).await?;
    Ok((parameters, Some(hook.clone())))
}

async fn execute(desk: &Enrolments, request: &Request, action: Action) -> Result<Executed, CallError> {
    let command = Command { key: Some(desk.key()), ..Command::new(request.scope(), action) };
    patiently(|| desk.settings.metadata.execute(command.clone())).await
}

async fn query(desk: &Enrolments, request: &Request, kind: QueryKind) -> Result<QueryReply, CallError> {
    let query = Query::new(request.scope(), kind);
    patiently(|| desk.settings.metadata.query(query.clone())).await
}

/// A refusal of the registry in the words of this API.
fn refused(error: CallError) -> Failure {
    let error = match error {
        CallError::Refused(error) => error,
        CallError::Unavailable(reason) => {
            tracing::warn!(reason, "a provisioning request could not be carried out");
            return Refusal::internal().into();
        }
        CallError::Unknown => return Failure::Unknown,
    };
    let refusal = match error.code {
        ErrorCode::CertificateStateException => Refusal::token(),
        ErrorCode::UnauthorizedException => Refusal::denied(error.message),
        ErrorCode::ConflictingResourceUpdateException => Refusal::new(409, "ResourceConflict", error.message),
        // A certificate that a provider gives twice is its mistake, not the device's.
        ErrorCode::InternalFailureException | ErrorCode::ResourceAlreadyExistsException => {
            tracing::error!(%error, "a provisioning request failed");
            Refusal::internal()
        }
        _ => Refusal::parameters(error.message),
    };
    refusal.into()
}
