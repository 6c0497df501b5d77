//! QoS 2: what a client published is published once, and what it has is not sent again.

use fleethaven_types::{Message, QoS, Timestamp};

use super::caller::*;
use super::{Case, Instance, START};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a repeat of a recorded identifier publishes nothing", repeats),
    ("identifiers are recorded together with the message", recorded_together),
    ("identifiers are bound to the owner", owners),
    ("identifiers go with their session", wiped),
    ("a fenced message is not recorded", fenced),
    ("a released entry keeps its place and not its message", releases),
    ("released entries are trimmed alone", released_alone),
    ("a released entry outlives a crash until it is trimmed", releases_survive),
    ("a released entry of a shared body frees it", released_bodies),
    ("a begun exchange does not expire", begun),
    ("tails are compared in one request", tails),
];

const ALL: (usize, usize) = (usize::MAX, usize::MAX);

/// A QoS 2 message from `session` into `queue`.
fn from(session: SessionId, token: OwnerToken, id: u16, queue: SessionId) -> DurablePublish {
    let message = Message { qos: QoS::ExactlyOnce, ..message("t", &id.to_string()) };
    let once = Some(Once::Received { session, token, packet_id: packet_id(id) });
    DurablePublish { once, ..to_queues(message, &[queue]) }
}

fn ids(claimed: &Claimed) -> Vec<u16> {
    claimed.received.iter().map(|id| id.get()).collect()
}

fn entries(claimed: &Claimed) -> Vec<u64> {
    claimed.released.iter().map(|entry| entry.0).collect()
}

fn repeats(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let owner = token(1, 1);
    let publisher = caller.claim(claim("publisher", owner)).session;
    let queue = caller.claim(claim("queue", token(1, 2))).session;
    for _ in 0..3 {
        caller.publish(from(publisher, owner, 7, queue));
        assert_eq!(caller.try_publish(from(publisher, owner, 7, queue)), Err(Error::AlreadyDone));
        caller.forget_received(publisher, owner, &[7, 8]).unwrap();
    }
    assert_eq!(caller.read_all(queue, token(1, 2)).len(), 3, "one for each exchange");
    assert_eq!(ids(&caller.claim(claim("publisher", token(1, 3)))), []);
}

fn recorded_together(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let owner = token(1, 1);
    let publisher = caller.claim(claim("publisher", owner)).session;
    let queue = caller.claim(claim("queue", token(1, 2))).session;
    for id in [u16::MAX, 3, 1] {
        caller.publish(from(publisher, owner, id, queue));
    }
    // Nobody gets this one; its identifier counts all the same.
    caller.publish(DurablePublish { queues: Vec::new(), ..from(publisher, owner, 9, queue) });
    caller.forget_received(publisher, owner, &[3]).unwrap();
    store.crash();
    let mut caller = Caller::new(store);
    let claimed = caller.claim(claim("publisher", token(2, 1)));
    assert_eq!(ids(&claimed), [1, 9, u16::MAX]);
    let again = caller.try_publish(from(publisher, token(2, 1), 1, queue));
    assert_eq!(again, Err(Error::AlreadyDone), "its client did not get PUBREC and sends again");
    caller.publish(from(publisher, token(2, 1), 3, queue));
    caller.claim(claim("queue", token(2, 2)));
    let payloads: Vec<_> = caller.read_all(queue, token(2, 2)).into_iter().map(|(_, text)| text).collect();
    assert_eq!(payloads, ["65535", "3", "1", "3"]);
}

fn owners(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let publisher = caller.claim(claim("publisher", token(1, 1))).session;
    let queue = caller.claim(claim("queue", token(1, 2))).session;
    caller.claim(claim("publisher", token(1, 3)));
    assert_eq!(caller.try_publish(from(publisher, token(1, 1), 1, queue)), Err(Error::NotOwner));
    assert_eq!(caller.read_all(queue, token(1, 2)), [], "a stale owner's message is not published");
    assert_eq!(caller.release(publisher, token(1, 1), &[1]), Err(Error::NotOwner));
    assert_eq!(caller.forget_received(publisher, token(1, 1), &[1]), Err(Error::NotOwner));
    let nobody = SessionId(u64::MAX);
    assert_eq!(caller.try_publish(from(nobody, token(1, 1), 1, queue)), Err(Error::NoSession));
    let clean = caller.claim(Claim { session_expiry: 0, ..claim("clean", token(1, 4)) }).session;
    for _ in 0..2 {
        caller.publish(from(clean, token(1, 4), 1, queue));
    }
    assert_eq!(caller.read_all(queue, token(1, 2)).len(), 2, "a clean session's connection remembers");
}

fn wiped(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let first = caller.claim(claim("a", token(1, 1))).session;
    caller.publish(from(first, token(1, 1), 1, first));
    caller.release(first, token(1, 1), &[1]).unwrap();
    let second = caller.claim(Claim { clean_start: true, ..claim("a", token(1, 2)) });
    assert_eq!((ids(&second), entries(&second)), (vec![], vec![]));
    store.crash();
    let claimed = Caller::new(store).claim(claim("a", token(2, 1)));
    assert_eq!((claimed.session, ids(&claimed), entries(&claimed)), (second.session, vec![], vec![]));
}

fn fenced(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let owner = token(1, 1);
    let session = caller.claim(claim("a", owner)).session;
    caller.raise(&[Fence { slot: 7, epoch: 2 }]).unwrap();
    let under = |epoch| {
        let fence = Some(Fence { slot: 7, epoch });
        DurablePublish { fence, ..from(session, owner, 1, session) }
    };
    assert_eq!(caller.try_publish(under(1)), Err(Error::Fenced));
    caller.publish(under(2));
    assert_eq!(caller.read_all(session, owner).len(), 1);
}

