//! Random commands over a few names, so that they meet.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::command::Action;
use crate::requests::{DOCUMENT, arn, thing_and_group, validity};
use crate::shapes::*;

fn thing() -> impl Strategy<Value = String> {
    select(vec!["a", "ab", "b", "b:1", "bad name", ""]).prop_map(str::to_owned)
}

pub(super) fn thing_type() -> impl Strategy<Value = String> {
    select(vec!["t", "tt", "u"]).prop_map(str::to_owned)
}

fn group() -> impl Strategy<Value = String> {
    select(vec!["g", "gg", "h", "i", "j"]).prop_map(str::to_owned)
}

fn policy() -> impl Strategy<Value = String> {
    select(vec!["p", "pp", "q"]).prop_map(str::to_owned)
}

fn certificate() -> impl Strategy<Value = String> {
    select(vec!["1", "2", "3"]).prop_map(|digit| digit.repeat(64))
}

fn ca() -> impl Strategy<Value = String> {
    select(vec!["a", "b"]).prop_map(|digit| digit.repeat(64))
}

fn principal() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => certificate().prop_map(|id| arn("cert", &id)),
        1 => Just("eu-west-1:01234567-89ab-cdef-0123-456789abcdef".to_owned()),
        1 => Just(arn("thinggroup", "g")),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = select(vec!["", "x", "xy", "y"]).prop_map(str::to_owned);
    btree_map(select(vec!["k", "kk", "l", "m", "n"]).prop_map(str::to_owned), value, 0..5)
}

fn status() -> impl Strategy<Value = CertificateStatus> {
    use CertificateStatus::*;
    select(vec![Active, Active, Inactive, Inactive, Revoked, PendingActivation, PendingTransfer])
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    let tag =
        select(vec!["k", "l", "aws:x"]).prop_map(|key| Tag { key: key.to_owned(), value: "v".to_owned() });
    vec(tag, 0..2)
}

fn thing_action() -> impl Strategy<Value = Action> {
    let create = (thing(), option::of(thing_type()), attributes(), option::weighted(0.2, group())).prop_map(
        |(thing_name, thing_type_name, attributes, billing_group_name)| {
            Action::CreateThing(Box::new(CreateThing {
                thing_name,
                thing_type_name,
                attributes,
                billing_group_name,
            }))
        },
    );
    let update = (
        thing(),
        option::of(thing_type()),
        option::of((attributes(), any::<bool>())),
        option::of(1..3u64),
        any::<bool>(),
    )
        .prop_map(|(thing_name, thing_type_name, payload, expected_version, remove_thing_type)| {
            let attribute_payload = payload.map(|(attributes, merge)| AttributePayload { attributes, merge });
            Action::UpdateThing(Box::new(UpdateThing {
                thing_name,
                thing_type_name,
                attribute_payload,
                expected_version,
                remove_thing_type,
            }))
        });
    let delete = (thing(), option::of(1..3u64)).prop_map(|(thing_name, expected_version)| {
        Action::DeleteThing(Box::new(DeleteThing { thing_name, expected_version }))
    });
    let create_type = (thing_type(), tags()).prop_map(|(thing_type_name, tags)| {
        let properties = ThingTypeProperties::default();
        Action::CreateThingType(Box::new(CreateThingType { thing_type_name, properties, tags }))
    });
    let deprecate = (thing_type(), any::<bool>()).prop_map(|(thing_type_name, undo_deprecate)| {
        Action::DeprecateThingType(Box::new(DeprecateThingType { thing_type_name, undo_deprecate }))
    });
    prop_oneof![
        4 => create,
        3 => update,
        2 => delete,
        2 => create_type,
        1 => deprecate,
        1 => thing_type().prop_map(Action::DeleteThingType),
    ]
}

