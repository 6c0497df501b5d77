//! Every key follows from the records: nothing dangles and nothing is missing.

use std::collections::BTreeSet;

use bytes::Bytes;
use fleethaven_types::{Arn, Scope, Timestamp};

use crate::keys::{self, Order};
use crate::record;
use crate::shapes::CertificateMode;
use crate::testing::MemoryView;
use crate::view::View;

/// Collections whose keys are records of their own; all other keys must follow from them.
const RECORDS: &[&str] = &[
    "thing",
    "thing-group",
    "group-of-thing",
    "billing-group",
    "thing-type",
    "certificate",
    "ca-certificate",
    "registration-code",
    "policy",
    "policy-version",
    "policy-of-target",
    "thing-of-principal",
    "event-configurations",
    "authorizer",
    "default-authorizer",
    "domain-configuration",
    "domain",
    "role-alias",
    "provisioning-template",
    "provisioning-template-version",
    "ownership-token",
    "certificate-provider",
    "rule",
    "tag",
    "issuing-ca",
    "account",
];

fn value<R: prost::Message + Default>(view: &MemoryView, key: &[u8]) -> R {
    record::decode(&view.get(key).unwrap_or_else(|| panic!("{key:?} is missing"))).unwrap()
}

/// Panics unless the indexes are exactly those that the records call for, and no reference dangles.
pub(super) fn check(view: &MemoryView) {
    let mut expected = BTreeSet::new();
    let mut rules = 0;
    for key in view.entries().keys() {
        let parsed = keys::parse(key).unwrap_or_else(|| panic!("{key:?} is no key"));
        let name = *parsed.parts.first().unwrap();
        match (parsed.account, parsed.region, parsed.collection) {
            ("global", _, "access-key") => {
                let account = value::<record::AccessKey>(view, key).account;
                let account = fleethaven_types::AccountId::from_u64(account).unwrap();
                expected.insert(keys::access_key_of_account(account, name));
                expected.insert(key.clone());
            }
            ("global", _, "scope" | "enrolment-end") => _ = expected.insert(key.clone()),
            ("global", ..) | (_, "_", _) => {}
            (_, _, collection) => {
                let scope = parsed.scope().unwrap();
                assert!(view.get(&keys::scope_marker(scope)).is_some());
                rules += usize::from(collection == "rule");
                expect(view, scope, collection, &parsed.parts, key, &mut expected);
            }
        }
        if RECORDS.contains(&parsed.collection) && parsed.account != "global" {
            expected.insert(key.clone());
        }
        if parsed.account == "global" && parsed.collection == "account" {
            expected.insert(key.clone());
        }
        if parsed.collection == "rule-count" {
            expected.insert(key.clone());
        }
    }
    let actual: BTreeSet<Bytes> = view.entries().keys().cloned().collect();
    assert_eq!(actual, expected);
    let counted: u64 = view
        .entries()
        .iter()
        .filter(|(key, _)| keys::parse(key).unwrap().collection == "rule-count")
        .map(|(_, value)| record::decode::<record::Count>(value).unwrap().count)
        .sum();
    assert_eq!(usize::try_from(counted).unwrap(), rules);
}

