//! Client certificates (provisioning.md section 2, security.md section 2).

use fleethaven_issuing::Error as IssuingError;
use fleethaven_pki::authority::DEVICE_NOT_AFTER;
use fleethaven_pki::{Certificate, DeviceKey, SigningRequest};
use fleethaven_registry::shapes::{
    CaCertificateDescription, CertificateDescription, CertificateStatus, CertificateSummary,
    DeleteCertificate, IssuedFor, IssuingCa, RegisterCertificate, RegisterCertificateWithoutCa,
    RegisterIssuedCertificate, RegisteredCertificate, TransferData, UpdateCertificate, Validity,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use fleethaven_types::Timestamp;
use serde_json::{Value, json};

use super::ca_certificates::subject_text;
use super::expect_reply;
use crate::answer::{self, Answer, Outcome, members_of, seconds, word};
use crate::call::{Call, Place};
use crate::error::Error;
use crate::members::{Members, missing};

/// Longest `certificateSigningRequest`, in characters.
const CSR_CHARACTERS: usize = 4096;

pub(super) async fn create_keys(call: &Call<'_>) -> Outcome {
    let active = call.input.query_boolean("setAsActive")?;
    let (key, certificate) = keys_and_certificate(call, DEVICE_NOT_AFTER).await?;
    let registered = register_issued(call, &certificate, active, IssuedFor::Caller).await?;
    Ok(Answer::of([
        ("certificateArn", registered.certificate_arn.into()),
        ("certificateId", registered.certificate_id.into()),
        ("certificatePem", certificate.pem().into()),
        ("keyPair", key_pair(&key)),
    ]))
}

fn key_pair(key: &DeviceKey) -> Value {
    json!({"PublicKey": key.public_key_pem, "PrivateKey": key.private_key_pem})
}

/// CreateProvisioningClaim: a certificate for a trusted user's app, which provisions a device by the template with it.
pub(super) async fn create_provisioning_claim(call: &Call<'_>) -> Outcome {
    let template = call.input.label("templateName")?;
    let not_after = call.now.after(call.state.config.provisioning_claim).as_secs();
    let (key, certificate) = keys_and_certificate(call, not_after).await?;
    let registered = register_issued(call, &certificate, true, IssuedFor::Claim(template)).await?;
    Ok(Answer::of([
        ("certificateId", registered.certificate_id.into()),
        ("certificatePem", certificate.pem().into()),
        ("keyPair", key_pair(&key)),
        ("expiration", not_after.into()),
    ]))
}

/// A new key with a certificate of the account's CA for it, which is not registered yet.
async fn keys_and_certificate(call: &Call<'_>, not_after: u64) -> Result<(DeviceKey, Certificate), Error> {
    let ca = issuing_ca(call.place()).await?;
    // The permit goes along, so that it is held until the work ends even when the caller goes away.
    let Ok(permit) = call.state.key_makers.clone().acquire_owned().await else {
        return Err(Error::Unavailable("shutting down".to_owned()));
    };
    let key = blocking(move || {
        let _permit = permit;
        DeviceKey::generate()
    })
    .await?;
    let certificate = issue(call.place(), ca, key.signing_request().clone(), not_after).await?;
    Ok((key, certificate))
}

pub(super) async fn create_from_csr(call: &Call<'_>) -> Outcome {
    let active = call.input.query_boolean("setAsActive")?;
    let object = call.input.json()?;
    let text = Members::of_body(&object).required_string("certificateSigningRequest")?;
    if text.chars().count() > CSR_CHARACTERS {
        let message = format!("'certificateSigningRequest' has more than {CSR_CHARACTERS} characters");
        return Err(Error::invalid(message));
    }
    // The model of this operation has no other exception for what the caller sends.
    let request = SigningRequest::parse_pem(&text).map_err(|error| Error::invalid(error.to_string()))?;
    let certificate = issue_for(call.place(), request).await?;
    let registered = register_issued(call, &certificate, active, IssuedFor::Caller).await?;
    Ok(Answer::of([
        ("certificateArn", registered.certificate_arn.into()),
        ("certificateId", registered.certificate_id.into()),
        ("certificatePem", certificate.pem().into()),
    ]))
}

/// A certificate that the account's CA issues for a request. It is not registered yet.
pub(crate) async fn issue_for(place: Place<'_>, request: SigningRequest) -> Result<Certificate, Error> {
    let ca = issuing_ca(place).await?;
    issue(place, ca, request, DEVICE_NOT_AFTER).await
}

async fn issuing_ca(place: Place<'_>) -> Result<Box<IssuingCa>, Error> {
    let ca = expect_reply!(place.query(QueryKind::IssuingCa).await?, QueryReply::IssuingCa(ca) => ca);
    ca.ok_or_else(|| Error::Internal(format!("account {} has no issuing CA", place.scope.account)))
}

async fn issue(
    place: Place<'_>,
    ca: Box<IssuingCa>,
    request: SigningRequest,
    not_after: u64,
) -> Result<Certificate, Error> {
    let issued = place.state.issuer.issue(*ca, request, (place.now.as_secs(), not_after)).await;
    issued.map_err(|error| match error {
        IssuingError::Pki(error) => error.into(),
        IssuingError::Signer(_) | IssuingError::NoSigner | IssuingError::Sealed(_) => {
            tracing::error!(account = %place.scope.account, %error, "a certificate could not be issued");
            Error::Unavailable("the certificate cannot be signed now".to_owned())
        }
        IssuingError::BrokenOff => Error::Internal(error.to_string()),
    })
}

/// Runs what takes a core for milliseconds off the threads that serve connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, fleethaven_pki::Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| Error::Internal("making a certificate was broken off".to_owned()))??)
}

