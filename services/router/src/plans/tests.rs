use std::sync::Arc;

use fleethaven_storage::Subscription;
use fleethaven_types::QoS::AtMostOnce;

use super::*;
use crate::testing::{Bench, message, scope, subscription};

#[test]
fn plans_are_reused_until_something_changes() {
    let mut bench = Bench::new();
    let computed = |bench: &Bench| bench.router.metrics.plans_computed.get();
    bench.publish(message("a", AtMostOnce));
    bench.publish(message("a", AtMostOnce));
    assert_eq!(computed(&bench), 1);
    bench.attach(1, 0, false);
    bench.publish(message("a", AtMostOnce));
    assert_eq!(computed(&bench), 1, "a session without subscriptions changes nothing");
    bench.subscribe(1, subscription("b", AtMostOnce));
    bench.publish(message("a", AtMostOnce));
    assert_eq!(computed(&bench), 2);
    bench.publish(message("b", AtMostOnce));
    bench.publish(message("a", AtMostOnce));
    assert_eq!(computed(&bench), 3);
}

#[test]
fn scopes_take_turns_and_never_meet() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("a", AtMostOnce));
    let mut foreign = message("a", AtMostOnce);
    let other = Scope { account: "000000000001".parse().unwrap(), ..scope() };
    foreign.publisher =
        Arc::new(fleethaven_types::Publisher { scope: other, ..(*foreign.publisher).clone() });
    for _ in 0..3 {
        assert!(!bench.publish(foreign.clone()));
        assert!(bench.publish(message("a", AtMostOnce)));
    }
    assert_eq!(bench.receivers(), [1, 1, 1]);
    assert_eq!(bench.router.metrics.plans_computed.get(), 2);
}

#[test]
fn what_is_remembered_is_bounded() {
    let bench = Bench::new();
    let mut plans = Plans::default();
    let mut before = 0;
    for topic in 0..70_000 {
        plans.plan(&bench.router, &message(&topic.to_string(), AtMostOnce));
        let now = cost_of(&plans);
        assert!(now <= BOUND && before <= now + BOUND / PARTS, "no more than a part goes at once");
        before = now;
    }
    for part in plans.parts.iter() {
        assert_eq!(part.cost, part.known.len() * BASE_COST);
        assert!(part.cost <= BOUND / PARTS);
    }
    plans.plan(&bench.router, &message("69999", AtMostOnce));
    assert_eq!(bench.router.metrics.plans_computed.get(), 70_000);
}

fn cost_of(plans: &Plans) -> usize {
    plans.parts.iter().map(|part| part.cost).sum()
}

#[test]
fn long_topics_and_many_identifiers_count_for_what_they_hold() {
    let mut bench = Bench::new();
    let mut plans = Plans::default();
    plans.plan(&bench.router, &message(&"x".repeat(64 * UNIT), AtMostOnce));
    assert_eq!(cost_of(&plans), BASE_COST + 64);
    bench.attach(1, 0, false);
    // Ten levels, each of them as it is or `+`: all of these filters match the one topic.
    for mask in 0..1024_u32 {
        let level = |bit: u32| if mask & (1 << bit) == 0 { "a" } else { "+" };
        let filter = (0..10).map(level).collect::<Vec<_>>().join("/");
        let one = subscription(&filter, AtMostOnce);
        bench.subscribe(1, Subscription { identifier: Some(mask + 1), ..one });
    }
    let mut plans = Plans::default();
    plans.plan(&bench.router, &message(&["a"; 10].join("/"), AtMostOnce));
    assert_eq!(cost_of(&plans), BASE_COST + 1 + 1024 / 16);
}
