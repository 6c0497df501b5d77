//! RegisterThing: a thing, its certificate and its policies by a template (provisioning.md section 7.4).

use std::collections::BTreeMap;

use fleethaven_pki::{Certificate, SigningRequest};
use fleethaven_registry::shapes::{
    CertificateRegistration, CertificateStatus, IssuedFor, Provision, RegisterCertificate,
    RegisterIssuedCertificate,
};
use fleethaven_registry::template::{
    self, CERTIFICATE, CertificateSource, PlannedCertificate, Purpose, Template,
};
use fleethaven_registry::{Action, ErrorCode, Reply};
use serde_json::json;

use super::certificates::{found_issuer, given_issuer, issue_for, validity};
use super::expect_reply;
use crate::answer::{Answer, Outcome};
use crate::call::{Call, Place};
use crate::error::Error;
use crate::members::Members;

/// Longest name of a parameter, in characters.
const NAME_CHARACTERS: usize = 2048;
/// Longest value of a parameter, in characters.
const VALUE_CHARACTERS: usize = 4096;

pub(super) async fn register_thing(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let template = Template::parse(&body.required_string("templateBody")?, Purpose::Registration);
    let template = template.map_err(|error| Error::invalid(error.to_string()))?;
    let parameters = body.string_map("parameters")?.unwrap_or_default();
    let provision = provision(call.place(), &template, &parameters).await?;
    let reply = call.execute(Action::Provision(Box::new(provision))).await?;
    let provisioned = expect_reply!(reply, Reply::Provisioned(provisioned) => *provisioned);
    Ok(Answer::of([
        ("certificatePem", provisioned.certificate_pem.into()),
        ("resourceArns", json!(provisioned.resource_arns)),
    ]))
}

/// What a template makes of parameters, with the certificate's signatures dealt with.
pub(crate) async fn provision(
    place: Place<'_>,
    template: &Template,
    parameters: &BTreeMap<String, String>,
) -> Result<Provision, Error> {
    check(parameters)?;
    let plan = template.resolve(parameters, &BTreeMap::new());
    let plan = plan.map_err(|error: template::Error| Error::invalid(error.to_string()))?;
    let certificate = match &plan.certificate {
        Some(planned) => Some(registration(place, planned).await?),
        None => None,
    };
    Ok(Provision { plan, certificate })
}

/// What comes from the certificate comes from nobody else.
fn check(parameters: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in parameters {
        if name.chars().count() > NAME_CHARACTERS || value.chars().count() > VALUE_CHARACTERS {
            return Err(Error::invalid(format!(
                "a parameter may have a name of {NAME_CHARACTERS} and a value of {VALUE_CHARACTERS} characters"
            )));
        }
        if name.starts_with(CERTIFICATE) {
            return Err(Error::invalid(format!("no parameter may be named {CERTIFICATE}…")));
        }
    }
    Ok(())
}

/// Deals with the certificate's signatures. What is wrong with it is a failure of the registration.
async fn registration(
    place: Place<'_>,
    planned: &PlannedCertificate,
) -> Result<CertificateRegistration, Error> {
    match &planned.source {
        CertificateSource::Id(id) => Ok(CertificateRegistration::Existing(id.clone())),
        CertificateSource::SigningRequest(pem) => {
            let request = SigningRequest::parse_pem(pem).map_err(|error| failure(&error.to_string()))?;
            let certificate = issue_for(place, request).await?;
            Ok(CertificateRegistration::Issued(RegisterIssuedCertificate {
                certificate_id: certificate.id.to_string(),
                certificate_pem: certificate.pem(),
                status: CertificateStatus::Inactive,
                validity: validity(&certificate),
                issued_for: IssuedFor::Caller,
            }))
        }
        CertificateSource::Pem { certificate: pem, ca_certificate } => {
            let certificate = Certificate::parse_pem(pem).map_err(|error| failure(&error.to_string()))?;
            let issuer = match ca_certificate {
                Some(ca) => given_issuer(place, &certificate, ca).await,
                None => found_issuer(place, &certificate).await,
            };
            let ca_certificate_id = issuer.map_err(|error| match error {
                Error::Refused(refused) => failure(&refused.message),
                error => error,
            })?;
            Ok(CertificateRegistration::Signed(RegisterCertificate {
                certificate_id: certificate.id.to_string(),
                certificate_pem: pem.clone(),
                validity: validity(&certificate),
                ca_certificate_id,
                ca_certificate_given: ca_certificate.is_some(),
                status: None,
                set_as_active: false,
            }))
        }
    }
}

fn failure(message: &str) -> Error {
    fleethaven_registry::Error::new(ErrorCode::ResourceRegistrationFailureException, message).into()
}