fn group_action() -> impl Strategy<Value = Action> {
    let create =
        (group(), option::of(group()), tags()).prop_map(|(thing_group_name, parent_group_name, tags)| {
            let properties = ThingGroupProperties::default();
            Action::CreateThingGroup(Box::new(CreateThingGroup {
                thing_group_name,
                parent_group_name,
                properties,
                tags,
            }))
        });
    let delete = || {
        (group(), option::of(1..3u64))
            .prop_map(|(group_name, expected_version)| Box::new(DeleteGroup { group_name, expected_version }))
    };
    let member = || (thing(), group()).prop_map(|(thing, group)| thing_and_group(&thing, &group));
    let several = (thing(), vec(group(), 0..3), vec(group(), 0..3)).prop_map(|(thing_name, add, remove)| {
        let args = UpdateThingGroupsForThing { thing_name, add, remove };
        Action::UpdateThingGroupsForThing(Box::new(args))
    });
    let billing = (group(), tags()).prop_map(|(billing_group_name, tags)| {
        let args = CreateBillingGroup { billing_group_name, description: None, tags };
        Action::CreateBillingGroup(Box::new(args))
    });
    prop_oneof![
        4 => create,
        2 => delete().prop_map(Action::DeleteThingGroup),
        6 => member().prop_map(Action::AddThingToThingGroup),
        1 => member().prop_map(Action::RemoveThingFromThingGroup),
        2 => several,
        2 => billing,
        1 => delete().prop_map(Action::DeleteBillingGroup),
        3 => member().prop_map(Action::AddThingToBillingGroup),
        1 => member().prop_map(Action::RemoveThingFromBillingGroup),
    ]
}

fn certificate_action() -> impl Strategy<Value = Action> {
    let issued = (certificate(), status()).prop_map(|(certificate_id, status)| {
        let certificate_pem = "pem".to_owned();
        let validity = validity();
        let args = RegisterIssuedCertificate {
            certificate_id,
            certificate_pem,
            status,
            validity,
            issued_for: IssuedFor::Caller,
        };
        Action::RegisterIssuedCertificate(Box::new(args))
    });
    let with_ca = (certificate(), ca(), option::of(status()), any::<bool>(), any::<bool>()).prop_map(
        |(certificate_id, ca_certificate_id, status, set_as_active, ca_certificate_given)| {
            Action::RegisterCertificate(Box::new(RegisterCertificate {
                certificate_id,
                certificate_pem: "pem".to_owned(),
                validity: validity(),
                ca_certificate_id,
                ca_certificate_given,
                status,
                set_as_active,
            }))
        },
    );
    let update = (certificate(), status()).prop_map(|(certificate_id, new_status)| {
        Action::UpdateCertificate(Box::new(UpdateCertificate { certificate_id, new_status }))
    });
    let delete = (certificate(), any::<bool>()).prop_map(|(certificate_id, force_delete)| {
        Action::DeleteCertificate(Box::new(DeleteCertificate { certificate_id, force_delete }))
    });
    let register_ca = (ca(), any::<bool>(), tags()).prop_map(|(certificate_id, set_as_active, tags)| {
        Action::RegisterCaCertificate(Box::new(RegisterCaCertificate {
            certificate_id,
            certificate_pem: "pem".to_owned(),
            subject: "CN=x".to_owned(),
            validity: validity(),
            verification_common_name: None,
            set_as_active,
            allow_auto_registration: false,
            registration_config: None,
            certificate_mode: CertificateMode::SniOnly,
            tags,
        }))
    });
    let update_ca = (ca(), any::<bool>()).prop_map(|(certificate_id, active)| {
        let status = if active { CaCertificateStatus::Active } else { CaCertificateStatus::Inactive };
        let new_status = Some(status);
        let args = UpdateCaCertificate { certificate_id, new_status, ..UpdateCaCertificate::default() };
        Action::UpdateCaCertificate(Box::new(args))
    });
    prop_oneof![
        3 => issued,
        2 => with_ca,
        2 => update,
        2 => delete,
        2 => register_ca,
        1 => update_ca,
        1 => ca().prop_map(Action::DeleteCaCertificate),
        1 => Just(Action::GetRegistrationCode),
        1 => Just(Action::DeleteRegistrationCode),
    ]
}

