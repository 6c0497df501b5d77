//! The rules queue, and that one publish is one thing wherever it goes.

use fleethaven_types::{Message, QoS};

use super::caller::*;
use super::{Case, Instance};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("entries are claimed oldest first and acknowledged", claim_and_acknowledge),
    ("a claim waits for entries", claim_waits),
    ("what was not acknowledged comes again after a crash", reclaimed),
    ("a dead letter leaves the queue", dead_letters),
    ("a dead letter is driven again, or discarded", redriven),
    ("dead letters are listed by account", of_account),
    ("QoS 0 entries are worked on too", volatile),
    ("a publish is in queues, rules and retained store, or nowhere", one_publish),
];

fn rule(name: &str) -> RuleRef {
    RuleRef { name: name.into(), revision: 12 }
}

fn to_rules(message: Message) -> DurablePublish {
    DurablePublish { rules: vec![rule("one"), rule("two")], ..to_queues(message, &[]) }
}

fn publish(store: &dyn Instance, payloads: &[&str]) {
    let mut caller = Caller::new(store);
    payloads.iter().for_each(|payload| drop(caller.publish(to_rules(message("t", payload)))));
}

/// Claims until `count` entries have come.
fn claim_all(store: &dyn Instance, count: usize) -> Vec<RuleEntry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(wait(store.rules().claim(count - entries.len())).unwrap());
    }
    entries
}

fn seen(entries: &[RuleEntry]) -> Vec<(String, u32)> {
    entries.iter().map(|entry| (payload(&entry.message), entry.deliveries)).collect()
}

fn nothing_waits(store: &dyn Instance) -> bool {
    poll_once(&mut store.rules().claim(10)).is_none()
}

fn claim_and_acknowledge(store: &mut dyn Instance) {
    publish(store, &["a", "b", "c"]);
    assert_eq!(store.rules().depth(), 3);
    let first = wait(store.rules().claim(2)).unwrap();
    assert_eq!(seen(&first), [("a".to_owned(), 0), ("b".to_owned(), 0)]);
    assert_eq!(first[0].rules, [rule("one"), rule("two")]);
    assert_eq!(store.rules().depth(), 3, "claimed ones count");
    store.rules().acknowledge(first.iter().map(|entry| entry.id).collect()).unwrap();
    assert_eq!(store.rules().depth(), 1);
    let second = wait(store.rules().claim(2)).unwrap();
    assert_eq!(seen(&second), [("c".to_owned(), 0)]);
    assert!(second[0].id > first[1].id);
    assert!(nothing_waits(store));
    store.rules().acknowledge(vec![second[0].id, first[0].id, RuleEntryId(u64::MAX)]).unwrap();
    assert_eq!(store.rules().depth(), 0);
    publish(store, &["d"]);
    store.crash();
    assert_eq!(seen(&claim_all(store, 1)), [("d".to_owned(), 0)], "acknowledged ones stay away");
    assert!(nothing_waits(store));
}

fn claim_waits(store: &mut dyn Instance) {
    let mut waiting = store.rules().claim(10);
    assert!(poll_once(&mut waiting).is_none());
    publish(store, &["a"]);
    assert_eq!(seen(&wait(waiting).unwrap()), [("a".to_owned(), 0)]);
}

fn reclaimed(store: &mut dyn Instance) {
    publish(store, &["a", "b", "c"]);
    let claimed = claim_all(store, 2);
    store.rules().acknowledge(vec![claimed[0].id]).unwrap();
    publish(store, &["d"]);
    for delivery in 1..3 {
        store.crash();
        let again = wait(store.rules().claim(1)).unwrap();
        assert_eq!(seen(&again), [("b".to_owned(), delivery)]);
        assert_eq!(again[0].id, claimed[1].id);
        publish(store, &["next"]);
    }
    let rest = seen(&claim_all(store, 4));
    assert_eq!(rest[0], ("c".to_owned(), 0), "never claimed, never counted");
    assert_eq!(rest[1], ("d".to_owned(), 0));
}

