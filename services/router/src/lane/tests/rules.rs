//! Which messages rules see.

use super::*;

#[test]
fn rules_see_messages_of_every_qos() {
    let mut bench = Bench::new();
    bench.set_rule("one", Some("a/+"));
    bench.set_rule("two", Some("a/#"));
    for qos in [AtMostOnce, AtLeastOnce] {
        assert!(bench.publish(message("a/b", qos)));
        assert_eq!(bench.last_rules(), ["one", "two"]);
    }
    assert!(!bench.publish(message("a", AtMostOnce)), "a rule's a/# does not match a");
    assert_eq!(bench.router.metrics.rule_matches.get(), 2);
}

#[test]
fn a_rule_that_is_replaced_or_removed_matches_as_it_is_now() {
    let mut bench = Bench::new();
    bench.set_rule("one", Some("a"));
    bench.set_rule("one", Some("b"));
    assert!(!bench.publish(message("a", AtMostOnce)));
    assert!(bench.publish(message("b", AtMostOnce)));
    let name = Utf8Bytes::from("one");
    let newer = RuleRef { name: name.clone(), revision: 8 };
    bench.router.set_rule(scope(), &name, Some((newer.clone(), Some("b".into()))));
    bench.publish(message("b", AtMostOnce));
    assert_eq!(bench.store.kept.lock().rules.last().unwrap().1, [newer]);
    bench.router.set_rule(scope(), &name, None);
    assert!(!bench.publish(message("b", AtMostOnce)));
}

#[test]
fn basic_ingest_goes_to_its_rule_only() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("$aws/rules/#", AtMostOnce));
    bench.subscribe(1, subscription("a", AtMostOnce));
    bench.set_rule("one", Some("a"));
    bench.set_rule("other", Some("a"));
    bench.set_rule("any", None);
    bench.set_rule("below", Some("a/#"));
    let retained = Message { retain: true, ..message("$aws/rules/one/a", AtLeastOnce) };
    assert!(bench.publish(retained));
    assert_eq!(bench.last_rules(), ["one"]);
    assert!(bench.publish(message("$aws/rules/any/x/y", AtMostOnce)));
    assert_eq!(bench.last_rules(), ["any"]);
    assert!(!bench.publish(message("$aws/rules/one/b", AtLeastOnce)), "its filter does not match");
    assert!(!bench.publish(message("$aws/rules/below/a", AtLeastOnce)), "a/# is not a");
    assert_eq!(bench.router.metrics.rule_not_found.get(), 0);
    assert!(!bench.publish(message("$aws/rules/none/a", AtLeastOnce)), "acknowledged and dropped");
    assert_eq!(bench.router.metrics.rule_not_found.get(), 1);
    assert!(bench.pushes().is_empty());
    assert!(bench.store.kept.lock().retained.is_empty());
}
