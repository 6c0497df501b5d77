//! Rules of client certificates: registration, status machine, deletion (security.md section 2).

use bytes::Bytes;
use fleethaven_types::{AccountId, Timestamp};
use prost::Message;

use crate::ca_certificates;
use crate::command::{Context, Reply};
use crate::enrolment;
use crate::error::{Error, ErrorCode};
use crate::keys::{self, Order};
use crate::page::{self, Listing};
use crate::policies;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    CaCertificateStatus, CertificateDescription, CertificateMode, CertificateStatus, CertificateSummary,
    DeleteCertificate, IssuedFor, Listed, PageRequest, RegisterCertificate, RegisterCertificateWithoutCa,
    RegisterIssuedCertificate, RegisteredCertificate, UpdateCertificate, Validity,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::transfers;
use crate::view::Effects;

pub(crate) mod ends;

const KIND: &str = "cert";

/// What the three ways to register have in common.
struct Registration<'a> {
    id: &'a str,
    pem: &'a str,
    validity: Validity,
    status: CertificateStatus,
    mode: CertificateMode,
    ca: Option<String>,
    claim_template: Option<String>,
}

/// CreateKeysAndCertificate and CreateCertificateFromCsr, once the certificate is made.
pub(crate) fn register_issued(
    store: &Store<'_>,
    context: &Context,
    args: &RegisterIssuedCertificate,
) -> Outcome {
    use CertificateStatus::{Active, Inactive, PendingActivation};
    if !matches!(args.status, Active | Inactive | PendingActivation) {
        return Err(Error::invalid(format!("a certificate cannot be issued as {:?}", args.status)));
    }
    let claim_template = match &args.issued_for {
        IssuedFor::Claim(template) => Some(template.clone()),
        IssuedFor::Caller | IssuedFor::Device(_) => None,
    };
    let registration = Registration {
        id: &args.certificate_id,
        pem: &args.certificate_pem,
        validity: args.validity,
        status: args.status,
        mode: CertificateMode::Default,
        ca: None,
        claim_template,
    };
    let (reply, mut effects) = register(store, context, registration)?;
    enrolment::begin(store, context, args, &mut effects)?;
    Ok((reply, effects))
}

/// RegisterCertificate.
pub(crate) fn register_with_ca(store: &Store<'_>, context: &Context, args: &RegisterCertificate) -> Outcome {
    let default = if args.set_as_active { CertificateStatus::Active } else { CertificateStatus::Inactive };
    let status = initial_status(args.status.unwrap_or(default))?;
    let ca_id = syntax::certificate_id(&args.ca_certificate_id)?;
    let key = keys::ca_certificate(store.scope, &ca_id);
    let ca: record::CaCertificate = store.record(&key)?.ok_or_else(|| {
        let message = format!("CA certificate '{ca_id}', which signed the certificate, is not registered");
        Error::new(ErrorCode::CertificateValidationException, message)
    })?;
    if !args.ca_certificate_given && ca_certificates::has_namesake(store, &ca) {
        let message =
            "several registered CA certificates have the issuer's subject: caCertificatePem is needed";
        return Err(Error::new(ErrorCode::CertificateConflictException, message));
    }
    if ca.status() != CaCertificateStatus::Active {
        return Err(state(format!("CA certificate '{ca_id}' is not ACTIVE")));
    }
    let registration = Registration {
        id: &args.certificate_id,
        pem: &args.certificate_pem,
        validity: args.validity,
        status,
        mode: ca.mode(),
        ca: Some(ca_id),
        claim_template: None,
    };
    register(store, context, registration)
}

/// What a device's first connect does: it waits for its activation.
pub(crate) fn register_on_connect(
    store: &Store<'_>,
    context: &Context,
    args: &RegisterCertificate,
    (ca, ca_id): (&record::CaCertificate, String),
) -> Outcome {
    let registration = Registration {
        id: &args.certificate_id,
        pem: &args.certificate_pem,
        validity: args.validity,
        status: CertificateStatus::PendingActivation,
        mode: ca.mode(),
        ca: Some(ca_id),
        claim_template: None,
    };
    register(store, context, registration)
}

