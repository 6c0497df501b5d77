//! Random commands against a naive model of things, and against the invariants.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::actions::{action, thing_type};
use super::invariants;
use super::paging::walk;
use crate::command::Action;
use crate::query::{QueryKind, QueryReply};
use crate::shapes::*;
use crate::testing::Registry;

/// What a naive registry of things holds: type and attributes by name.
type Model = BTreeMap<String, (Option<String>, Attributes)>;

fn apply(model: &mut Model, action: &Action) {
    match action {
        Action::CreateThing(args) => {
            let mut attributes = args.attributes.clone();
            attributes.retain(|_, value| !value.is_empty());
            model.insert(args.thing_name.clone(), (args.thing_type_name.clone(), attributes));
        }
        Action::UpdateThing(args) => {
            let (thing_type, attributes) = model.get_mut(&args.thing_name).unwrap();
            if args.remove_thing_type {
                *thing_type = None;
            }
            *thing_type = args.thing_type_name.clone().or(thing_type.take());
            if let Some(payload) = &args.attribute_payload {
                let old = if payload.merge { attributes.clone() } else { Attributes::new() };
                *attributes = old.into_iter().chain(payload.attributes.clone()).collect();
                attributes.retain(|_, value| !value.is_empty());
            }
        }
        Action::DeleteThing(args) => _ = model.remove(&args.thing_name),
        _ => {}
    }
}

fn filters() -> impl Strategy<Value = ListThings> {
    let attribute = option::of(select(vec!["k", "kk"]).prop_map(str::to_owned));
    let value = option::of(select(vec!["", "x", "xy"]).prop_map(str::to_owned));
    (attribute, value, any::<bool>(), option::of(thing_type())).prop_map(
        |(name, value, prefix, thing_type)| ListThings {
            attribute_value: value.filter(|_| name.is_some()),
            attribute_name: name,
            use_prefix_attribute_value: prefix,
            thing_type_name: thing_type,
            page: PageRequest::default(),
        },
    )
}

fn matches(filter: &ListThings, thing_type: Option<&String>, attributes: &Attributes) -> bool {
    let of_type = filter.thing_type_name.is_none() || filter.thing_type_name.as_ref() == thing_type;
    let of_attribute = filter.attribute_name.as_ref().is_none_or(|name| {
        attributes.get(name).is_some_and(|value| match &filter.attribute_value {
            None => true,
            Some(wanted) if filter.use_prefix_attribute_value => value.starts_with(wanted),
            Some(wanted) => value == wanted,
        })
    });
    of_type && of_attribute
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn random_commands_keep_everything_consistent(
        actions in vec((action(), 0..3u64), 1..80),
        filter in filters(),
        limit in 1..4u32,
    ) {
        let mut registry = Registry::new().unwrap();
        let mut model = Model::new();
        for (action, seconds) in actions {
            registry.wait(seconds);
            let before = registry.view.clone();
            match registry.run(action.clone()) {
                Ok(_) => apply(&mut model, &action),
                Err(_) => prop_assert_eq!(&before, &registry.view),
            }
            invariants::check(&registry.view);
        }
        let mut names: Vec<String> = walk(limit, |page| {
            let args = ListThings { page, ..filter.clone() };
            match registry.ask(QueryKind::ListThings(Box::new(args))).unwrap() {
                QueryReply::Things(listed) => listed,
                other => panic!("{other:?}"),
            }
        })
        .into_iter()
        .map(|thing| thing.thing_name)
        .collect();
        names.sort();
        let wanted: Vec<&String> = model
            .iter()
            .filter(|(_, (thing_type, attributes))| matches(&filter, thing_type.as_ref(), attributes))
            .map(|(name, _)| name)
            .collect();
        prop_assert_eq!(names.iter().collect::<Vec<_>>(), wanted);
        for ascending in [true, false] {
            listings_equal_the_records(&registry, limit, ascending);
        }
    }

    #[test]
    fn arbitrary_texts_never_panic(text in ".{0,80}", other in "\\PC{0,40}") {
        let mut registry = Registry::new().unwrap();
        let tag = Tag { key: text.clone(), value: other.clone() };
        let actions = [
            Action::CreateThing(Box::new(CreateThing { thing_name: text.clone(), ..CreateThing::default() })),
            Action::DeleteCaCertificate(text.clone()),
            Action::DeletePolicyVersion(Box::new(PolicyVersionName {
                policy_name: "p".to_owned(),
                version_id: text.clone(),
            })),
            Action::AttachPolicy(Box::new(PolicyTarget { policy_name: other, target: text.clone() })),
            Action::CreatePolicy(Box::new(CreatePolicy {
                policy_name: "p".to_owned(),
                policy_document: text.clone(),
                tags: vec![tag.clone()],
            })),
            Action::CreateTopicRule(Box::new(TopicRule {
                rule_name: "r".to_owned(),
                payload: TopicRulePayload { sql: text.clone(), ..TopicRulePayload::default() },
                tags: vec![tag.clone()],
            })),
            Action::TagResource(Box::new(TagResource { resource_arn: text.clone(), tags: vec![tag] })),
        ];
        for action in actions {
            let _ = registry.run(action);
        }
        let page = PageRequest { token: Some(text.clone()), limit: None };
        let listed = registry.ask(QueryKind::ListPolicies { ascending: true, page });
        prop_assert!(listed.is_err());
        let _ = registry.ask(QueryKind::Principal { certificate_id: text.clone() });
        let _ = crate::classify(text.as_bytes());
    }
}

/// Certificates, CA certificates and policies are listed by creation date, each once.
fn listings_equal_the_records(registry: &Registry, limit: u32, ascending: bool) {
    let certificates =
        walk(limit, |page| match registry.ask(QueryKind::ListCertificates { ascending, page }).unwrap() {
            QueryReply::Certificates(listed) => listed,
            other => panic!("{other:?}"),
        });
    let mut dates: Vec<_> = certificates.iter().map(|certificate| certificate.created_at).collect();
    if !ascending {
        dates.reverse();
    }
    assert!(dates.is_sorted());
    assert_eq!(certificates.len(), records(registry, "certificate"));
    let policies =
        walk(limit, |page| match registry.ask(QueryKind::ListPolicies { ascending, page }).unwrap() {
            QueryReply::Policies(listed) => listed,
            other => panic!("{other:?}"),
        });
    assert_eq!(policies.len(), records(registry, "policy"));
    let authorities = walk(limit, |page| {
        let kind = QueryKind::ListCaCertificates { template_name: None, ascending, page };
        match registry.ask(kind).unwrap() {
            QueryReply::CaCertificates(listed) => listed,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(authorities.len(), records(registry, "ca-certificate"));
}

fn records(registry: &Registry, collection: &str) -> usize {
    let of = |key: &[u8]| {
        crate::keys::parse(key).is_some_and(|key| key.account != "global" && key.collection == collection)
    };
    registry.view.entries().keys().filter(|key| of(key)).count()
}
