//! Provision: what a resolved template says, done as one command (provisioning.md section 7.3). Any failure leaves nothing
//! behind.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::record;
use crate::shapes::{
    AttachThingPrincipal, AttributePayload, CertificateRegistration, CertificateStatus, CreatePolicy,
    CreateThing, PolicyTarget, Provision, Provisioned, UpdateCertificate, UpdateThing,
    UpdateThingGroupsForThing,
};
use crate::store::{Outcome, Store};
use crate::syntax;
use crate::template::{Override, PlannedCertificate, PlannedPolicy, PlannedThing, PolicySource};
use crate::transaction::Transaction;
use crate::{certificates, policies, principals, thing_groups, things};

/// Makes what is to be made, or refuses with what an operation of its own would have refused, as a
/// `ResourceRegistrationFailureException`; what an override forbids is a `ConflictingResourceUpdateException`.
pub(crate) fn provision(store: &Store<'_>, context: &Context, args: &Provision) -> Outcome {
    let mut transaction = Transaction::new(store, context);
    let provisioned = carry_out(&mut transaction, args)?;
    Ok((Reply::Provisioned(Box::new(provisioned)), transaction.into_effects()))
}

/// The same as part of a larger command.
pub(crate) fn carry_out(transaction: &mut Transaction<'_>, args: &Provision) -> Result<Provisioned, Error> {
    make(transaction, args).map_err(failure)
}

/// An error as the model of RegisterThing knows it.
fn failure(error: Error) -> Error {
    match error.code {
        ErrorCode::ConflictingResourceUpdateException | ErrorCode::InternalFailureException => error,
        _ => {
            let message = format!("{}: {}", error.code, error.message);
            Error::new(ErrorCode::ResourceRegistrationFailureException, message)
        }
    }
}

fn conflict(message: String) -> Error {
    Error::new(ErrorCode::ConflictingResourceUpdateException, message)
}

fn make(transaction: &mut Transaction<'_>, args: &Provision) -> Result<Provisioned, Error> {
    let plan = &args.plan;
    let mut resource_arns = BTreeMap::new();
    let mut certificate = None;
    if let (Some(planned), Some(registration)) = (&plan.certificate, &args.certificate) {
        let (id, pem) = register(transaction, planned, registration)?;
        let arn = transaction.store().arn("cert", &id);
        resource_arns.insert(planned.logical_name.clone(), arn.clone());
        certificate = Some((arn, pem));
    }
    for planned in &plan.policies {
        let name = policy(transaction, planned)?;
        resource_arns.insert(planned.logical_name.clone(), transaction.store().arn("policy", &name));
        if let Some((arn, _)) = &certificate {
            let target = PolicyTarget { policy_name: name, target: arn.clone() };
            transaction.run(|store, context| policies::attach(store, context, &target))?;
        }
    }
    if let Some(planned) = &plan.thing {
        thing(transaction, planned)?;
        resource_arns
            .insert(planned.logical_name.clone(), transaction.store().arn("thing", &planned.thing_name));
        if let Some((arn, _)) = &certificate {
            let (thing_name, principal) = (planned.thing_name.clone(), arn.clone());
            let attachment = AttachThingPrincipal { thing_name, principal, thing_principal_type: None };
            transaction.run(|store, context| principals::attach(store, context, &attachment))?;
        }
    }
    Ok(Provisioned {
        thing_name: plan.thing.as_ref().map(|thing| thing.thing_name.clone()),
        certificate_pem: certificate.map(|(_, pem)| pem),
        resource_arns,
    })
}

/// Registers the certificate unless it is registered; its id and PEM.
fn register(
    transaction: &mut Transaction<'_>,
    planned: &PlannedCertificate,
    registration: &CertificateRegistration,
) -> Result<(String, String), Error> {
    let id = match registration {
        CertificateRegistration::Existing(id) => id,
        CertificateRegistration::Issued(args) => &args.certificate_id,
        CertificateRegistration::Signed(args) => &args.certificate_id,
    };
    let id = syntax::certificate_id(id)?;
    let status = if planned.active { CertificateStatus::Active } else { CertificateStatus::Inactive };
    let store = transaction.store();
    let existing: Option<record::Certificate> = store.record(&keys::certificate(store.scope, &id))?;
    let pem = match (existing, registration) {
        (Some(existing), _) => {
            override_status(transaction, planned, (&id, status), existing.status())?;
            existing.certificate_pem
        }
        (None, CertificateRegistration::Existing(_)) => return Err(Error::not_found("Certificate", &id)),
        (None, CertificateRegistration::Issued(args)) => {
            let mut args = args.clone();
            args.status = status;
            transaction.run(|store, context| certificates::register_issued(store, context, &args))?;
            args.certificate_pem
        }
        (None, CertificateRegistration::Signed(args)) => {
            let mut args = args.clone();
            args.status = Some(status);
            transaction.run(|store, context| certificates::register_with_ca(store, context, &args))?;
            args.certificate_pem
        }
    };
    Ok((id, pem))
}

