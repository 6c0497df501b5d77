//! What gateways ask: a principal with everything that decides its requests, in one answer.

use crate::certificates;
use crate::error::Error;
use crate::keys;
use crate::page;
use crate::policies;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{AttachedPolicy, AttachedThing, PrincipalView, ThingPrincipalType};
use crate::store::Store;
use crate::syntax;
use crate::thing_types;

/// A certificate's status, its policies' default versions and its things.
pub(crate) fn principal(store: &Store<'_>, certificate_id: &str) -> Result<QueryReply, Error> {
    let id = syntax::certificate_id(certificate_id)?;
    let record: Option<record::Certificate> = store.record(&keys::certificate(store.scope, &id))?;
    let Some(certificate) = record else { return Ok(QueryReply::Principal(None)) };
    let arn = store.arn("cert", &id);
    let (things, more_things) = attached_things(store, &arn)?;
    Ok(QueryReply::Principal(Some(Box::new(PrincipalView {
        status: certificate.status(),
        validity: certificates::validity(&certificate),
        certificate_mode: certificate.mode(),
        certificate_pem: certificate.certificate_pem,
        policies: attached_policies(store, &arn)?,
        things,
        more_things,
    }))))
}

fn attached_policies(store: &Store<'_>, principal: &str) -> Result<Vec<AttachedPolicy>, Error> {
    let mut attached = Vec::new();
    for (key, _) in store.all(&keys::policies_of_target(store.scope, principal)) {
        let Some(name) = keys::last_part(&key) else { continue };
        if let Some((version, document)) = policies::default_document(store, name)? {
            let (policy_name, version_id) = (name.to_owned(), version.to_string());
            attached.push(AttachedPolicy { policy_name, version_id, document });
        }
    }
    Ok(attached)
}

fn attached_things(store: &Store<'_>, principal: &str) -> Result<(Vec<AttachedThing>, bool), Error> {
    let prefix = keys::things_of_principal(store.scope, principal);
    let mut pairs = store.view.scan(&prefix, None, page::MAX.saturating_add(1));
    let more = pairs.len() > page::MAX;
    pairs.truncate(page::MAX);
    let mut things = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        things.extend(attached_thing(store, keys::last_part(key).unwrap_or_default(), value)?);
    }
    Ok((things, more))
}

fn attached_thing(store: &Store<'_>, name: &str, attachment: &[u8]) -> Result<Option<AttachedThing>, Error> {
    let attachment: record::ThingPrincipal = record::decode(attachment)?;
    let Some(thing) = store.record::<record::Thing>(&keys::thing(store.scope, name))? else {
        return Ok(None);
    };
    let thing_type = match &thing.thing_type_name {
        Some(name) => store.record::<record::ThingType>(&keys::thing_type(store.scope, name))?,
        None => None,
    };
    Ok(Some(AttachedThing {
        thing_name: name.to_owned(),
        thing_type_name: thing.thing_type_name,
        attributes: thing.attributes,
        exclusive: attachment.thing_principal_type() == ThingPrincipalType::ExclusiveThing,
        propagating_attributes: thing_type
            .and_then(|found| thing_types::propagating(&found))
            .unwrap_or_default(),
    }))
}

/// One thing of a certificate, if it is attached.
pub(crate) fn principal_thing(
    store: &Store<'_>,
    certificate_id: &str,
    thing: &str,
) -> Result<QueryReply, Error> {
    let arn = store.arn("cert", &syntax::certificate_id(certificate_id)?);
    // Any client id may be asked for; one that is no thing's name has no key.
    if syntax::registry_name("thingName", thing).is_err() {
        return Ok(QueryReply::PrincipalThing(None));
    }
    let attachment = store.view.get(&keys::thing_of_principal(store.scope, &arn, thing));
    let found = match attachment {
        Some(attachment) => attached_thing(store, thing, &attachment)?,
        None => None,
    };
    Ok(QueryReply::PrincipalThing(found.map(Box::new)))
}
