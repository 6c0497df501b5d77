//! Rules of CA certificates and the registration code (security.md section 3).

mod registration;

pub(crate) use registration::{code, delete_code, register};

use bytes::Bytes;
use fleethaven_types::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::command::Context;
use crate::error::{Error, ErrorCode};
use crate::first_connect;
use crate::keys::{self, Order};
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record::{self, RegistrationTemplate};
use crate::shapes::{
    AutoRegistrationStatus, CaCertificateDescription, CaCertificateStatus, CaCertificateSummary,
    CertificateMode, Listed, PageRequest, RegistrationConfig, UpdateCaCertificate, Validity,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "cacert";

pub(crate) fn subject_hash(subject: &str) -> String {
    hex::encode(Sha256::digest(subject.as_bytes()))
}

/// Whether another registered CA certificate has the subject of `ca`.
pub(crate) fn has_namesake(store: &Store<'_>, ca: &record::CaCertificate) -> bool {
    store.count(&keys::ca_certificates_by_subject(store.scope, &ca.subject_hash), 2) > 1
}

fn index_keys(store: &Store<'_>, id: &str, ca: &record::CaCertificate) -> Vec<Bytes> {
    let created = Timestamp(ca.created_at);
    let mut all = vec![keys::ca_certificate_by_subject(store.scope, &ca.subject_hash, id)];
    for order in Order::BOTH {
        all.push(keys::ca_certificate_by_date(store.scope, order, created, id));
    }
    if ca.mode() == CertificateMode::Default {
        all.push(keys::default_ca_owner(id, store.scope));
    }
    if first_connect::may_register(ca) {
        all.push(keys::auto_registration(store.scope, &ca.subject_hash, id));
    }
    all
}

/// UpdateCACertificate.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateCaCertificate) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    if args.remove_auto_registration && args.registration_config.is_some() {
        return Err(Error::invalid("registrationConfig and removeAutoRegistration exclude each other"));
    }
    let template =
        args.registration_config.as_ref().map(|config| registration::template(store, config)).transpose()?;
    let before = required(store, &id)?;
    let mut after = before.clone();
    if args.remove_auto_registration {
        after.registration_config = None;
        after.set_auto_registration_status(AutoRegistrationStatus::Disable);
    }
    after.status = args.new_status.map_or(after.status, i32::from);
    let auto = args.new_auto_registration_status;
    after.auto_registration_status = auto.map_or(after.auto_registration_status, i32::from);
    after.registration_config = template.or(after.registration_config);
    let mut effects = Effects::default();
    if after != before {
        after.modified_at = context.now.as_millis();
        after.customer_version = before.customer_version.saturating_add(1);
        effects.put(keys::ca_certificate(store.scope, &id), after.encode_to_vec());
        let index = keys::auto_registration(store.scope, &after.subject_hash, &id);
        match (store.exists(&index), first_connect::may_register(&after)) {
            (false, true) => effects.put(index, Bytes::new()),
            (true, false) => effects.delete(index),
            _ => {}
        }
    }
    done(effects)
}

/// DeleteCACertificate: must be INACTIVE. Certificates registered under it stay.
pub(crate) fn delete(store: &Store<'_>, id: &str) -> Outcome {
    let id = syntax::certificate_id(id)?;
    let ca = required(store, &id)?;
    if ca.status() == CaCertificateStatus::Active {
        let message = format!("CA certificate '{id}' is ACTIVE and cannot be deleted");
        return Err(Error::new(ErrorCode::CertificateStateException, message));
    }
    let mut effects = Effects::default();
    effects.delete(keys::ca_certificate(store.scope, &id));
    for index in index_keys(store, &id, &ca) {
        effects.delete(index);
    }
    tags::delete_all(store, &mut effects, &store.arn(KIND, &id));
    done(effects)
}

/// DescribeCACertificate.
pub(crate) fn describe(store: &Store<'_>, id: &str) -> Result<QueryReply, Error> {
    let id = syntax::certificate_id(id)?;
    let ca = required(store, &id)?;
    Ok(QueryReply::CaCertificate(Box::new(description(store, &id, ca))))
}

/// The registered CA certificates with a subject.
pub(crate) fn by_subject(store: &Store<'_>, subject: &str) -> Result<QueryReply, Error> {
    let mut found = Vec::new();
    for (key, _) in store.all(&keys::ca_certificates_by_subject(store.scope, &subject_hash(subject))) {
        let id = keys::last_part(&key).unwrap_or_default();
        found.push(description(store, id, required(store, id)?));
    }
    Ok(QueryReply::CaCertificatesBySubject(found))
}

/// ListCACertificates; with a template name, pages may be short.
pub(crate) fn list(
    store: &Store<'_>,
    template_name: Option<&str>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let order = Order::ascending(ascending);
    let filters = [template_name.unwrap_or_default(), order.name()];
    let prefix = keys::ca_certificates_by_date(store.scope, order);
    let (pairs, next) = page::read(store, &Listing::new("ListCACertificates", &filters, prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, _) in &pairs {
        let id = keys::last_part(key).unwrap_or_default();
        let ca = required(store, id)?;
        let template = ca.registration_config.as_ref().and_then(|config| config.template_name.as_deref());
        if template_name.is_none() || template_name == template {
            items.push(CaCertificateSummary {
                certificate_arn: store.arn(KIND, id),
                certificate_id: id.to_owned(),
                status: ca.status(),
                created_at: Timestamp(ca.created_at),
            });
        }
    }
    Ok(QueryReply::CaCertificates(Listed { items, next }))
}

fn description(store: &Store<'_>, id: &str, ca: record::CaCertificate) -> CaCertificateDescription {
    let config = |template: RegistrationTemplate| RegistrationConfig {
        template_body: template.template_body,
        role_arn: template.role_arn,
        template_name: template.template_name,
    };
    CaCertificateDescription {
        certificate_arn: store.arn(KIND, id),
        certificate_id: id.to_owned(),
        status: ca.status(),
        created_at: Timestamp(ca.created_at),
        modified_at: Timestamp(ca.modified_at),
        auto_registration_status: ca.auto_registration_status(),
        customer_version: ca.customer_version,
        validity: Validity { not_before: Timestamp(ca.not_before), not_after: Timestamp(ca.not_after) },
        certificate_mode: ca.mode(),
        certificate_pem: ca.certificate_pem,
        generation_id: ca.generation_id,
        registration_config: ca.registration_config.map(config),
    }
}

fn required(store: &Store<'_>, id: &str) -> Result<record::CaCertificate, Error> {
    store
        .record(&keys::ca_certificate(store.scope, id))?
        .ok_or_else(|| Error::not_found("CA certificate", id))
}

#[cfg(test)]
mod tests;
