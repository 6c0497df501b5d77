//! How devices come by a certificate of their own (provisioning.md section 5): tokens that let them have it provisioned,
//! claims of trusted users, and what becomes of both when their time is over.
//!
//! A token is stored by its SHA-256 alone. It is bound to the account, one certificate and the client that was given it; the
//! log entry that provisions the certificate takes it out.

use std::collections::BTreeMap;
use std::time::Duration;

use fleethaven_types::Timestamp;
use prost::Message;

use crate::certificates;
use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::policies;
use crate::provisioning;
use crate::provisioning_templates;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    AttachedPolicy, CertificateRegistration, CertificateStatus, IssuedFor, OwnedCertificate, OwnershipToken,
    Provision, ProvisionDevice, ProvisionedDevice, RegisterIssuedCertificate, TemplateType,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::template::{CERTIFICATE, Purpose, Template};
use crate::transaction::Transaction;
use crate::view::Effects;

/// Most tokens and claims that one command ends.
pub const ENDED_AT_ONCE: usize = 256;

const TOKEN: &str = "token";
const CLAIM: &str = "claim";

/// Adds what goes with the issued certificate: the token that a device has for it, or when a claim is over.
pub(crate) fn begin(
    store: &Store<'_>,
    context: &Context,
    args: &RegisterIssuedCertificate,
    effects: &mut Effects,
) -> Result<(), Error> {
    let id = &args.certificate_id;
    match &args.issued_for {
        IssuedFor::Caller => {}
        IssuedFor::Device(OwnershipToken { sha256, claimant }) => {
            if args.status != CertificateStatus::PendingActivation {
                return Err(Error::invalid("a device's certificate is PENDING_ACTIVATION"));
            }
            let expires_at = context.now.after(Duration::from_secs(context.limits.ownership_token_secs));
            let token = record::OwnershipToken {
                certificate_id: id.clone(),
                claimant: claimant.clone(),
                expires_at: expires_at.as_millis(),
            };
            effects.put(keys::ownership_token(store.scope, digest(sha256)?), token.encode_to_vec());
            effects.put(keys::enrolment_end(expires_at, store.scope, TOKEN, sha256), id.clone());
        }
        IssuedFor::Claim(template) => {
            let template = provisioning_templates::in_use(store, template, TemplateType::FleetProvisioning)?;
            if !template.enabled {
                return Err(Error::invalid("the provisioning template is not enabled"));
            }
            let over = args.validity.not_after;
            effects.put(keys::enrolment_end(over, store.scope, CLAIM, id), id.clone());
        }
    }
    Ok(())
}

/// The hash of a token, which is part of a key.
fn digest(sha256: &str) -> Result<&str, Error> {
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    if is_digest { Ok(sha256) } else { Err(Error::invalid("a token's hash has 64 hexadecimal digits")) }
}

/// What `token` is good for, unless it is unknown, used or expired, or somebody else's.
fn owned(
    store: &Store<'_>,
    token: &OwnershipToken,
    now: Timestamp,
) -> Result<Option<(String, record::Certificate)>, Error> {
    let key = keys::ownership_token(store.scope, digest(&token.sha256)?);
    let Some(found) = store.record::<record::OwnershipToken>(&key)? else { return Ok(None) };
    if found.claimant != token.claimant || now.as_millis() >= found.expires_at {
        return Ok(None);
    }
    let certificate = store.record(&keys::certificate(store.scope, &found.certificate_id))?;
    Ok(certificate.map(|certificate| (found.certificate_id, certificate)))
}

/// The certificate that a token is good for.
pub(crate) fn owned_certificate(
    store: &Store<'_>,
    token: &OwnershipToken,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let owned = owned(store, token, now)?.map(|(certificate_id, certificate)| {
        Box::new(OwnedCertificate { certificate_id, certificate_pem: certificate.certificate_pem })
    });
    Ok(QueryReply::OwnedCertificate(owned))
}

