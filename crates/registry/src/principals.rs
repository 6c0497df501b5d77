//! Principals and the things they are attached to (provisioning.md section 2).

use fleethaven_types::{Arn, Region, Timestamp};
use prost::Message;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    AttachThingPrincipal, CertificateStatus, DetachThingPrincipal, Listed, PageRequest, PrincipalThing,
    ThingPrincipal, ThingPrincipalType,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::things;
use crate::view::Effects;

/// The canonical text of a principal: the ARN of a certificate that exists, or an identity id.
pub(crate) fn principal(store: &Store<'_>, text: &str) -> Result<String, Error> {
    if is_identity(text) {
        return Ok(text.to_owned());
    }
    let invalid = || Error::invalid(format!("'{}' is not a principal", syntax::shortened(text)));
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    if arn.kind != "cert" {
        return Err(invalid());
    }
    let id = syntax::certificate_id(&arn.name)?;
    if arn.scope != store.scope || !store.exists(&keys::certificate(store.scope, &id)) {
        return Err(Error::not_found("Certificate", text));
    }
    Ok(store.arn("cert", &id))
}

/// Refuses to attach anything to a certificate that is between two accounts.
pub(crate) fn check_attachable(store: &Store<'_>, principal: &str) -> Result<(), Error> {
    let Ok(arn) = principal.parse::<Arn>() else { return Ok(()) };
    let certificate: Option<record::Certificate> =
        store.record(&keys::certificate(store.scope, &arn.name))?;
    match certificate {
        Some(certificate) if certificate.status() == CertificateStatus::PendingTransfer => {
            Err(Error::invalid(format!("certificate '{}' is being transferred", arn.name)))
        }
        _ => Ok(()),
    }
}

/// A Cognito identity id: a region, a colon and a UUID.
fn is_identity(text: &str) -> bool {
    let Some((region, id)) = text.split_once(':') else { return false };
    let uuid = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    region.parse::<Region>().is_ok() && uuid
}

/// AttachThingPrincipal. An exclusive principal is attached to exactly one thing.
pub(crate) fn attach(store: &Store<'_>, context: &Context, args: &AttachThingPrincipal) -> Outcome {
    let thing = &args.thing_name;
    syntax::registry_name("thingName", thing)?;
    things::required(store, thing)?;
    let principal = principal(store, &args.principal)?;
    let key = keys::thing_of_principal(store.scope, &principal, thing);
    if let Some(existing) = store.record::<record::ThingPrincipal>(&key)? {
        return already_attached(args, existing.thing_principal_type());
    }
    check_attachable(store, &principal)?;
    let kind = args.thing_principal_type.unwrap_or(ThingPrincipalType::NonExclusiveThing);
    check_exclusive(store, &principal, kind)?;
    let record =
        record::ThingPrincipal { thing_principal_type: kind.into(), attached_at: context.now.as_millis() };
    let mut effects = Effects::default();
    effects.put(key, record.encode_to_vec());
    effects.put(keys::principal_of_thing(store.scope, thing, &principal), record.encode_to_vec());
    done(effects)
}

fn already_attached(args: &AttachThingPrincipal, stored: ThingPrincipalType) -> Outcome {
    if args.thing_principal_type.is_none_or(|wanted| wanted == stored) {
        return done(Effects::default());
    }
    let message = format!("the principal is attached to thing '{}' with another type", args.thing_name);
    Err(Error::invalid(message))
}

/// Refuses an attachment to one more thing when either the new or an old attachment is exclusive.
fn check_exclusive(store: &Store<'_>, principal: &str, kind: ThingPrincipalType) -> Result<(), Error> {
    let others = store.view.scan(&keys::things_of_principal(store.scope, principal), None, 1);
    let Some((key, value)) = others.first() else { return Ok(()) };
    let other = keys::last_part(key).unwrap_or_default();
    let stored = record::decode::<record::ThingPrincipal>(value)?.thing_principal_type();
    if stored == ThingPrincipalType::ExclusiveThing {
        return Err(Error::invalid(format!("the principal is attached exclusively to thing '{other}'")));
    }
    if kind == ThingPrincipalType::ExclusiveThing {
        return Err(Error::invalid(format!(
            "the principal is attached to thing '{other}' and cannot be attached exclusively to another"
        )));
    }
    Ok(())
}

/// DetachThingPrincipal: an attachment that is not there is none the less gone.
pub(crate) fn detach(store: &Store<'_>, args: &DetachThingPrincipal) -> Outcome {
    let thing = &args.thing_name;
    syntax::registry_name("thingName", thing)?;
    things::required(store, thing)?;
    let principal = principal(store, &args.principal)?;
    let key = keys::thing_of_principal(store.scope, &principal, thing);
    let mut effects = Effects::default();
    if store.exists(&key) {
        effects.delete(key);
        effects.delete(keys::principal_of_thing(store.scope, thing, &principal));
    }
    done(effects)
}

/// ListThingPrincipals(V2).
pub(crate) fn list_of_thing(
    store: &Store<'_>,
    thing: &str,
    kind: Option<ThingPrincipalType>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    syntax::registry_name("thingName", thing)?;
    things::required(store, thing)?;
    let prefix = keys::principals_of_thing(store.scope, thing);
    let filters = [thing, filter(kind)];
    let listing = Listing::new("ListThingPrincipals", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let thing_principal_type = record::decode::<record::ThingPrincipal>(value)?.thing_principal_type();
        if kind.is_none_or(|kind| kind == thing_principal_type) {
            let principal = keys::last_part(key).unwrap_or_default().to_owned();
            items.push(ThingPrincipal { principal, thing_principal_type });
        }
    }
    Ok(QueryReply::ThingPrincipals(Listed { items, next }))
}

/// ListPrincipalThings(V2).
pub(crate) fn list_of_principal(
    store: &Store<'_>,
    text: &str,
    kind: Option<ThingPrincipalType>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let principal = principal(store, text)?;
    let prefix = keys::things_of_principal(store.scope, &principal);
    let filters = [principal.as_str(), filter(kind)];
    let listing = Listing::new("ListPrincipalThings", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let thing_principal_type = record::decode::<record::ThingPrincipal>(value)?.thing_principal_type();
        if kind.is_none_or(|kind| kind == thing_principal_type) {
            let thing_name = keys::last_part(key).unwrap_or_default().to_owned();
            items.push(PrincipalThing { thing_name, thing_principal_type });
        }
    }
    Ok(QueryReply::PrincipalThings(Listed { items, next }))
}

fn filter(kind: Option<ThingPrincipalType>) -> &'static str {
    match kind {
        None => "",
        Some(ThingPrincipalType::NonExclusiveThing) => "NON_EXCLUSIVE_THING",
        Some(ThingPrincipalType::ExclusiveThing) => "EXCLUSIVE_THING",
    }
}

#[cfg(test)]
mod tests;
