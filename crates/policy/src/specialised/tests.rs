use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::context::{ConnectAttributes, CustomKeys, ThingContext};
use crate::evaluate::Request;
use crate::fixture::{ACCOUNT, REGION, document, resource, set, verdict};
use crate::set::Policy;
use crate::settings::Settings;

fn publish(statements: &str) -> Specialised {
    set(statements).specialise(&Context::default(), Action::Publish, REGION, ACCOUNT)
}

fn rule(effect: &str, key: &str, pattern: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"iot:Publish","{key}":"{pattern}"}}"#)
}

#[test]
fn what_is_the_same_for_every_name() {
    let cases = [
        (rule("Allow", "Resource", "*"), Some(Verdict::Allow)),
        (rule("Allow", "Resource", "~topic/*"), Some(Verdict::Allow)),
        (rule("Allow", "Resource", "~topic/**"), Some(Verdict::Allow)),
        (rule("Allow", "Resource", "arn:aws:iot:*:*:topic/*"), Some(Verdict::Allow)),
        (rule("Allow", "Resource", "~topic/a"), None),
        (rule("Allow", "Resource", "~client/*"), Some(Verdict::ImplicitDeny)),
        (rule("Allow", "NotResource", "~client/*"), Some(Verdict::Allow)),
        (rule("Allow", "NotResource", "~topic/*"), Some(Verdict::ImplicitDeny)),
        (rule("Deny", "Resource", "~topic/a"), None),
        (rule("Deny", "Resource", "*"), Some(Verdict::ExplicitDeny)),
        (rule("Deny", "NotResource", "~client/*"), Some(Verdict::ExplicitDeny)),
        ([rule("Allow", "Resource", "*"), rule("Deny", "Resource", "~topic/a")].join(","), None),
        (
            [rule("Allow", "Resource", "*"), rule("Deny", "Resource", "~client/a")].join(","),
            Some(Verdict::Allow),
        ),
        (
            [rule("Allow", "Resource", "*"), rule("Deny", "Resource", "*")].join(","),
            Some(Verdict::ExplicitDeny),
        ),
    ];
    for (statements, expected) in cases {
        assert_eq!(publish(&statements).always(), expected, "{statements}");
    }
    assert!(publish(&rule("Deny", "Resource", "~topic/a")).allows_nothing());
    assert!(!publish(&rule("Allow", "Resource", "~topic/a")).allows_nothing());
}

#[test]
fn patterns_become_what_is_quickest() {
    let names = publish(
        &[
            rule("Allow", "Resource", "~topic/a/b"),
            rule("Allow", "Resource", "~topic/a/*"),
            rule("Allow", "Resource", "~topic/a/*"),
            rule("Allow", "Resource", "~topic/*/b"),
        ]
        .join(","),
    )
    .allows;
    let Names::Some(patterns) = names else { panic!("{names:?}") };
    let [exact, beginning, pattern] = &*patterns.matching else { panic!("{patterns:?}") };
    assert_eq!(*exact, Rest::Exactly(b"a/b".as_slice().into()));
    assert_eq!(*beginning, Rest::Beginning(b"a/".as_slice().into()));
    assert!(matches!(pattern, Rest::Pattern(_)));
}

#[test]
fn actions_without_a_resource_ignore_the_name() {
    let statement = r#"{"Effect":"Allow","Action":"iot:ListRetainedMessages","Resource":"*"}"#;
    let listing =
        set(statement).specialise(&Context::default(), Action::ListRetainedMessages, REGION, ACCOUNT);
    assert_eq!(listing.always(), Some(Verdict::Allow));
}

/// What contexts of the property tests are made of.
#[derive(Debug, Clone)]
struct Caller {
    client_id: Option<String>,
    thing: Option<(String, bool)>,
    connect: Option<(bool, bool)>,
    custom: Vec<String>,
}