async fn register_issued(
    call: &Call<'_>,
    certificate: &Certificate,
    active: bool,
    issued_for: IssuedFor,
) -> Result<Box<RegisteredCertificate>, Error> {
    let status = if active { CertificateStatus::Active } else { CertificateStatus::Inactive };
    let action = Action::RegisterIssuedCertificate(Box::new(RegisterIssuedCertificate {
        certificate_id: certificate.id.to_string(),
        certificate_pem: certificate.pem(),
        status,
        validity: validity(certificate),
        issued_for,
    }));
    Ok(expect_reply!(call.execute(action).await?, Reply::Certificate(registered) => registered))
}

/// A certificate's validity in the registry's words.
pub(crate) fn validity(certificate: &Certificate) -> Validity {
    let at = |seconds: u64| Timestamp(seconds.saturating_mul(1000));
    Validity { not_before: at(certificate.not_before), not_after: at(certificate.not_after) }
}

pub(super) async fn register(call: &Call<'_>) -> Outcome {
    let set_as_active = call.input.query_boolean("setAsActive")?;
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let pem = body.required_string("certificatePem")?;
    let status = body.enumeration("status")?;
    let certificate = Certificate::parse_pem(&pem)?;
    let given = body.string("caCertificatePem")?;
    let ca_certificate_id = match &given {
        Some(ca_pem) => given_issuer(call.place(), &certificate, ca_pem).await?,
        None => found_issuer(call.place(), &certificate).await?,
    };
    let action = Action::RegisterCertificate(Box::new(RegisterCertificate {
        certificate_id: certificate.id.to_string(),
        certificate_pem: pem,
        validity: validity(&certificate),
        ca_certificate_id,
        ca_certificate_given: given.is_some(),
        status,
        set_as_active,
    }));
    registered(call, action).await
}

/// The id of the CA that the request names, which must have signed the certificate.
pub(crate) async fn given_issuer(
    place: Place<'_>,
    certificate: &Certificate,
    ca_pem: &str,
) -> Result<String, Error> {
    let ca = Certificate::parse_pem(ca_pem)?;
    certificate.check_issued_by(&ca)?;
    let known = candidates(place, certificate).await?;
    let id = ca.id.to_string();
    if known.iter().any(|candidate| candidate.certificate_id == id) { Ok(id) } else { Err(no_issuer()) }
}

/// The id of the registered CA whose key verifies the certificate's signature.
pub(crate) async fn found_issuer(place: Place<'_>, certificate: &Certificate) -> Result<String, Error> {
    for candidate in candidates(place, certificate).await? {
        let ca = Certificate::parse_pem(&candidate.certificate_pem)?;
        if certificate.check_issued_by(&ca).is_ok() {
            return Ok(candidate.certificate_id);
        }
    }
    Err(no_issuer())
}

async fn candidates(
    place: Place<'_>,
    certificate: &Certificate,
) -> Result<Vec<CaCertificateDescription>, Error> {
    let query = QueryKind::CaCertificatesBySubject(subject_text(&certificate.issuer));
    Ok(expect_reply!(place.query(query).await?, QueryReply::CaCertificatesBySubject(found) => found))
}