fn dead_letters(store: &mut dyn Instance) {
    publish(store, &["poison", "good"]);
    let claimed = claim_all(store, 2);
    store.rules().dead_letter(claimed[0].id, "cannot be parsed").unwrap();
    assert_eq!(store.rules().depth(), 1);
    let expected = [(claimed[0].id, "cannot be parsed".to_owned())];
    assert_eq!(buried(store), expected);
    store.crash();
    assert_eq!(buried(store), expected);
    assert_eq!(seen(&claim_all(store, 1)), [("good".to_owned(), 1)]);
    assert!(nothing_waits(store));
}

/// Dead letters with their reasons, oldest first.
fn buried(store: &dyn Instance) -> Vec<(RuleEntryId, String)> {
    let letters = store.rules().dead_letters(None, 100).unwrap();
    letters.into_iter().map(|letter| (letter.id, letter.reason)).collect()
}

fn redriven(store: &mut dyn Instance) {
    publish(store, &["again", "gone"]);
    let claimed = claim_all(store, 2);
    let (again, gone) = (claimed[0].id, claimed[1].id);
    store.rules().dead_letter(again, "once").unwrap();
    store.rules().dead_letter(gone, "once").unwrap();
    let letters = store.rules().dead_letters(None, 1).unwrap();
    assert_eq!(
        (letters.len(), payload(&letters[0].message).as_str(), letters[0].rules[0].name.as_ref()),
        (1, "again", "one")
    );
    assert_eq!(store.rules().redrive(again), Ok(true));
    assert_eq!(store.rules().redrive(again), Ok(false));
    assert_eq!(store.rules().discard(again), Ok(false));
    assert_eq!(store.rules().discard(gone), Ok(true));
    assert_eq!(store.rules().redrive(gone), Ok(false));
    store.crash();
    assert_eq!(buried(store), []);
    assert_eq!(seen(&claim_all(store, 1))[0].0, "again");
    assert!(nothing_waits(store));
}

fn of_account(store: &mut dyn Instance) {
    let payloads: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    publish(store, &payloads.iter().map(String::as_str).collect::<Vec<_>>());
    let claimed = claim_all(store, payloads.len());
    let own = claimed[0].message.publisher.scope.account;
    for entry in &claimed {
        store.rules().dead_letter(entry.id, "all of them").unwrap();
    }
    let count = |account, limit| store.rules().dead_letters(account, limit).unwrap().len();
    assert_eq!((count(Some(own), 10), count(Some(own), 1000), count(None, 299)), (10, 300, 299));
    let other = "999999999999".parse().unwrap();
    assert_ne!(own, other);
    assert_eq!(count(Some(other), 1000), 0);
}

fn volatile(store: &mut dyn Instance) {
    let quick = Message { qos: QoS::AtMostOnce, ..message("t", "quick") };
    Caller::new(store).publish(to_rules(quick));
    let claimed = claim_all(store, 1);
    assert_eq!(seen(&claimed), [("quick".to_owned(), 0)]);
    store.rules().dead_letter(claimed[0].id, "why").unwrap();
    assert_eq!(buried(store).len(), 1);
    assert_eq!(store.rules().depth(), 0);
}

fn one_publish(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let sessions: Vec<_> =
        (1..=3).map(|n| caller.claim(claim(&n.to_string(), token(1, n))).session).collect();
    let everywhere = DurablePublish {
        rules: vec![rule("one")],
        retained: RetainedChange::Set,
        ..to_queues(Message { retain: true, ..message("t", "x") }, &sessions)
    };
    caller.publish(everywhere);
    store.crash();
    let mut caller = Caller::new(store);
    for (n, session) in (1..=3).zip(sessions) {
        caller.claim(claim(&n.to_string(), token(2, n)));
        assert_eq!(caller.read_all(session, token(2, n)), [(1, "x".to_owned())]);
    }
    assert_eq!(seen(&claim_all(store, 1)), [("x".to_owned(), 0)]);
    assert_eq!(payload(&store.retained().get(scope(), "t").unwrap().unwrap()), "x");
}
