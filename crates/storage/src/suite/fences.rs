//! Fences of topic slots: who is not a slot's owner any more writes nothing.

use super::caller::*;
use super::{Case, Instance};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("below a raised fence nothing is written", below),
    ("a publish that nobody matches is checked too", unmatched),
    ("a fence is never lowered", lowered),
    ("fences stand after a crash", crashes),
];

/// Larger than what a double tells apart.
const HIGH: u64 = (1 << 60) + 1;

fn fence(slot: u16, epoch: u64) -> Fence {
    Fence { slot, epoch }
}

fn fenced(publish: DurablePublish, slot: u16, epoch: u64) -> DurablePublish {
    DurablePublish { fence: Some(fence(slot, epoch)), ..publish }
}

fn below(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let (owner, other) = (token(1, 1), token(1, 2));
    let session = caller.claim(claim("a", owner)).session;
    let second = caller.claim(claim("b", other)).session;
    let everywhere = |payload: &str| DurablePublish {
        rules: vec![RuleRef { name: "rule".into(), revision: 1 }],
        retained: RetainedChange::Set,
        ..to_queues(message("t", payload), &[session, second])
    };
    caller.publish(fenced(everywhere("before any"), 7, 1));
    assert_eq!(caller.raise(&[fence(7, 2), fence(1023, 5)]), Ok(()));
    assert_eq!(caller.try_publish(fenced(everywhere("stale"), 7, 1)), Err(Error::Fenced));
    let clear = DurablePublish { retained: RetainedChange::Clear, ..fenced(everywhere("stale"), 7, 1) };
    assert_eq!(caller.try_publish(clear), Err(Error::Fenced));
    caller.publish(fenced(everywhere("owner"), 7, 2));
    caller.publish(fenced(everywhere("later owner"), 7, 3));
    caller.publish(fenced(everywhere("another slot"), 8, 1));
    caller.publish(everywhere("no slot"));
    let expected = ["before any", "owner", "later owner", "another slot", "no slot"];
    for (session, token) in [(session, owner), (second, other)] {
        let queued = caller.read_all(session, token);
        assert!(queued.iter().map(|(_, payload)| payload.as_str()).eq(expected), "{queued:?}");
    }
    assert_eq!(caller.retained(scope(), "t", None, 9), [("t".to_owned(), "no slot".to_owned())]);
    let entries = wait(store.rules().claim(100)).unwrap();
    assert!(entries.iter().map(|entry| payload(&entry.message)).eq(expected));
}

fn unmatched(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let nobody = || to_queues(message("t", "x"), &[]);
    assert_eq!(caller.try_publish(fenced(nobody(), 1, 4)), Ok(vec![]));
    caller.raise(&[fence(1, 5)]).unwrap();
    assert_eq!(caller.try_publish(fenced(nobody(), 1, 4)), Err(Error::Fenced));
    assert_eq!(caller.try_publish(fenced(nobody(), 1, 5)), Ok(vec![]));
    assert_eq!(caller.try_publish(nobody()), Ok(vec![]));
}

fn lowered(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let nobody = || to_queues(message("t", "x"), &[]);
    caller.raise(&[fence(1, HIGH), fence(2, 9)]).unwrap();
    assert_eq!(caller.raise(&[fence(1, HIGH - 1), fence(2, 10)]), Err(Error::Fenced), "another is the owner");
    assert_eq!(caller.try_publish(fenced(nobody(), 1, HIGH - 1)), Err(Error::Fenced));
    assert_eq!(caller.raise(&[fence(1, HIGH)]), Ok(()), "the same once more");
    assert_eq!(caller.try_publish(fenced(nobody(), 1, HIGH)), Ok(vec![]));
    assert_eq!(caller.try_publish(fenced(nobody(), 1, HIGH + 1)), Ok(vec![]));
    assert_eq!(caller.raise(&[]), Ok(()));
}

fn crashes(store: &mut dyn Instance) {
    Caller::new(store).raise(&[fence(0, 10), fence(1, u64::MAX)]).unwrap();
    store.crash();
    let mut caller = Caller::new(store);
    let nobody = || to_queues(message("t", "x"), &[]);
    assert_eq!(caller.try_publish(fenced(nobody(), 0, 9)), Err(Error::Fenced));
    assert_eq!(caller.try_publish(fenced(nobody(), 0, 10)), Ok(vec![]));
    assert_eq!(caller.try_publish(fenced(nobody(), 1, u64::MAX - 1)), Err(Error::Fenced));
}