fn no_issuer() -> Error {
    let message = "no CA certificate is registered whose key has signed this certificate";
    fleethaven_registry::Error::new(fleethaven_registry::ErrorCode::CertificateValidationException, message)
        .into()
}

pub(super) async fn register_without_ca(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let pem = body.required_string("certificatePem")?;
    let certificate = Certificate::parse_pem(&pem)?;
    let action = Action::RegisterCertificateWithoutCa(Box::new(RegisterCertificateWithoutCa {
        certificate_id: certificate.id.to_string(),
        certificate_pem: pem,
        validity: validity(&certificate),
        status: body.enumeration("status")?,
    }));
    registered(call, action).await
}

/// Registers, and answers with ARN and id.
pub(super) async fn registered(call: &Call<'_>, action: Action) -> Outcome {
    let registered = expect_reply!(call.execute(action).await?, Reply::Certificate(registered) => registered);
    Ok(Answer::of([
        ("certificateArn", registered.certificate_arn.into()),
        ("certificateId", registered.certificate_id.into()),
    ]))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let new_status = call.input.query_enumeration("newStatus")?.ok_or_else(|| missing("newStatus"))?;
    let certificate_id = call.input.label("certificateId")?;
    let update = UpdateCertificate { certificate_id, new_status };
    call.carry_out(Action::UpdateCertificate(Box::new(update))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let force_delete = call.input.query_boolean("forceDelete")?;
    let delete = DeleteCertificate { certificate_id: call.input.label("certificateId")?, force_delete };
    call.carry_out(Action::DeleteCertificate(Box::new(delete))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeCertificate(call.input.label("certificateId")?);
    let described = expect_reply!(call.query(query).await?, QueryReply::Certificate(described) => *described);
    Ok(Answer::of([("certificateDescription", description(described))]))
}

fn description(described: CertificateDescription) -> Value {
    let transfer = described.transfer.map_or_else(|| json!({}), transfer_data);
    members_of([
        ("certificateArn", described.certificate_arn.into()),
        ("certificateId", described.certificate_id.into()),
        ("caCertificateId", described.ca_certificate_id.into()),
        ("status", word(described.status)),
        ("certificatePem", described.certificate_pem.into()),
        ("ownedBy", described.owned_by.to_string().into()),
        ("previousOwnedBy", described.previous_owner.map(|owner| owner.to_string()).into()),
        ("creationDate", seconds(described.created_at)),
        ("lastModifiedDate", seconds(described.modified_at)),
        ("customerVersion", described.customer_version.into()),
        ("transferData", transfer),
        ("generationId", described.generation_id.into()),
        ("validity", validity_json(described.validity)),
        ("certificateMode", word(described.certificate_mode)),
    ])
}

fn transfer_data(transfer: TransferData) -> Value {
    members_of([
        ("transferMessage", transfer.message.into()),
        ("rejectReason", transfer.reject_reason.into()),
        ("transferDate", seconds(transfer.offered_at)),
        ("acceptDate", transfer.accepted_at.map(seconds).into()),
        ("rejectDate", transfer.rejected_at.map(seconds).into()),
    ])
}

/// `validity` of a description.
pub(super) fn validity_json(validity: Validity) -> Value {
    json!({"notBefore": seconds(validity.not_before), "notAfter": seconds(validity.not_after)})
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let ascending = call.input.query_boolean("isAscendingOrder")?;
    listed(call, QueryKind::ListCertificates { ascending, page: call.input.marker_page()? }).await
}

pub(super) async fn list_by_ca(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListCertificatesByCa {
        ca_certificate_id: call.input.label("caCertificateId")?,
        ascending: call.input.query_boolean("isAscendingOrder")?,
        page: call.input.marker_page()?,
    };
    listed(call, query).await
}

async fn listed(call: &Call<'_>, query: QueryKind) -> Outcome {
    let page = expect_reply!(call.query(query).await?, QueryReply::Certificates(page) => page);
    let certificates = answer::list(page.items, summary);
    Ok(Answer::of([("certificates", certificates), ("nextMarker", page.next.into())]))
}

fn summary(certificate: CertificateSummary) -> Value {
    json!({
        "certificateArn": certificate.certificate_arn,
        "certificateId": certificate.certificate_id,
        "status": word(certificate.status),
        "certificateMode": word(certificate.certificate_mode),
        "creationDate": seconds(certificate.created_at),
    })
}