fn override_status(
    transaction: &mut Transaction<'_>,
    planned: &PlannedCertificate,
    (id, wanted): (&str, CertificateStatus),
    stored: CertificateStatus,
) -> Result<(), Error> {
    match planned.status_override {
        _ if stored == wanted => Ok(()),
        Override::DoNothing => Ok(()),
        Override::Fail => Err(conflict(format!("the status of certificate '{id}' would change"))),
        Override::Replace | Override::Merge => {
            let update = UpdateCertificate { certificate_id: id.to_owned(), new_status: wanted };
            transaction.run(|store, context| certificates::update(store, context, &update)).map(drop)
        }
    }
}

/// Makes a policy of this document unless there is one; its name.
fn policy(transaction: &mut Transaction<'_>, planned: &PlannedPolicy) -> Result<String, Error> {
    let document = match &planned.source {
        PolicySource::Name(name) => return Ok(name.clone()),
        PolicySource::Document(document) => document,
    };
    // The same document gives the same policy.
    let mut name = hex::encode_upper(Sha256::digest(document));
    name.truncate(40);
    let store = transaction.store();
    if !store.exists(&keys::policy(store.scope, &name)) {
        let (policy_name, policy_document) = (name.clone(), document.clone());
        let create = CreatePolicy { policy_name, policy_document, tags: Vec::new() };
        transaction.run(|store, context| policies::create(store, context, &create))?;
    }
    Ok(name)
}

fn thing(transaction: &mut Transaction<'_>, planned: &PlannedThing) -> Result<(), Error> {
    let name = &planned.thing_name;
    syntax::registry_name("ThingName", name)?;
    let store = transaction.store();
    let existing: Option<record::Thing> = store.record(&keys::thing(store.scope, name))?;
    match existing {
        None => {
            let create = CreateThing {
                thing_name: name.clone(),
                thing_type_name: planned.thing_type_name.clone(),
                attributes: planned.attributes.clone().unwrap_or_default(),
                billing_group_name: planned.billing_group_name.clone(),
            };
            transaction.run(|store, context| things::create(store, context, &create))?;
            groups(transaction, name, planned.thing_groups.as_deref(), Override::Merge)
        }
        Some(existing) => {
            change(transaction, planned, &existing)?;
            groups(transaction, name, planned.thing_groups.as_deref(), planned.thing_groups_override)
        }
    }
}

/// Changes of an existing thing what its overrides say.
fn change(
    transaction: &mut Transaction<'_>,
    planned: &PlannedThing,
    existing: &record::Thing,
) -> Result<(), Error> {
    let name = &planned.thing_name;
    let mut update = UpdateThing { thing_name: name.clone(), ..UpdateThing::default() };
    if let Some(wanted) = planned.attributes.as_ref().filter(|wanted| **wanted != existing.attributes) {
        let merge = planned.attributes_override == Override::Merge;
        match planned.attributes_override {
            Override::DoNothing => {}
            Override::Fail => return Err(conflict(format!("the attributes of thing '{name}' would change"))),
            Override::Replace | Override::Merge => {
                let attributes = wanted.clone();
                update.attribute_payload = Some(AttributePayload { attributes, merge });
            }
        }
    }
    if planned.thing_type_name.is_some() && planned.thing_type_name != existing.thing_type_name {
        match planned.thing_type_override {
            Override::DoNothing => {}
            Override::Fail => return Err(conflict(format!("the type of thing '{name}' would change"))),
            Override::Replace | Override::Merge => update.thing_type_name = planned.thing_type_name.clone(),
        }
    }
    if update.attribute_payload.is_some() || update.thing_type_name.is_some() {
        transaction.run(|store, context| things::update(store, context, &update))?;
    }
    Ok(())
}

fn groups(
    transaction: &mut Transaction<'_>,
    thing: &str,
    wanted: Option<&[String]>,
    setting: Override,
) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let wanted: BTreeSet<&String> = wanted.iter().collect();
    let stored: Vec<String> =
        thing_groups::of_thing(&transaction.store(), thing)?.into_iter().map(|(name, _)| name).collect();
    let add: Vec<String> =
        wanted.iter().filter(|name| !stored.contains(name)).map(|name| (*name).clone()).collect();
    let mut remove = Vec::new();
    match setting {
        Override::DoNothing => return Ok(()),
        Override::Fail if add.is_empty() => return Ok(()),
        Override::Fail => return Err(conflict(format!("the groups of thing '{thing}' would change"))),
        Override::Merge => {}
        Override::Replace => remove = stored.into_iter().filter(|name| !wanted.contains(name)).collect(),
    }
    if !add.is_empty() || !remove.is_empty() {
        let update = UpdateThingGroupsForThing { thing_name: thing.to_owned(), add, remove };
        transaction.run(|store, context| thing_groups::update_for_thing(store, context, &update))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
