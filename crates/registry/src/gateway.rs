//! What gateways ask: a principal with everything that decides its requests, in one answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::certificates;
use crate::enrolment;
use crate::error::Error;
use crate::keys;
use crate::page;
use crate::policies;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{AttachedPolicy, AttachedThing, PrincipalView, StandingThing, ThingPrincipalType};
use crate::store::Store;
use crate::syntax;
use crate::thing_groups;
use crate::thing_types;

/// A certificate's status, its policies' default versions and its things with their groups' policies.
pub(crate) fn principal(store: &Store<'_>, certificate_id: &str) -> Result<QueryReply, Error> {
    let id = syntax::certificate_id(certificate_id)?;
    let record: Option<record::Certificate> = store.record(&keys::certificate(store.scope, &id))?;
    let Some(certificate) = record else { return Ok(QueryReply::Principal(None)) };
    if let Some(template) = &certificate.claim_template {
        return Ok(QueryReply::Principal(Some(Box::new(claim(store, &certificate, template)?))));
    }
    let arn = store.arn("cert", &id);
    let mut groups = Groups::of(store);
    let (things, more_things) = attached_things(&mut groups, &arn)?;
    let inherited = things.iter().flat_map(|thing| thing.group_policies.iter().cloned()).collect();
    Ok(QueryReply::Principal(Some(Box::new(PrincipalView {
        status: certificate.status(),
        validity: certificates::validity(&certificate),
        certificate_mode: certificate.mode(),
        certificate_pem: certificate.certificate_pem,
        policies: default_versions(store, policies::names_of_target(store, &arn))?,
        things,
        group_policies: default_versions::<BTreeSet<String>>(store, inherited)?,
        more_things,
    }))))
}

/// The certificate of a provisioning claim: whatever is attached to it does not count.
fn claim(
    store: &Store<'_>,
    certificate: &record::Certificate,
    template: &str,
) -> Result<PrincipalView, Error> {
    Ok(PrincipalView {
        status: certificate.status(),
        validity: certificates::validity(certificate),
        certificate_mode: certificate.mode(),
        certificate_pem: certificate.certificate_pem.clone(),
        policies: vec![enrolment::policy_of_claim(store, template)?],
        things: Vec::new(),
        group_policies: Vec::new(),
        more_things: false,
    })
}

fn default_versions<N: IntoIterator<Item = String>>(
    store: &Store<'_>,
    names: N,
) -> Result<Vec<AttachedPolicy>, Error> {
    let mut attached = Vec::new();
    for policy_name in names {
        if let Some((version, document)) = policies::default_document(store, &policy_name)? {
            attached.push(AttachedPolicy { policy_name, version_id: version.to_string(), document });
        }
    }
    Ok(attached)
}

fn attached_things(groups: &mut Groups<'_>, principal: &str) -> Result<(Vec<AttachedThing>, bool), Error> {
    let prefix = keys::things_of_principal(groups.store.scope, principal);
    let mut pairs = groups.store.view.scan(&prefix, None, page::MAX.saturating_add(1));
    let more = pairs.len() > page::MAX;
    pairs.truncate(page::MAX);
    let mut things = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        things.extend(attached_thing(groups, keys::last_part(key).unwrap_or_default(), value)?);
    }
    Ok((things, more))
}

fn attached_thing(
    groups: &mut Groups<'_>,
    name: &str,
    attachment: &[u8],
) -> Result<Option<AttachedThing>, Error> {
    let store = groups.store;
    let attachment: record::ThingPrincipal = record::decode(attachment)?;
    let Some(thing) = store.record::<record::Thing>(&keys::thing(store.scope, name))? else {
        return Ok(None);
    };
    let thing_type = match &thing.thing_type_name {
        Some(name) => store.record::<record::ThingType>(&keys::thing_type(store.scope, name))?,
        None => None,
    };
    let (thing_groups, group_policies) = groups.of_thing(name)?;
    Ok(Some(AttachedThing {
        thing_name: name.to_owned(),
        thing_type_name: thing.thing_type_name,
        attributes: thing.attributes,
        exclusive: attachment.thing_principal_type() == ThingPrincipalType::ExclusiveThing,
        propagating_attributes: thing_type
            .and_then(|found| thing_types::propagating(&found))
            .unwrap_or_default(),
        thing_groups,
        group_policies,
    }))
}

/// The policies of thing groups by the group's name: read once, however many things are in a group.
struct Groups<'a> {
    store: &'a Store<'a>,
    policies: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Groups<'a> {
    fn of(store: &'a Store<'a>) -> Self {
        Self { store, policies: BTreeMap::new() }
    }

    /// The groups that a thing is in with those above them, and the names of their policies.
    fn of_thing(&mut self, thing: &str) -> Result<(Vec<String>, Vec<String>), Error> {
        let (mut groups, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (name, group) in thing_groups::of_thing(self.store, thing)? {
            groups.extend(thing_groups::lineage(&name, &group).map(str::to_owned));
        }
        for group in &groups {
            let attached = || policies::names_of_groups(self.store, [group.as_str()].into_iter());
            names.extend(self.policies.entry(group.clone()).or_insert_with(attached).iter().cloned());
        }
        Ok((groups.into_iter().collect(), names.into_iter().collect()))
    }
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
        Some(attachment) => attached_thing(&mut Groups::of(store), thing, &attachment)?,
        None => None,
    };
    let Some(thing) = found else { return Ok(QueryReply::PrincipalThing(None)) };
    let policies = default_versions(store, thing.group_policies.clone())?;
    Ok(QueryReply::PrincipalThing(Some(Box::new(StandingThing { thing, policies }))))
}