impl Caller {
    fn with<T>(&self, use_it: impl FnOnce(&Context<'_>) -> T) -> T {
        let mut custom = CustomKeys::new();
        self.custom.iter().for_each(|value| custom.insert("aws:k", value.as_str()));
        let attributes = BTreeMap::from([("a".to_owned(), "*".to_owned())]);
        let connect = self
            .connect
            .map(|(persistent_connect, last_will)| ConnectAttributes { persistent_connect, last_will });
        let thing = self.thing.as_ref().map(|(name, is_attached)| ThingContext {
            name,
            type_name: None,
            attributes: Some(&attributes),
            is_attached: *is_attached,
        });
        use_it(&Context {
            client_id: self.client_id.as_deref(),
            source_ip: Some([10, 0, 0, 1].into()),
            thing,
            connect,
            custom: Some(&custom),
            ..Context::default()
        })
    }
}

fn callers() -> impl Strategy<Value = Caller> {
    let option = proptest::option::of::<&str>;
    let thing = proptest::option::of(("[ab*]{1,2}", any::<bool>()));
    let custom = proptest::collection::vec("[abc]", 0..3);
    (option("[ab*+/]{0,3}"), thing, proptest::option::of(any::<(bool, bool)>()), custom)
        .prop_map(|(client_id, thing, connect, custom)| Caller { client_id, thing, connect, custom })
}

fn actions() -> impl Strategy<Value = Action> {
    proptest::sample::select(Action::ALL)
}

fn resources() -> impl Strategy<Value = String> {
    let word = proptest::sample::select(vec![
        "a",
        "b",
        "/",
        "*",
        "?",
        "+",
        "#",
        ":",
        "é",
        "${iot:ClientId}",
        "${iot:Thing.ThingName}",
        "${*}",
        "${?}",
        "${$}",
        "${aws:k}",
        "${iot:Connection.Thing.Attributes[a]}",
        "${",
        "topic/",
        "client/",
    ]);
    let start = proptest::sample::select(vec![
        "~topic/",
        "~topicfilter/",
        "~client/",
        "~thing/",
        "~",
        "arn:aws:iot:*:*:topic/",
        "arn:*",
        "arn:aws:iot:e?-*",
        "arn:aws:iot:*:topic/",
        "arn:aws:iot:us-east-1:*:topic/",
    ]);
    let arn = (start, proptest::collection::vec(word, 0..6))
        .prop_map(|(start, words)| start.to_owned() + &words.concat());
    prop_oneof![1 => Just("*".to_owned()), 12 => arn]
}

fn conditions() -> impl Strategy<Value = String> {
    let operator = proptest::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "ForAllValues:StringEquals",
        "ForAnyValue:StringEquals",
        "StringEqualsIfExists",
        "ForAllValues:StringNotEquals",
        "StringEqualsIgnoreCase",
        "ArnLike",
    ]);
    let key = proptest::sample::select(vec![
        "aws:k",
        "iot:ClientId",
        "iot:ConnectAttributes",
        "iot:Connection.Thing.ThingName",
    ]);
    let value =
        proptest::sample::select(vec!["a", "*", "${iot:ClientId}", "${aws:k}", "PersistentConnect", ""]);
    let some = (operator, key, proptest::collection::vec(value, 0..3)).prop_map(|(operator, key, values)| {
        format!(r#","Condition":{{"{operator}":{{"{key}":{values:?}}}}}"#)
    });
    prop_oneof![2 => Just(String::new()), 1 => some]
}

fn statements() -> impl Strategy<Value = String> {
    let action = prop_oneof![
        actions().prop_map(|action| action.as_str().to_owned()),
        Just("iot:*".to_owned()),
        Just("iot:*Publish".to_owned())
    ];
    let effect = proptest::sample::select(vec!["Allow", "Deny"]);
    let action_key = proptest::sample::select(vec!["Action", "NotAction"]);
    let resource_key = proptest::sample::select(vec!["Resource", "NotResource"]);
    let resources = proptest::collection::vec(resources(), 1..4);
    (effect, (action_key, action), (resource_key, resources), conditions()).prop_map(
        |(effect, (action_key, action), (resource_key, resources), condition)| {
            let resources = format!("{resources:?}");
            format!(
                r#"{{"Effect":"{effect}","{action_key}":"{action}","{resource_key}":{resources}{condition}}}"#
            )
        },
    )
}

fn sets() -> impl Strategy<Value = PolicySet> {
    let documents = proptest::collection::vec(proptest::collection::vec(statements(), 1..4), 0..3);
    (documents, any::<(bool, bool)>()).prop_map(|(documents, (reject, fires))| {
        let settings = Settings { reject_wildcards_in_variables: reject, unresolved_deny_is_match: fires };
        let policies = documents.iter().map(|statements| Policy::new("p", document(&statements.join(","))));
        PolicySet::new(policies.collect(), settings)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn specialising_changes_no_answer(
        set in sets(), caller in callers(), action in actions(),
        names in proptest::collection::vec("[ab*+#/é:?]{0,4}", 1..6),
    ) {
        caller.with(|context| for name in &names {
            verdict(&set, action, name, context);
        });
    }

    #[test]
    fn deny_always_wins(set in sets(), caller in callers(), action in actions(), name in "[ab/]{0,4}") {
        let mut policies = set.policies().to_vec();
        policies.push(Policy::new("no", document(r#"{"Effect":"Deny","Action":"iot:*","Resource":"*"}"#)));
        let set = PolicySet::new(policies, set.settings());
        caller.with(|context| assert_eq!(verdict(&set, action, &name, context), Verdict::ExplicitDeny));
    }

    #[test]
    fn no_request_panics(set in sets(), caller in callers(), action in "\\PC*", name in "\\PC*") {
        caller.with(|context| {
            let action = crate::RequestedAction::named(&action);
            let resource = resource(Action::Publish, &name);
            let request = Request { action, resource, context };
            assert_eq!(set.evaluate(&request).verdict, set.explain(&request).verdict);
        });
    }
}