fn releases(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let claimed = Claim { queue_bounds: bounds(4, 40), ..claim("a", token(1, 1)) };
    let session = caller.claim(claimed).session;
    caller.append_each(session, ["1234567890"; 3]);
    caller.release(session, token(1, 1), &[2, 2, 77]).unwrap();
    let left: Vec<_> = caller.read_all(session, token(1, 1)).into_iter().map(|(entry, _)| entry).collect();
    assert_eq!(left, [1, 3]);
    caller.trim(session, token(1, 1), &[1]);
    assert_eq!(caller.claim(claim("a", token(1, 2))).trimmed, EntryId(1), "its place is kept");
    caller.trim(session, token(1, 2), &[2, 3]);
    let claimed = caller.claim(claim("a", token(1, 3)));
    assert_eq!((claimed.trimmed, entries(&claimed)), (EntryId(3), vec![]));
    let appended = caller.append(session, "x");
    assert_eq!(appended, Appended::At { entry: EntryId(4), previous: EntryId(3) });
    caller.release(session, token(1, 3), &[1]).unwrap();
    assert_eq!(entries(&caller.claim(claim("a", token(1, 4)))), [], "what is gone cannot be released");
}

/// Packets are completed without any that was not released, as a session does that is sent QoS 2 alone.
fn released_alone(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let claimed = Claim { queue_bounds: bounds(2, 100), ..claim("a", token(1, 1)) };
    let session = caller.claim(claimed).session;
    for number in 1..=5 {
        assert!(matches!(caller.append(session, "x"), Appended::At { .. }), "there is room again");
        caller.release(session, token(1, 1), &[number]).unwrap();
        caller.trim(session, token(1, 1), &[number]);
    }
    let claimed = caller.claim(claim("a", token(1, 2)));
    assert_eq!((claimed.trimmed, entries(&claimed)), (EntryId(5), vec![]));
}

fn releases_survive(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.append_each(session, ["1", "2", "3", "4"]);
    caller.release(session, token(1, 1), &[3, 1]).unwrap();
    for incarnation in 2..4 {
        store.crash();
        let mut caller = Caller::new(store);
        let claimed = caller.claim(claim("a", token(incarnation, 1)));
        assert_eq!(entries(&claimed), [1, 3]);
        assert_eq!((claimed.trimmed, claimed.tail), (EntryId::NONE, EntryId(4)));
        let left = caller.read_all(session, token(incarnation, 1));
        assert_eq!(left, [(2, "2".to_owned()), (4, "4".to_owned())]);
    }
    let mut caller = Caller::new(store);
    caller.trim(session, token(3, 1), &[1, 2, 3]);
    assert_eq!(entries(&caller.claim(claim("a", token(3, 2)))), []);
    store.crash();
    let claimed = Caller::new(store).claim(claim("a", token(4, 1)));
    assert_eq!((claimed.trimmed, claimed.tail, entries(&claimed)), (EntryId(3), EntryId(4), vec![]));
}

fn released_bodies(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let sessions: Vec<_> =
        (1..=20).map(|n| caller.claim(claim(&format!("c{n}"), token(1, n))).session).collect();
    let body = "x".repeat(10_000);
    caller.publish(to_queues(message("t", &body), &sessions));
    for (n, session) in (1..=19).zip(&sessions) {
        caller.release(*session, token(1, n), &[1]).unwrap();
    }
    store.crash();
    let mut caller = Caller::new(store);
    let last = caller.claim(claim("c20", token(2, 20)));
    assert_eq!(caller.read_all(last.session, token(2, 20)), [(1, body)], "the last reference is there");
    caller.release(last.session, token(2, 20), &[1]).unwrap();
    let next = "y".repeat(10_000);
    caller.publish(to_queues(message("t", &next), &sessions));
    store.crash();
    let mut caller = Caller::new(store);
    for (n, session) in (1..=20).zip(&sessions) {
        assert_eq!(entries(&caller.claim(claim(&format!("c{n}"), token(3, n)))), [1]);
        assert_eq!(caller.read_all(*session, token(3, n)), [(2, next.clone())]);
    }
}

fn begun(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    let expires_at = Some(Timestamp(START.0 + 1000));
    for qos in [QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut publish = to_queues(Message { qos, expires_at, ..message("t", "x") }, &[session]);
        publish.queues[0].qos = qos;
        caller.publish(publish);
    }
    let sent = EntryId(2);
    let token = token(1, 1);
    caller.end_having_sent(session, token, sent).unwrap();
    store.set_time(Timestamp(START.0 + 1000));
    let token = OwnerToken { counter: 2, ..token };
    caller.claim(claim("a", token));
    let (read, _) = caller.read(session, token, 0, ALL).unwrap();
    let left: Vec<_> = read.iter().map(|queued| queued.entry.0).collect();
    assert_eq!(left, [1], "of those that were sent, the one that its receiver may have begun to take");
}

fn tails(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let sessions: Vec<_> =
        (1..=3).map(|n| caller.claim(claim(&format!("c{n}"), token(1, n))).session).collect();
    caller.append_each(sessions[0], ["1", "2"]);
    caller.append_each(sessions[2], ["1"]);
    let known = [(sessions[0], 2), (sessions[1], 0), (SessionId(u64::MAX), 0), (sessions[2], 0)];
    assert_eq!(caller.compare_tails(&known), [(3, 1)]);
    assert_eq!(caller.compare_tails(&[(sessions[0], 1)]), [(0, 2)]);
    assert_eq!(caller.compare_tails(&[]), []);
}
