use fleethaven_types::{Behaviour, Limits, Profile};
use proptest::prelude::*;

use super::*;
use crate::filter_map::tests::topic_text;

fn behaviour(profile: Profile) -> Behaviour {
    Behaviour::of(profile)
}

fn publishes(topic: &str, profile: Profile) -> bool {
    may_publish(topic, &behaviour(profile)).is_ok()
}

fn subscribes(filter: &str, profile: Profile) -> bool {
    let filter = Filter::parse(filter, &Limits::of(Profile::Standard)).unwrap();
    may_subscribe(&filter, &behaviour(profile)).is_ok()
}

/// Each row of the specification once at least: topic, publish, subscribe, delivered to subscribers.
const CASES: &[(&str, bool, bool, bool)] = &[
    ("things/t/shadow/get", true, true, true),
    ("things/t/shadow/update", true, true, true),
    ("things/t/shadow/delete", true, true, true),
    ("things/t/shadow/name/s/get", true, true, true),
    ("things/t/shadow/name/s/update", true, true, true),
    ("things/t/shadow/name/s/delete", true, true, true),
    ("things/t/shadow/get/accepted", false, true, true),
    ("things/t/shadow/delete/rejected", false, true, true),
    ("things/t/shadow/update/delta", false, true, true),
    ("things/t/shadow/update/documents", false, true, true),
    ("things/t/shadow/name/s/update/documents", false, true, true),
    ("things/t/shadow/name/s/get/rejected", false, true, true),
    ("things/t/shadow/get/delta", false, false, false),
    ("things/t/shadow/name/get", false, false, false),
    ("things/t/shadow", false, false, false),
    ("things/t/shadow/other", false, false, false),
    ("things//shadow/get", false, false, false),
    ("things/t/shadow/name//get", false, false, false),
    ("things/t/jobs/get", true, false, false),
    ("things/t/jobs/start-next", true, false, false),
    ("things/t/jobs/$next/get", true, false, false),
    ("things/t/jobs/j/update", true, false, false),
    ("things/t/jobs/get/accepted", false, true, false),
    ("things/t/jobs/start-next/rejected", false, true, false),
    ("things/t/jobs/j/update/accepted", false, true, false),
    ("things/t/jobs/$next/get/rejected", false, true, false),
    ("things/t/jobs/notify", false, true, true),
    ("things/t/jobs/notify-next", false, true, true),
    ("things/t/jobs/update", false, false, false),
    ("things/t/defender/metrics/json", true, false, false),
    ("things/t/defender/metrics/cbor", true, false, false),
    ("things/t/defender/metrics/xml", false, false, false),
    ("things/t/defender/metrics/json/accepted", false, true, true),
    ("things/t/streams/s/get/json", true, false, false),
    ("things/t/streams/s/describe/cbor", true, false, false),
    ("things/t/streams/s/data/json", false, true, true),
    ("things/t/streams/s/description/cbor", false, true, true),
    ("things/t/streams/s/rejected/json", false, true, true),
    ("things/t/tunnels/notify", false, true, true),
    ("certificates/create/json", true, false, false),
    ("certificates/create-from-csr/cbor", true, false, false),
    ("certificates/create/json/accepted", false, true, false),
    ("certificates/create-from-csr/cbor/rejected", false, true, false),
    ("provisioning-templates/p/provision/json", true, false, false),
    ("provisioning-templates/p/provision/json/accepted", false, true, false),
    ("rules/r", true, false, false),
    ("rules/r/a/b", true, false, false),
    ("rules", false, false, false),
    ("rules//a", false, false, false),
    ("events/presence/connected/c", false, true, true),
    ("events/presence/disconnected/c", false, true, true),
    ("events/presence/connect_failed/c", false, true, true),
    ("events/presence/connected", false, false, false),
    ("events/subscriptions/subscribed/c", false, true, true),
    ("events/subscriptions/unsubscribed/c", false, true, true),
    ("events/certificates/registered/ca", false, true, true),
    ("events/thing/t/created", false, true, true),
    ("events/thingGroup/g/updated", false, true, true),
    ("events/thingType/y/deleted", false, true, true),
    ("events/thingTypeAssociation/thing/t/thingType/y/added", false, true, true),
    ("events/thingGroupMembership/thingGroup/g/thing/t/removed", false, true, true),
    ("events/thingGroupHierarchy/thingGroup/p/childThingGroup/c/added", false, true, true),
    ("events/job/j/completed", false, true, true),
    ("events/job/j/deletion_in_progress", false, true, true),
    ("events/jobExecution/j/timed_out", false, true, true),
    ("events/jobExecution/j/completed", false, false, false),
    ("commands/things/t/executions/e/request", false, true, true),
    ("commands/clients/c/executions/e/request/json", false, true, true),
    ("commands/others/c/executions/e/request", false, false, false),
    ("commands/things/t/executions/e/response/cbor", true, false, false),
    ("commands/things/t/executions/e/response/accepted/json", false, true, true),
    ("device_location/d/get_position_estimate", true, false, false),
    ("device_location/d/get_position_estimate/rejected", false, true, true),
    ("sitewise/asset-models/m/assets/a/properties/p", false, true, true),
    ("iotwireless/events/join/x", false, true, true),
    ("", false, false, false),
    ("other", false, false, false),
];

