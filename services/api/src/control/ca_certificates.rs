//! CA certificates and registration codes (security.md section 3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_pki::{Attribute, Certificate, Name, check_ca};
use fleethaven_registry::shapes::{
    CaCertificateDescription, CaCertificateSummary, CertificateMode, RegisterCaCertificate,
    RegistrationConfig, UpdateCaCertificate,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use fleethaven_types::{AccountId, Timestamp};
use serde_json::{Value, json};

use super::certificates::{registered, validity, validity_json};
use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, members_of, seconds, word};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

/// The registry's key for a distinguished name: names are the same when their DER is.
pub(super) fn subject_text(name: &Name) -> String {
    STANDARD.encode(name.der())
}

pub(super) async fn register(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let pem = body.required_string("caCertificate")?;
    let ca = Certificate::parse_pem(&pem)?;
    check_ca(&ca, call.now.as_secs())?;
    let verification = body.string("verificationCertificate")?.filter(|pem| !pem.is_empty());
    let verification = verification.map(|pem| verified_common_name(&ca, &pem, call.now)).transpose()?;
    let action = Action::RegisterCaCertificate(Box::new(RegisterCaCertificate {
        certificate_id: ca.id.to_string(),
        subject: subject_text(&ca.subject),
        validity: validity(&ca),
        certificate_pem: pem,
        verification_common_name: verification,
        set_as_active: call.input.query_boolean("setAsActive")?,
        allow_auto_registration: call.input.query_boolean("allowAutoRegistration")?,
        registration_config: registration_config(&body)?,
        certificate_mode: body.enumeration("certificateMode")?.unwrap_or(CertificateMode::Default),
        tags: body_tags(&body)?,
    }));
    registered(call, action).await
}

/// The only common name of a verification certificate that the CA's key has signed; the registry compares it
/// with the registration code.
fn verified_common_name(ca: &Certificate, pem: &str, now: Timestamp) -> Result<String, Error> {
    let verification = Certificate::parse_pem(pem)?;
    verification.check_issued_by(ca)?;
    verification.check_validity(now.as_secs())?;
    let mut names = verification.subject.values(Attribute::CommonName);
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.to_owned()),
        _ => Err(fleethaven_pki::Error::RegistrationCode.into()),
    }
}

fn registration_config(body: &Members<'_>) -> Result<Option<RegistrationConfig>, Error> {
    let Some(config) = body.object("registrationConfig")? else { return Ok(None) };
    Ok(Some(RegistrationConfig {
        template_body: config.string("templateBody")?,
        role_arn: config.string("roleArn")?,
        template_name: config.string("templateName")?,
    }))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UpdateCaCertificate(Box::new(UpdateCaCertificate {
        certificate_id: call.input.label("caCertificateId")?,
        new_status: call.input.query_enumeration("newStatus")?,
        new_auto_registration_status: call.input.query_enumeration("newAutoRegistrationStatus")?,
        registration_config: registration_config(&body)?,
        remove_auto_registration: body.boolean("removeAutoRegistration")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::Empty)
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeCaCertificate(call.input.label("caCertificateId")?);
    let mut ca = expect_reply!(call.query(query).await?, QueryReply::CaCertificate(ca) => *ca);
    let config = ca.registration_config.take().map(config_json).unwrap_or_default();
    Ok(Answer::of([
        ("certificateDescription", description(ca, call.scope.account)),
        ("registrationConfig", config),
    ]))
}

fn description(ca: CaCertificateDescription, owner: AccountId) -> Value {
    members_of([
        ("certificateArn", ca.certificate_arn.into()),
        ("certificateId", ca.certificate_id.into()),
        ("status", word(ca.status)),
        ("certificatePem", ca.certificate_pem.into()),
        ("ownedBy", owner.to_string().into()),
        ("creationDate", seconds(ca.created_at)),
        ("autoRegistrationStatus", word(ca.auto_registration_status)),
        ("lastModifiedDate", seconds(ca.modified_at)),
        ("customerVersion", ca.customer_version.into()),
        ("generationId", ca.generation_id.into()),
        ("validity", validity_json(ca.validity)),
        ("certificateMode", word(ca.certificate_mode)),
    ])
}

fn config_json(config: RegistrationConfig) -> Value {
    members_of([
        ("templateBody", config.template_body.into()),
        ("roleArn", config.role_arn.into()),
        ("templateName", config.template_name.into()),
    ])
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListCaCertificates {
        template_name: call.input.query_string("templateName"),
        ascending: call.input.query_boolean("isAscendingOrder")?,
        page: call.input.marker_page()?,
    };
    let page = expect_reply!(call.query(query).await?, QueryReply::CaCertificates(page) => page);
    let certificates = answer::list(page.items, summary);
    Ok(Answer::of([("certificates", certificates), ("nextMarker", page.next.into())]))
}

fn summary(ca: CaCertificateSummary) -> Value {
    json!({
        "certificateArn": ca.certificate_arn,
        "certificateId": ca.certificate_id,
        "status": word(ca.status),
        "creationDate": seconds(ca.created_at),
    })
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteCaCertificate(call.input.label("caCertificateId")?)).await?;
    Ok(Answer::object())
}

pub(super) async fn registration_code(call: &Call<'_>) -> Outcome {
    let reply = call.execute(Action::GetRegistrationCode).await?;
    let code = expect_reply!(reply, Reply::RegistrationCode(code) => code);
    Ok(Answer::of([("registrationCode", code.into())]))
}

pub(super) async fn delete_registration_code(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteRegistrationCode).await?;
    Ok(Answer::object())
}