/// RegisterCertificateWithoutCA.
pub(crate) fn register_without_ca(
    store: &Store<'_>,
    context: &Context,
    args: &RegisterCertificateWithoutCa,
) -> Outcome {
    let registration = Registration {
        id: &args.certificate_id,
        pem: &args.certificate_pem,
        validity: args.validity,
        status: initial_status(args.status.unwrap_or(CertificateStatus::Inactive))?,
        mode: CertificateMode::SniOnly,
        ca: None,
        claim_template: None,
    };
    register(store, context, registration)
}

/// The status that an operator may register a certificate with, or change it to.
fn initial_status(status: CertificateStatus) -> Result<CertificateStatus, Error> {
    use CertificateStatus::{Active, Inactive, Revoked};
    if matches!(status, Active | Inactive | Revoked) {
        return Ok(status);
    }
    Err(Error::invalid(format!("status {} cannot be asked for", name(status))))
}

fn name(status: CertificateStatus) -> &'static str {
    match status {
        CertificateStatus::Inactive => "INACTIVE",
        CertificateStatus::Active => "ACTIVE",
        CertificateStatus::Revoked => "REVOKED",
        CertificateStatus::PendingTransfer => "PENDING_TRANSFER",
        CertificateStatus::PendingActivation => "PENDING_ACTIVATION",
        CertificateStatus::RegisterInactive => "REGISTER_INACTIVE",
    }
}

fn state(message: String) -> Error {
    Error::new(ErrorCode::CertificateStateException, message)
}

fn register(store: &Store<'_>, context: &Context, registration: Registration<'_>) -> Outcome {
    let id = syntax::certificate_id(registration.id)?;
    syntax::pem(registration.pem)?;
    let arn = store.arn(KIND, &id);
    let key = keys::certificate(store.scope, &id);
    if store.exists(&key) {
        return Err(Error::exists("The certificate is already registered", id, arn));
    }
    let now = context.now.as_millis();
    let certificate = record::Certificate {
        certificate_pem: registration.pem.to_owned(),
        status: registration.status.into(),
        mode: registration.mode.into(),
        ca_certificate_id: registration.ca,
        created_at: now,
        modified_at: now,
        customer_version: 1,
        generation_id: crate::ids::uuid(&context.random),
        not_before: registration.validity.not_before.as_millis(),
        not_after: registration.validity.not_after.as_millis(),
        claim_template: registration.claim_template,
        previous_owner: None,
        transfer: None,
    };
    let mut effects = Effects::default();
    effects.put(key, certificate.encode_to_vec());
    for index in index_keys(store, &id, &certificate) {
        effects.put(index, Bytes::new());
    }
    let reply = RegisteredCertificate { certificate_arn: arn, certificate_id: id };
    Ok((Reply::Certificate(Box::new(reply)), effects))
}

fn index_keys(store: &Store<'_>, id: &str, certificate: &record::Certificate) -> Vec<Bytes> {
    let mut all = listing_keys(store, id, certificate);
    all.push(keys::certificate_owner(id, store.scope));
    all
}

/// The indexes by which a certificate is listed; that of a claim is not.
pub(crate) fn listing_keys(store: &Store<'_>, id: &str, certificate: &record::Certificate) -> Vec<Bytes> {
    let created = Timestamp(certificate.created_at);
    let mut all = Vec::new();
    if certificate.claim_template.is_some() {
        return all;
    }
    for order in Order::BOTH {
        all.push(keys::certificate_by_date(store.scope, order, created, id));
        if let Some(ca) = &certificate.ca_certificate_id {
            all.push(keys::certificate_by_ca(store.scope, order, ca, created, id));
        }
    }
    all
}

/// UpdateCertificate: the status machine of security.md section 2.3.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateCertificate) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    let wanted = initial_status(args.new_status)?;
    let mut certificate = required(store, &id)?;
    let current = certificate.status();
    let mut effects = Effects::default();
    if current == wanted {
        return done(effects);
    }
    if matches!(current, CertificateStatus::Revoked | CertificateStatus::PendingTransfer) {
        let (from, to) = (name(current), name(wanted));
        return Err(state(format!("certificate '{id}' is {from} and cannot become {to}")));
    }
    certificate.set_status(wanted);
    certificate.modified_at = context.now.as_millis();
    certificate.customer_version = certificate.customer_version.saturating_add(1);
    effects.put(keys::certificate(store.scope, &id), certificate.encode_to_vec());
    done(effects)
}