#[test]
fn every_row_of_the_table() {
    for (below, publish, subscribe, deliver) in CASES {
        let topic = format!("$aws/{below}");
        for profile in [Profile::Aws, Profile::Standard] {
            assert_eq!(publishes(&topic, profile), *publish, "publish {topic}");
            assert_eq!(subscribes(&topic, profile), *subscribe, "subscribe {topic}");
            assert_eq!(is_deliverable(&topic, &behaviour(profile)), *deliver, "deliver {topic}");
            assert!(is_reserved(&topic, &behaviour(profile)), "{topic}");
        }
        assert_eq!(is_for_requester_only(&topic), *subscribe && !deliver, "{topic}");
    }
}

#[test]
fn each_row_is_tested() {
    for (_, pattern) in ROWS {
        assert!(CASES.iter().any(|(below, ..)| covers(pattern, below)), "{pattern}");
    }
}

#[test]
fn filters_with_wildcards() {
    for good in [
        "$aws/things/+/shadow/update/accepted",
        "$aws/events/#",
        "$aws/things/x/jobs/+/update/accepted",
        "$aws/things/x/jobs/#",
        "$aws/things/x/shadow/+/accepted",
        "$aws/things/x/shadow/name/s/get/+",
        "$aws/things/x/shadow/get/+",
        "$aws/commands/things/x/executions/+/request/+",
        "$aws/iotwireless/events/+/+/#",
        "$aws/#",
        "$share/g/$aws/events/presence/#",
    ] {
        assert!(subscribes(good, Profile::Aws), "{good}");
        assert!(subscribes(good, Profile::Standard), "{good}");
    }
    for bad in [
        "$aws/+/x/shadow/get",
        "$aws/+/#",
        "$aws/rules/#",
        "$aws/rules/r/+",
        "$aws/rules/r/a",
        "$aws/other/#",
        "$aws/things/x/shadow/get/accepted/+",
        "$aws/things/x/shadow/get/accepted/y/#",
        "$aws/things//#",
        "$aws",
        "$share/g/$aws/rules/#",
    ] {
        assert!(!subscribes(bad, Profile::Aws), "{bad}");
        assert!(!subscribes(bad, Profile::Standard), "{bad}");
    }
}

#[test]
fn other_names_below_dollar() {
    for (topic, publish, subscribe, reserved) in
        [("$SYS/broker/uptime", false, true, true), ("$SYS", false, true, true), ("$x/y", true, true, false)]
    {
        assert_eq!(publishes(topic, Profile::Standard), publish, "{topic}");
        assert_eq!(subscribes(topic, Profile::Standard), subscribe, "{topic}");
        assert!(is_deliverable(topic, &behaviour(Profile::Standard)), "{topic}");
        assert_eq!(is_reserved(topic, &behaviour(Profile::Standard)), reserved, "{topic}");
        assert!(!publishes(topic, Profile::Aws) && !subscribes(topic, Profile::Aws), "{topic}");
        assert!(!is_deliverable(topic, &behaviour(Profile::Aws)), "{topic}");
        assert!(is_reserved(topic, &behaviour(Profile::Aws)), "{topic}");
    }
    for filter in ["$SYS/#", "$SYS/+", "$x/#"] {
        assert!(subscribes(filter, Profile::Standard) && !subscribes(filter, Profile::Aws), "{filter}");
    }
    assert!(publishes("$awsome/x", Profile::Standard));
    assert_eq!(may_publish("$SYS/x", &behaviour(Profile::Standard)), Err(Error::System("$SYS/x".into())));
    assert_eq!(may_publish("$SYS/x", &behaviour(Profile::Aws)), Err(Error::Publish("$SYS/x".into())));
}

#[test]
fn plain_topics_are_ordinary() {
    for profile in [Profile::Aws, Profile::Standard] {
        for topic in ["a", "a/$aws/x", "/$SYS", "aws/things"] {
            assert_eq!(may_publish(topic, &behaviour(profile)), Ok(Class::Ordinary));
            assert!(!is_reserved(topic, &behaviour(profile)) && is_deliverable(topic, &behaviour(profile)));
        }
        assert!(subscribes("#", profile) && subscribes("+/a", profile));
    }
}

proptest! {
    #[test]
    fn a_subscribable_topic_makes_its_filters_subscribable(
        case in 0..CASES.len(), plus in prop::collection::vec(any::<bool>(), 12), cut in 2..12_usize,
    ) {
        let (below, _, subscribe, _) = CASES[case];
        let topic = format!("$aws/{below}");
        let mut levels: Vec<_> = topic.split('/').collect();
        for (level, plus) in levels.iter_mut().zip(plus).skip(2) {
            *level = if plus { "+" } else { level };
        }
        if cut < levels.len() {
            levels.truncate(cut);
            levels.push("#");
        }
        let filter = levels.join("/");
        prop_assert!(crate::matches(&filter, &topic, false));
        prop_assert!(!subscribe || subscribes(&filter, Profile::Aws), "{}", filter);
    }

    #[test]
    fn nothing_panics(topic in topic_text()) {
        let topic = format!("$aws/{topic}");
        let _ = (publishes(&topic, Profile::Aws), subscribes(&topic, Profile::Aws));
    }
}

#[test]
fn what_only_the_requester_is_answered_is_asked_for_on_these_topics() {
    for topic in [
        "$aws/certificates/create/json",
        "$aws/certificates/create-from-csr/cbor",
        "$aws/provisioning-templates/T/provision/json",
        "$aws/things/t/jobs/get",
    ] {
        assert!(asks_for_answer(topic), "{topic}");
        assert!(is_for_requester_only(&format!("{topic}/accepted")));
    }
    for topic in [
        "$aws/certificates/create/json/accepted",
        "$aws/things/t/shadow/get",
        "$aws/rules/r/a",
        "certificates/create/json",
        "a",
    ] {
        assert!(!asks_for_answer(topic), "{topic}");
    }
}
