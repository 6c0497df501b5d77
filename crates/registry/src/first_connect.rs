//! Just-in-time registration and provisioning (provisioning.md sections 3 and 4): a device connects for the first time with a
//! certificate of a CA that is registered for that.

use std::collections::BTreeMap;

use fleethaven_types::Timestamp;
use serde_json::json;

use crate::ca_certificates;
use crate::certificates;
use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::provisioning;
use crate::provisioning_templates;
use crate::query::QueryReply;
use crate::record::{self, RegistrationTemplate};
use crate::shapes::{
    AutoRegistrationStatus, CaCertificateStatus, CertificateRegistration, CertificateStatus, FirstConnect,
    FirstConnected, IssuingAuthority, Provision, TemplateType,
};
use crate::store::{Outcome, Store};
use crate::syntax;
use crate::template::{CERTIFICATE, Plan, Purpose, Template};
use crate::transaction::Transaction;
use crate::view::Emit;

/// The registered CAs of a subject, in all accounts, that let devices register themselves.
pub(crate) fn authorities(store: &Store<'_>, subject: &str) -> Result<QueryReply, Error> {
    let hash = ca_certificates::subject_hash(subject);
    let mut found = Vec::new();
    for (key, _) in store.view.scan(&keys::auto_registrations(&hash), None, MOST_AUTHORITIES) {
        let Some((scope, id)) = keys::parse_auto_registration(&key) else { continue };
        let store = Store { view: store.view, scope };
        if let Some(ca) = store.record::<record::CaCertificate>(&keys::ca_certificate(scope, &id))? {
            found.push(IssuingAuthority { scope, certificate_id: id, certificate_pem: ca.certificate_pem });
        }
    }
    Ok(QueryReply::IssuingAuthorities(found))
}

/// CAs of one subject that are looked at, of all accounts.
const MOST_AUTHORITIES: usize = 100;

/// FirstConnect: registers the certificate unless that is done, and tells of it, or provisions by the CA's template. What
/// cannot be provisioned stays registered, and is tried again with the next connection.
pub(crate) fn first_connect(store: &Store<'_>, context: &Context, args: &FirstConnect) -> Outcome {
    let certificate_id = syntax::certificate_id(&args.certificate.certificate_id)?;
    let ca_id = syntax::certificate_id(&args.certificate.ca_certificate_id)?;
    let ca: record::CaCertificate = store
        .record(&keys::ca_certificate(store.scope, &ca_id))?
        .ok_or_else(|| Error::not_found("CA certificate", &ca_id))?;
    if !may_register(&ca) {
        let message = format!("CA certificate '{ca_id}' does not let devices register themselves");
        return Err(Error::new(ErrorCode::CertificateStateException, message));
    }
    let mut registering = Transaction::new(store, context);
    let registered_at = match known(store, &certificate_id, &ca_id)? {
        Some(at) => at,
        None => {
            let (args, id) = (&args.certificate, ca_id.clone());
            registering
                .run(|store, context| certificates::register_on_connect(store, context, args, (&ca, id)))?;
            context.now
        }
    };
    let Some(config) = &ca.registration_config else {
        let mut effects = registering.into_effects();
        effects.emits.push(registered(store, context, (&certificate_id, &ca_id), registered_at));
        return Ok((Reply::FirstConnected(Box::new(FirstConnected::Registered)), effects));
    };
    let made =
        registering.attempt(|transaction| provision(transaction, config, &certificate_id, &args.subject));
    let connected = match made {
        Ok(thing_name) => FirstConnected::Provisioned(thing_name),
        Err(error) => FirstConnected::NotProvisioned(error.to_string()),
    };
    Ok((Reply::FirstConnected(Box::new(connected)), registering.into_effects()))
}

/// Whether devices may register themselves with certificates of the CA.
pub(crate) fn may_register(ca: &record::CaCertificate) -> bool {
    ca.status() == CaCertificateStatus::Active
        && ca.auto_registration_status() == AutoRegistrationStatus::Enable
}

/// When the certificate was registered, if it was: so by itself, and nobody has decided about it yet.
fn known(store: &Store<'_>, id: &str, ca_id: &str) -> Result<Option<Timestamp>, Error> {
    let Some(certificate) = store.record::<record::Certificate>(&keys::certificate(store.scope, id))? else {
        return Ok(None);
    };
    let waits = certificate.status() == CertificateStatus::PendingActivation
        && certificate.ca_certificate_id.as_deref() == Some(ca_id);
    if !waits {
        let message = format!("certificate '{id}' does not wait for its activation");
        return Err(Error::new(ErrorCode::CertificateStateException, message));
    }
    Ok(Some(Timestamp(certificate.created_at)))
}

/// `$aws/events/certificates/registered/{CA certificate}`
fn registered(
    store: &Store<'_>,
    context: &Context,
    (certificate_id, ca_id): (&str, &str),
    registered_at: Timestamp,
) -> Emit {
    let payload = json!({
        "certificateId": certificate_id,
        "caCertificateId": ca_id,
        "timestamp": context.now.as_millis(),
        "certificateStatus": "PENDING_ACTIVATION",
        "awsAccountId": store.scope.account.to_string(),
        "certificateRegistrationTimestamp": registered_at.as_millis().to_string(),
    });
    Emit::new(store.scope, format!("$aws/events/certificates/registered/{ca_id}"), payload.to_string())
}

/// Makes what the template says; the thing's name.
fn provision(
    transaction: &mut Transaction<'_>,
    config: &RegistrationTemplate,
    certificate_id: &str,
    subject: &BTreeMap<String, String>,
) -> Result<Option<String>, Error> {
    let store = transaction.store();
    let body = match (&config.template_body, &config.template_name) {
        (Some(body), _) => body.clone(),
        (None, Some(name)) => {
            let template = provisioning_templates::in_use(&store, name, TemplateType::Jitp)?;
            if !template.enabled {
                return Err(Error::invalid(format!("provisioning template '{name}' is not enabled")));
            }
            template.body
        }
        (None, None) => return Err(Error::internal("a registration configuration without a template")),
    };
    let plan = plan(&body, certificate_id, subject).map_err(|error| Error::invalid(error.to_string()))?;
    let certificate = plan.certificate.is_some();
    let certificate = certificate.then(|| CertificateRegistration::Existing(certificate_id.to_owned()));
    let provisioned = provisioning::carry_out(transaction, &Provision { plan, certificate })?;
    Ok(provisioned.thing_name)
}

/// Every parameter comes from the certificate.
fn plan(
    body: &str,
    certificate_id: &str,
    subject: &BTreeMap<String, String>,
) -> Result<Plan, crate::template::Error> {
    let mut values: BTreeMap<String, String> =
        subject.iter().map(|(name, value)| (format!("{CERTIFICATE}{name}"), value.clone())).collect();
    values.insert(format!("{CERTIFICATE}Id"), certificate_id.to_owned());
    let template = Template::parse(body, Purpose::Provisioning)?;
    template.check_certificate(&values)?;
    template.resolve(&BTreeMap::new(), &values)
}

#[cfg(test)]
mod tests;
