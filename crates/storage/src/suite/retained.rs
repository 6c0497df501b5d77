//! Retained messages.

use std::sync::Arc;

use fleethaven_types::{Message, Publisher, Scope, Timestamp};

use super::caller::*;
use super::{Case, Instance, START};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a retained message is set, replaced and cleared", set_and_clear),
    ("wildcards match in topic order, in pages", wildcards),
    ("filters that match nothing retained are told from those that do", finding),
    ("a retained message expires", expiry),
    ("accounts are walls for retained messages", walls),
    ("topics are listed in order, in pages, with what is retained there", listing),
];

fn change(store: &dyn Instance, message: Message, retained: RetainedChange) {
    Caller::new(store).publish(DurablePublish { retained, ..to_queues(message, &[]) });
}

fn set(store: &dyn Instance, topic: &str, payload: &str) {
    change(store, message(topic, payload), RetainedChange::Set);
}

fn get(store: &dyn Instance, scope: Scope, topic: &str) -> Option<String> {
    store.retained().get(scope, topic).unwrap().as_deref().map(payload)
}

fn topics(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(topic, _)| topic.as_str()).collect()
}

fn set_and_clear(store: &mut dyn Instance) {
    let long = "x/".repeat(32_000);
    set(store, "a", "1");
    set(store, "a", "2");
    set(store, "gone", "1");
    set(store, &long, "long");
    change(store, message("gone", ""), RetainedChange::Clear);
    change(store, message("never", ""), RetainedChange::Clear);
    change(store, message("kept out", "x"), RetainedChange::Keep);
    for _ in 0..2 {
        assert_eq!(get(store, scope(), "a").as_deref(), Some("2"));
        assert_eq!(get(store, scope(), &long).as_deref(), Some("long"));
        for none in ["gone", "never", "kept out"] {
            assert_eq!(get(store, scope(), none), None, "{none}");
        }
        store.crash();
    }
    set(store, "a", "3");
    store.crash();
    let found = Caller::new(store).retained(scope(), "#", None, 10);
    assert_eq!(found, [("a".to_owned(), "3".to_owned()), (long, "long".to_owned())]);
}

fn wildcards(store: &mut dyn Instance) {
    for topic in ["s/2/t", "s", "s/1/t", "s/1/u", "sx", "$SYS/x", "r/1", "s/1"] {
        set(store, topic, topic);
    }
    for _ in 0..2 {
        let mut caller = Caller::new(store);
        let mut read = |filter: &str, after, max| caller.retained(scope(), filter, after, max);
        assert_eq!(topics(&read("s/+/t", None, 10)), ["s/1/t", "s/2/t"]);
        assert_eq!(topics(&read("s/1/u", None, 10)), ["s/1/u"]);
        assert_eq!(topics(&read("s/#", None, 10)), ["s", "s/1", "s/1/t", "s/1/u", "s/2/t"]);
        assert_eq!(topics(&read("s/#", None, 2)), ["s", "s/1"]);
        assert_eq!(topics(&read("s/#", Some("s/1"), 2)), ["s/1/t", "s/1/u"]);
        assert_eq!(topics(&read("s/#", Some("s/1/u"), 2)), ["s/2/t"]);
        assert_eq!(topics(&read("+", None, 10)), ["s", "sx"]);
        assert_eq!(read("#", None, 100).len(), 7, "$-topics match no leading wildcard [MQTT-4.7.2-1]");
        assert_eq!(topics(&read("$SYS/#", None, 10)), ["$SYS/x"]);
        assert_eq!(topics(&read("none/#", None, 10)), Vec::<&str>::new());
        store.crash();
    }
}