fn expect(
    view: &MemoryView,
    scope: Scope,
    collection: &str,
    parts: &[&str],
    key: &Bytes,
    expected: &mut BTreeSet<Bytes>,
) {
    match (collection, parts) {
        ("thing", [name]) => {
            let thing: record::Thing = value(view, key);
            for (attribute, value) in &thing.attributes {
                expected.insert(keys::thing_by_attribute(scope, attribute, value, name));
            }
            if let Some(group) = &thing.billing_group_id
                && let Some(name) = &thing.billing_group_name
                && id_of_billing_group(view, scope, name).as_ref() == Some(group)
            {
                expected.insert(keys::thing_of_billing_group(scope, group, name_of_thing(parts)));
            }
            if let Some(thing_type) = &thing.thing_type_name {
                value::<record::ThingType>(view, &keys::thing_type(scope, thing_type));
                expected.insert(keys::thing_by_type(scope, thing_type, name));
            }
        }
        ("thing-group", [name]) => {
            let group: record::ThingGroup = value(view, key);
            let parent = group.ancestors.last().map_or("", |parent| parent.name.as_str());
            expected.insert(keys::thing_groups_of_parent(scope, parent, name));
            for ancestor in &group.ancestors {
                let above: record::ThingGroup = value(view, &keys::thing_group(scope, &ancestor.name));
                assert_eq!(above.thing_group_id, ancestor.id);
                expected.insert(keys::thing_group_of_ancestor(scope, &ancestor.name, name));
            }
        }
        ("group-of-thing", [thing, _]) => {
            value::<record::Thing>(view, &keys::thing(scope, thing));
            let membership: record::ThingGroupMembership = value(view, key);
            let id = &membership.thing_group_id;
            expected.insert(keys::thing_of_group(scope, id, thing));
            for above in membership.ancestor_ids.iter().chain([id]) {
                expected.insert(keys::thing_below_group(scope, above, thing));
            }
        }
        // What a deleted group leaves behind is swept later.
        ("thing-group-remains", [id]) => {
            expected.insert(key.clone());
            expected.extend(
                view.scan(&keys::things_of_group(scope, id), None, usize::MAX).into_iter().map(|pair| pair.0),
            );
        }
        ("billing-group-remains", [id]) => {
            expected.insert(key.clone());
            let left = view.scan(&keys::things_of_billing_group(scope, id), None, usize::MAX);
            expected.extend(left.into_iter().map(|pair| pair.0));
        }
        ("certificate", [id]) => {
            let certificate: record::Certificate = value(view, key);
            expected.insert(keys::certificate_owner(id, scope));
            for order in Order::BOTH {
                let created = Timestamp(certificate.created_at);
                expected.insert(keys::certificate_by_date(scope, order, created, id));
                if let Some(ca) = &certificate.ca_certificate_id {
                    expected.insert(keys::certificate_by_ca(scope, order, ca, created, id));
                }
            }
        }
        ("ca-certificate", [id]) => {
            let ca: record::CaCertificate = value(view, key);
            expected.insert(keys::ca_certificate_by_subject(scope, &ca.subject_hash, id));
            for order in Order::BOTH {
                expected.insert(keys::ca_certificate_by_date(scope, order, Timestamp(ca.created_at), id));
            }
            if crate::first_connect::may_register(&ca) {
                expected.insert(keys::auto_registration(scope, &ca.subject_hash, id));
            }
            if ca.mode() == CertificateMode::Default {
                expected.insert(keys::default_ca_owner(id, scope));
            }
        }
        ("policy", [name]) => {
            let policy: record::Policy = value(view, key);
            value::<record::PolicyVersion>(view, &keys::policy_version(scope, name, policy.default_version));
            for order in Order::BOTH {
                expected.insert(keys::policy_by_date(scope, order, Timestamp(policy.created_at), name));
            }
        }
        ("policy-version", [name, _]) => _ = value::<record::Policy>(view, &keys::policy(scope, name)),
        ("policy-of-target", [target, policy]) => {
            let attachment: record::PolicyAttachment = value(view, key);
            value::<record::Policy>(view, &keys::policy(scope, policy));
            target_exists(view, scope, target);
            for order in Order::BOTH {
                let attached = Timestamp(attachment.attached_at);
                expected.insert(keys::target_of_policy(scope, order, policy, attached, target));
            }
        }
        ("thing-of-principal", [principal, thing]) => {
            value::<record::Thing>(view, &keys::thing(scope, thing));
            target_exists(view, scope, principal);
            expected.insert(keys::principal_of_thing(scope, thing, principal));
        }
        ("tag", [arn, _]) => tagged_exists(view, scope, arn),
        _ => {}
    }
}

fn name_of_thing<'a>(parts: &[&'a str]) -> &'a str {
    parts.first().unwrap()
}

fn id_of_billing_group(view: &MemoryView, scope: Scope, name: &str) -> Option<String> {
    let group = view.get(&keys::billing_group(scope, name))?;
    Some(record::decode::<record::BillingGroup>(&group).unwrap().billing_group_id)
}

/// A target of policies, or a principal.
fn target_exists(view: &MemoryView, scope: Scope, arn: &str) {
    if let Ok(arn) = arn.parse::<Arn>() {
        if arn.kind == "thinggroup" {
            value::<record::ThingGroup>(view, &keys::thing_group(scope, &arn.name));
            return;
        }
        value::<record::Certificate>(view, &keys::certificate(scope, &arn.name));
    }
}

fn tagged_exists(view: &MemoryView, scope: Scope, arn: &str) {
    let arn: Arn = arn.parse().unwrap();
    let key = match arn.kind.as_str() {
        "policy" => keys::policy(scope, &arn.name),
        "rule" => keys::rule(scope, &arn.name),
        "thinggroup" => keys::thing_group(scope, &arn.name),
        "billinggroup" => keys::billing_group(scope, &arn.name),
        "cacert" => keys::ca_certificate(scope, &arn.name),
        _ => keys::thing_type(scope, &arn.name),
    };
    assert!(view.get(&key).is_some(), "tags of {arn} are left over");
}