fn policy_action() -> impl Strategy<Value = Action> {
    let create = (policy(), tags()).prop_map(|(policy_name, tags)| {
        let policy_document = DOCUMENT.to_owned();
        Action::CreatePolicy(Box::new(CreatePolicy { policy_name, policy_document, tags }))
    });
    let version = (policy(), any::<bool>()).prop_map(|(policy_name, set_as_default)| {
        let policy_document = DOCUMENT.to_owned();
        Action::CreatePolicyVersion(Box::new(CreatePolicyVersion {
            policy_name,
            policy_document,
            set_as_default,
        }))
    });
    let named = || {
        (policy(), 1..4u8).prop_map(|(policy_name, version)| {
            Box::new(PolicyVersionName { policy_name, version_id: version.to_string() })
        })
    };
    let target = || {
        (policy(), principal())
            .prop_map(|(policy_name, target)| Box::new(PolicyTarget { policy_name, target }))
    };
    prop_oneof![
        3 => create,
        2 => version,
        1 => named().prop_map(Action::SetDefaultPolicyVersion),
        1 => named().prop_map(Action::DeletePolicyVersion),
        2 => policy().prop_map(Action::DeletePolicy),
        4 => target().prop_map(Action::AttachPolicy),
        1 => target().prop_map(Action::DetachPolicy),
        1 => target().prop_map(Action::AttachPrincipalPolicy),
        1 => target().prop_map(Action::DetachPrincipalPolicy),
    ]
}

fn other_action() -> impl Strategy<Value = Action> {
    use ThingPrincipalType::{ExclusiveThing, NonExclusiveThing};
    let kind = option::of(select(vec![ExclusiveThing, NonExclusiveThing]));
    let attach = (thing(), principal(), kind).prop_map(|(thing_name, principal, thing_principal_type)| {
        let args = AttachThingPrincipal { thing_name, principal, thing_principal_type };
        Action::AttachThingPrincipal(Box::new(args))
    });
    let detach = (thing(), principal()).prop_map(|(thing_name, principal)| {
        Action::DetachThingPrincipal(Box::new(DetachThingPrincipal { thing_name, principal }))
    });
    let rule = || {
        (select(vec!["r", "r_1", "r-1"]), tags()).prop_map(|(name, tags)| {
            let payload =
                TopicRulePayload { sql: "SELECT * FROM 'a/#'".to_owned(), ..TopicRulePayload::default() };
            Box::new(TopicRule { rule_name: name.to_owned(), payload, tags })
        })
    };
    let resource = prop_oneof![
        policy().prop_map(|name| arn("policy", &name)),
        thing_type().prop_map(|name| arn("thingtype", &name)),
        ca().prop_map(|id| arn("cacert", &id)),
        thing().prop_map(|name| arn("thing", &name)),
        group().prop_map(|name| arn("thinggroup", &name)),
        group().prop_map(|name| arn("billinggroup", &name)),
        Just(arn("rule", "r")),
    ];
    let tag = (resource.clone(), tags())
        .prop_map(|(resource_arn, tags)| Action::TagResource(Box::new(TagResource { resource_arn, tags })));
    let untag = resource.prop_map(|resource_arn| {
        let tag_keys = vec!["k".to_owned()];
        Action::UntagResource(Box::new(UntagResource { resource_arn, tag_keys }))
    });
    let name = || select(vec!["r", "r_1"]).prop_map(str::to_owned);
    prop_oneof![
        4 => attach,
        2 => detach,
        2 => rule().prop_map(Action::CreateTopicRule),
        1 => rule().prop_map(Action::ReplaceTopicRule),
        1 => name().prop_map(Action::DisableTopicRule),
        1 => name().prop_map(Action::DeleteTopicRule),
        2 => tag,
        1 => untag,
    ]
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![thing_action(), group_action(), certificate_action(), policy_action(), other_action()]
}