fn finding(store: &mut dyn Instance) {
    let asked = ["s/1", "+/1", "none", "s/#", "none/#", "s/+/t", "#", "$SYS/#", "s/1/#", "s/2"];
    assert_eq!(Caller::new(store).find_retained(scope(), &asked), [""; 0]);
    set(store, "s/1", "x");
    let found = ["s/1", "+/1", "s/#", "#", "s/1/#"];
    for _ in 0..2 {
        assert_eq!(Caller::new(store).find_retained(scope(), &asked), found);
        assert_eq!(Caller::new(store).find_retained(other_scope(), &asked), [""; 0]);
        store.crash();
    }
    assert_eq!(Caller::new(store).find_retained(scope(), &[]), [""; 0]);
    // Many at once, of which each finds its own.
    let many: Vec<String> = (0..300).map(|number| format!("many/{number}")).collect();
    many.iter().step_by(7).for_each(|topic| set(store, topic, "x"));
    let filters: Vec<&str> = many.iter().map(String::as_str).collect();
    let own: Vec<&str> = filters.iter().step_by(7).copied().collect();
    assert_eq!(Caller::new(store).find_retained(scope(), &filters), own);
    change(store, message("s/1", ""), RetainedChange::Clear);
    assert_eq!(Caller::new(store).find_retained(scope(), &asked), ["#"]);
}

fn expiry(store: &mut dyn Instance) {
    let short = Message { expires_at: Some(Timestamp(START.0 + 1000)), ..message("t/short", "x") };
    change(store, short, RetainedChange::Set);
    set(store, "t/long", "y");
    let mut caller = Caller::new(store);
    assert_eq!(caller.retained(scope(), "t/#", None, 10).len(), 2);
    assert!(get(store, scope(), "t/short").is_some());
    store.set_time(Timestamp(START.0 + 1000));
    assert_eq!(get(store, scope(), "t/short"), None);
    assert_eq!(topics(&caller.retained(scope(), "t/#", None, 10)), ["t/long"]);
    store.set_time(START);
    assert_eq!(topics(&caller.retained(scope(), "t/#", None, 10)), ["t/long"], "it is deleted, not hidden");
}

fn walls(store: &mut dyn Instance) {
    let publisher = Publisher { scope: other_scope(), ..Publisher::clone(&message("t", "").publisher) };
    let theirs = Message { publisher: Arc::new(publisher), ..message("t", "theirs") };
    set(store, "t", "ours");
    change(store, theirs, RetainedChange::Set);
    for _ in 0..2 {
        assert_eq!(get(store, scope(), "t").as_deref(), Some("ours"));
        assert_eq!(get(store, other_scope(), "t").as_deref(), Some("theirs"));
        assert_eq!(Caller::new(store).retained(other_scope(), "#", None, 10).len(), 1);
        store.crash();
    }
}

fn listing(store: &mut dyn Instance) {
    for topic in ["s/2", "s", "sx", "r"] {
        set(store, topic, topic);
    }
    let short = Message { expires_at: Some(Timestamp(START.0 + 1000)), ..message("t", "longer") };
    change(store, short, RetainedChange::Set);
    set(store, "s", "again");
    for _ in 0..2 {
        let list = |after, limit| store.retained().list(scope(), after, limit).unwrap();
        let names =
            |page: &[RetainedTopic]| page.iter().map(|kept| kept.topic.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&list(None, 10)), ["r", "s", "s/2", "sx", "t"]);
        assert_eq!(names(&list(None, 2)), ["r", "s"]);
        assert_eq!(names(&list(Some("s"), 2)), ["s/2", "sx"]);
        assert_eq!(
            names(&list(Some("s/1"), 2)),
            ["s/2", "sx"],
            "a topic that is gone still tells where to go on"
        );
        assert_eq!(names(&list(Some("t"), 2)), [""; 0]);
        let kept = &list(Some("s/9"), 10)[1];
        let expected = message("t", "longer");
        assert_eq!((kept.payload_bytes, kept.qos, kept.received_at), (6, expected.qos, expected.received_at));
        assert_eq!(list(Some("r"), 1)[0].payload_bytes, 5);
        let retained = store.retained();
        eventually(|| retained.count(scope()) == 5 && retained.holds(scope(), "t"));
        assert!(retained.count(other_scope()) == 0 && !retained.holds(other_scope(), "t"));
        store.crash();
    }
    store.set_time(Timestamp(START.0 + 1000));
    assert_eq!(
        store.retained().list(scope(), Some("s/9"), 10).unwrap().len(),
        1,
        "expired ones are left out"
    );
}