/// DeleteCertificate: not while ACTIVE, in transfer, or attached to a thing; with policies only by force.
pub(crate) fn delete(store: &Store<'_>, args: &DeleteCertificate) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    let certificate = required(store, &id)?;
    let status = certificate.status();
    if matches!(status, CertificateStatus::Active | CertificateStatus::PendingTransfer) {
        return Err(state(format!("certificate '{id}' is {} and cannot be deleted", name(status))));
    }
    let arn = store.arn(KIND, &id);
    let conflict = |what: &str| {
        let message = format!("certificate '{id}' is still attached to a {what}");
        Error::new(ErrorCode::DeleteConflictException, message)
    };
    if store.any(&keys::things_of_principal(store.scope, &arn)) {
        return Err(conflict("thing"));
    }
    if !args.force_delete && store.any(&keys::policies_of_target(store.scope, &arn)) {
        return Err(conflict("policy"));
    }
    let mut effects = Effects::default();
    policies::detach_all(store, &mut effects, &arn)?;
    remove(store, &mut effects, &id, &certificate);
    done(effects)
}

/// Takes out a certificate that nothing is attached to.
pub(crate) fn remove(store: &Store<'_>, effects: &mut Effects, id: &str, certificate: &record::Certificate) {
    effects.delete(keys::certificate(store.scope, id));
    for index in index_keys(store, id, certificate) {
        effects.delete(index);
    }
}

/// DescribeCertificate.
pub(crate) fn describe(store: &Store<'_>, id: &str) -> Result<QueryReply, Error> {
    let id = syntax::certificate_id(id)?;
    let certificate = required(store, &id)?;
    Ok(QueryReply::Certificate(Box::new(CertificateDescription {
        certificate_arn: store.arn(KIND, &id),
        status: certificate.status(),
        created_at: Timestamp(certificate.created_at),
        modified_at: Timestamp(certificate.modified_at),
        customer_version: certificate.customer_version,
        validity: validity(&certificate),
        certificate_mode: certificate.mode(),
        ca_certificate_id: certificate.ca_certificate_id,
        certificate_pem: certificate.certificate_pem,
        generation_id: certificate.generation_id,
        owned_by: transfers::owner(store, &id, certificate.transfer.as_ref()),
        previous_owner: certificate.previous_owner.and_then(AccountId::from_u64),
        transfer: certificate.transfer.map(transfers::description),
        certificate_id: id,
    })))
}

/// From when to when the certificate is valid.
pub(crate) fn validity(certificate: &record::Certificate) -> Validity {
    Validity { not_before: Timestamp(certificate.not_before), not_after: Timestamp(certificate.not_after) }
}

/// ListCertificates.
pub(crate) fn list(
    store: &Store<'_>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let order = Order::ascending(ascending);
    let prefix = keys::certificates_by_date(store.scope, order);
    summaries(store, &Listing::new("ListCertificates", &[order.name()], prefix), page, now)
}

/// ListCertificatesByCA: a CA that is unknown or deleted has no rule against it.
pub(crate) fn list_by_ca(
    store: &Store<'_>,
    ca_certificate_id: &str,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let ca = syntax::certificate_id(ca_certificate_id)?;
    let order = Order::ascending(ascending);
    let prefix = keys::certificates_by_ca(store.scope, order, &ca);
    summaries(store, &Listing::new("ListCertificatesByCA", &[&ca, order.name()], prefix), page, now)
}

fn summaries(
    store: &Store<'_>,
    listing: &Listing<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let (pairs, next) = page::read(store, listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, _) in &pairs {
        let id = keys::last_part(key).unwrap_or_default();
        let record: Option<record::Certificate> = store.record(&keys::certificate(store.scope, id))?;
        items.extend(record.map(|certificate| CertificateSummary {
            certificate_arn: store.arn(KIND, id),
            certificate_id: id.to_owned(),
            status: certificate.status(),
            certificate_mode: certificate.mode(),
            created_at: Timestamp(certificate.created_at),
        }));
    }
    Ok(QueryReply::Certificates(Listed { items, next }))
}

pub(crate) fn required(store: &Store<'_>, id: &str) -> Result<record::Certificate, Error> {
    store.record(&keys::certificate(store.scope, id))?.ok_or_else(|| Error::not_found("Certificate", id))
}

#[cfg(test)]
mod tests;