/// ProvisionDevice. What is wrong with the token is a `CertificateStateException`, a template that may not be used an
/// `UnauthorizedException`; a failure leaves nothing behind, and the token good.
pub(crate) fn provision(store: &Store<'_>, context: &Context, args: &ProvisionDevice) -> Outcome {
    let Some((certificate_id, _)) = owned(store, &args.token, context.now)? else {
        let message = "the ownership token is not valid, has expired or was used";
        return Err(Error::new(ErrorCode::CertificateStateException, message));
    };
    let template =
        provisioning_templates::in_use(store, &args.template_name, TemplateType::FleetProvisioning)?;
    let denied = |message: &str| Err(Error::new(ErrorCode::UnauthorizedException, message));
    if !template.enabled {
        return denied("the provisioning template is not enabled");
    }
    if template.hook != args.allowed_by {
        return denied("the pre-provisioning hook has changed meanwhile");
    }
    let invalid = |error: crate::template::Error| Error::invalid(error.to_string());
    let body = Template::parse(&template.body, Purpose::Provisioning).map_err(invalid)?;
    let values = BTreeMap::from([(format!("{CERTIFICATE}Id"), certificate_id.clone())]);
    let plan = body.resolve(&args.parameters, &values).map_err(invalid)?;
    let device_configuration = plan.device_configuration.clone();
    let certificate = plan.certificate.is_some();
    let certificate = certificate.then_some(CertificateRegistration::Existing(certificate_id));
    let mut transaction = Transaction::new(store, context);
    let provisioned = provisioning::carry_out(&mut transaction, &Provision { plan, certificate })?;
    // Its end stays noted: a template may have left the certificate as it was.
    transaction.run(|store, _| {
        let mut effects = Effects::default();
        effects.delete(keys::ownership_token(store.scope, &args.token.sha256));
        done(effects)
    })?;
    let reply = ProvisionedDevice { thing_name: provisioned.thing_name, device_configuration };
    Ok((Reply::ProvisionedDevice(Box::new(reply)), transaction.into_effects()))
}

/// EndExpiredEnrolments, in all accounts: [`ENDED_AT_ONCE`] at most.
pub(crate) fn end_expired(store: &Store<'_>, context: &Context) -> Outcome {
    let mut effects = Effects::default();
    let mut ended = 0;
    for (key, value) in store.view.scan(&keys::enrolment_ends(), None, ENDED_AT_ONCE) {
        if let Some((at, scope, kind, id)) = keys::parse_enrolment_end(&key) {
            if at > context.now {
                break;
            }
            let store = Store { view: store.view, scope };
            let certificate_id = String::from_utf8_lossy(&value);
            match kind.as_str() {
                CLAIM => end_claim(&store, &mut effects, &certificate_id)?,
                _ => end_token(&store, &mut effects, &id, &certificate_id)?,
            }
        }
        effects.delete(key);
        ended += 1;
    }
    Ok((Reply::Ended(ended), effects))
}

/// The certificate goes unless something has been made of it.
fn end_token(store: &Store<'_>, effects: &mut Effects, sha256: &str, id: &str) -> Result<(), Error> {
    let key = keys::ownership_token(store.scope, sha256);
    if store.exists(&key) {
        effects.delete(key);
    }
    let certificate: Option<record::Certificate> = store.record(&keys::certificate(store.scope, id))?;
    let Some(certificate) = certificate else { return Ok(()) };
    let arn = store.arn("cert", id);
    let is_attached = store.any(&keys::things_of_principal(store.scope, &arn))
        || store.any(&keys::policies_of_target(store.scope, &arn));
    if certificate.status() == CertificateStatus::PendingActivation && !is_attached {
        certificates::remove(store, effects, id, &certificate);
    }
    Ok(())
}

/// The certificate is not valid any more, and goes, unless somebody has attached it to a thing.
fn end_claim(store: &Store<'_>, effects: &mut Effects, id: &str) -> Result<(), Error> {
    let certificate: Option<record::Certificate> = store.record(&keys::certificate(store.scope, id))?;
    let Some(certificate) = certificate.filter(|found| found.claim_template.is_some()) else { return Ok(()) };
    let arn = store.arn("cert", id);
    if !store.any(&keys::things_of_principal(store.scope, &arn)) {
        policies::detach_all(store, effects, &arn)?;
        certificates::remove(store, effects, id, &certificate);
    }
    Ok(())
}

/// What the certificate of a claim may do: ask for a certificate, and have it provisioned by this template.
pub(crate) fn policy_of_claim(store: &Store<'_>, template: &str) -> Result<AttachedPolicy, Error> {
    syntax::template_name(template)?;
    let of = |kind: &str| {
        let below = [
            "$aws/certificates/create/*".to_owned(),
            "$aws/certificates/create-from-csr/*".to_owned(),
            format!("$aws/provisioning-templates/{template}/provision/*"),
        ];
        below.map(|name| store.arn(kind, &name))
    };
    let document = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
            {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": of("topic")},
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": of("topicfilter")},
        ],
    });
    let (policy_name, version_id) = ("provisioning-claim".to_owned(), "1".to_owned());
    Ok(AttachedPolicy { policy_name, version_id, document: document.to_string() })
}

#[cfg(test)]
mod tests;
