//! Appending, reading, trimming; what a crash may not lose.

use bytes::Bytes;
use fleethaven_types::{Message, MessageProperties, QoS, Timestamp};

use super::caller::*;
use super::{Case, Instance, START};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("appends are chained and read in order", chain),
    ("a lane's requests are carried out in order", lane_order),
    ("reads stop at their limits", limits),
    ("a full queue drops the newest", overflow),
    ("trims come in any order", trims),
    ("entry ids are not used again", ids_not_reused),
    ("messages survive whole", whole_messages),
    ("a large body shared by queues goes with the last of them", shared_bodies),
    ("nothing acknowledged is lost in a crash", nothing_lost),
    ("expired messages are passed over", expired),
    ("messages that waited for too long go, and make room", too_old),
    ("unknown sessions take nothing", unknown),
    ("two lanes append to one queue", two_lanes),
];

const ALL: (usize, usize) = (usize::MAX, usize::MAX);

fn at(entry: u64) -> Appended {
    Appended::At { entry: EntryId(entry), previous: EntryId(entry - 1) }
}

fn names(entries: &[(u64, String)]) -> Vec<&str> {
    entries.iter().map(|(_, payload)| payload.as_str()).collect()
}

fn chain(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    for (n, payload) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(caller.append(session, payload), at(n as u64 + 1));
    }
    assert_eq!(names(&caller.read_all(session, token(1, 1))), ["a", "b", "c"]);
    let again = caller.claim(claim("a", token(1, 2)));
    assert_eq!((again.trimmed, again.tail), (EntryId::NONE, EntryId(3)));
}

fn lane_order(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let token = token(1, 1);
    let session = caller.claim(claim("a", token)).session;
    let append = |n: u64| {
        let publish = DurablePublish {
            ticket: Ticket(1000 + n),
            ..to_queues(message("t", &n.to_string()), &[session])
        };
        Request::Publish(Box::new(publish))
    };
    let mut requests: Vec<_> = (1..=50).map(append).collect();
    requests.push(Request::Trim { session, token, entries: vec![EntryId(1)] });
    let (ticket, after) = (Ticket(2000), EntryId::NONE);
    requests.push(Request::ReadQueue { ticket, session, token, after, max_entries: 100, max_bytes: 1 << 20 });
    let answers = caller.ask(requests, 51);
    for (n, answer) in (1..=50).zip(&answers) {
        let Completion::Published { ticket, result, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((ticket.0, result.as_ref().unwrap()[0].1), (1000 + n, at(n)));
    }
    let Completion::QueueRead { result: Ok((read, tail)), .. } = &answers[50] else {
        panic!("{:?}", answers[50])
    };
    assert_eq!((read.len(), read[0].entry, *tail), (49, EntryId(2), EntryId(50)));
}

fn limits(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.append_each(session, ["ten bytes."; 5]);
    let mut ids = |after, limits| {
        let (read, tail) = caller.read(session, token(1, 1), after, limits).unwrap();
        assert_eq!(tail, EntryId(5));
        read.iter().map(|queued| queued.entry.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(0, (2, usize::MAX)), [1, 2]);
    assert_eq!(ids(2, (100, 20)), [3, 4]);
    assert_eq!(ids(0, (100, 1)), [1], "at least one");
    assert_eq!(ids(5, ALL), []);
}

fn overflow(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let few = caller.claim(Claim { queue_bounds: bounds(2, 1 << 20), ..claim("few", token(1, 1)) }).session;
    let small = caller.claim(Claim { queue_bounds: bounds(100, 25), ..claim("small", token(1, 2)) }).session;
    for session in [few, small] {
        assert_eq!(caller.append(session, "1234567890"), at(1));
        assert_eq!(caller.append(session, "1234567890"), at(2));
        assert_eq!(caller.append(session, "1234567890"), Appended::Overflow);
    }
    caller.trim(few, token(1, 1), &[1]);
    assert_eq!(caller.append(few, "next"), at(3), "an id is not spent on what was dropped");
    let publish = to_queues(message("t", "both 67890"), &[few, small]);
    assert_eq!(caller.publish(publish), [Appended::Overflow, Appended::Overflow]);
    store.crash();
    let mut caller = Caller::new(store);
    assert_eq!(caller.append(few, "x"), Appended::Overflow, "the bound and the count outlive a crash");
}

fn trims(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.append_each(session, ["1", "2", "3", "4", "5", "6"]);
    caller.trim(session, token(1, 1), &[5, 2]);
    caller.trim(session, token(1, 1), &[2, 99, 0]);
    assert_eq!(names(&caller.read_all(session, token(1, 1))), ["1", "3", "4", "6"]);
    assert_eq!(caller.claim(claim("a", token(1, 2))).trimmed, EntryId::NONE);
    caller.trim(session, token(1, 2), &[1]);
    let again = caller.claim(claim("a", token(1, 3)));
    assert_eq!((again.trimmed, again.tail), (EntryId(2), EntryId(6)));
    store.crash();
    let mut caller = Caller::new(store);
    let again = caller.claim(claim("a", token(2, 1)));
    assert_eq!((again.trimmed, again.tail), (EntryId(2), EntryId(6)));
    assert_eq!(names(&caller.read_all(session, token(2, 1))), ["3", "4", "6"]);
}

fn ids_not_reused(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.append_each(session, ["1", "2", "3"]);
    caller.trim(session, token(1, 1), &[3]);
    caller.trim(session, token(1, 1), &[1, 2]);
    let claimed = caller.claim(claim("a", token(1, 2)));
    assert_eq!(claimed.trimmed, claimed.tail);
    for incarnation in 2..4 {
        store.crash();
        let mut caller = Caller::new(store);
        let claimed = caller.claim(claim("a", token(incarnation, 1)));
        assert!(claimed.tail >= EntryId(3) && claimed.trimmed == claimed.tail, "{claimed:?}");
    }
    let mut caller = Caller::new(store);
    let Appended::At { entry, previous } = caller.append(session, "4") else { panic!("not appended") };
    assert!(entry > EntryId(3) && previous >= EntryId(3));
}

fn whole_messages(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    let properties = MessageProperties {
        payload_is_utf8: Some(true),
        content_type: Some("application/json".into()),
        response_topic: Some("answer".into()),
        correlation_data: Some(Bytes::from_static(&[0, 1, 255])),
        user_properties: vec![("b".into(), "1".into()), ("a".into(), "2".into())],
    };
    let sent = Message {
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: Some(Box::new(properties)),
        expires_at: Some(Timestamp(START.0 + 60_000)),
        sequence: u64::MAX,
        hops: 3,
        ..message("some/topic", "payload")
    };
    let mut publish = to_queues(sent.clone(), &[session]);
    publish.queues[0].qos = QoS::ExactlyOnce;
    publish.queues[0].retain = true;
    caller.publish(publish);
    let check = |caller: &mut Caller, token| {
        let (read, _) = caller.read(session, token, 0, ALL).unwrap();
        let queued = &read[0];
        assert_eq!((queued.qos, queued.retain, &queued.identifiers), (QoS::ExactlyOnce, true, &vec![3, 4]));
        assert_eq!(*queued.message, sent);
    };
    check(&mut caller, token(1, 1));
    store.crash();
    let mut caller = Caller::new(store);
    caller.claim(claim("a", token(2, 1)));
    check(&mut caller, token(2, 1));
}

fn shared_bodies(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let sessions: Vec<_> =
        (1..=20).map(|n| caller.claim(claim(&format!("c{n}"), token(1, n))).session).collect();
    let body = "x".repeat(10_000);
    let appended = caller.publish(to_queues(message("t", &body), &sessions));
    assert!(appended.iter().all(|one| *one == at(1)));
    caller.trim(sessions[0], token(1, 1), &[1]);
    store.crash();
    let mut caller = Caller::new(store);
    let next = "y".repeat(10_000);
    caller.publish(to_queues(message("t", &next), &sessions));
    for (n, session) in (1..=20).zip(&sessions) {
        caller.claim(claim(&format!("c{n}"), token(2, n)));
        let both = [(1, body.clone()), (2, next.clone())];
        assert_eq!(caller.read_all(*session, token(2, n)), both[usize::from(n == 1)..]);
        caller.trim(*session, token(2, n), &[1]);
    }
    assert_eq!(names(&caller.read_all(sessions[19], token(2, 20))), [next]);
}

fn nothing_lost(store: &mut dyn Instance) {
    let mut expected: Vec<String> = Vec::new();
    let mut first = Caller::new(store);
    let session = first.claim(claim("a", token(1, 1))).session;
    for round in 0..4 {
        let mut callers = [Caller::new(store), Caller::new(store)];
        for n in 0..10 {
            let payload = format!("{round}/{n}");
            assert!(matches!(callers[n % 2].append(session, &payload), Appended::At { .. }));
            expected.push(payload);
        }
        store.crash();
    }
    let mut caller = Caller::new(store);
    assert_eq!(caller.claim(claim("a", token(2, 1))).session, session);
    assert_eq!(names(&caller.read_all(session, token(2, 1))), expected);
}

fn expired(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    let short = Message { expires_at: Some(Timestamp(START.0 + 1000)), ..message("t", "short") };
    caller.publish(to_queues(short, &[session]));
    caller.append(session, "long");
    assert_eq!(names(&caller.read_all(session, token(1, 1))), ["short", "long"]);
    store.set_time(Timestamp(START.0 + 1000));
    assert_eq!(names(&caller.read_all(session, token(1, 1))), ["long"]);
    assert_eq!(caller.claim(claim("a", token(1, 2))).trimmed, EntryId(1), "and trimmed");
}

fn too_old(store: &mut dyn Instance) {
    let later = |secs: u64| Timestamp(START.0 + secs * 1000);
    let queue_bounds = QueueBounds { secs: Some(10), ..bounds(2, 1 << 20) };
    let claim = |counter| Claim { queue_bounds, ..claim("a", token(1, counter)) };
    let append = |store: &mut dyn Instance, caller: &mut Caller, session, payload: &str, secs| {
        store.set_time(later(secs));
        let message = Message { received_at: later(secs), ..message("t", payload) };
        caller.publish(to_queues(message, &[session]))[0]
    };
    let mut caller = Caller::new(store);
    let session = caller.claim(claim(1)).session;
    caller.end(session, token(1, 1), 3600, START).unwrap();
    assert_eq!(append(store, &mut caller, session, "a", 0), at(1));
    assert_eq!(append(store, &mut caller, session, "b", 5), at(2));
    assert_eq!(append(store, &mut caller, session, "c", 9), Appended::Overflow);
    // The bound outlives a crash.
    store.crash();
    let mut caller = Caller::new(store);
    assert_eq!(append(store, &mut caller, session, "d", 10), at(3), "in the place of the first");
    assert_eq!(append(store, &mut caller, session, "e", 14), Appended::Overflow);
    caller.claim(claim(2));
    assert_eq!(names(&caller.read_all(session, token(1, 2))), ["b", "d"]);
    store.set_time(later(15));
    assert_eq!(names(&caller.read_all(session, token(1, 2))), ["d"]);
    assert_eq!(caller.claim(claim(3)).trimmed, EntryId(2), "and trimmed");
}

fn unknown(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    let appended = caller.publish(to_queues(message("t", "x"), &[SessionId(u64::MAX), session]));
    assert_eq!(appended, [Appended::NoSession, at(1)]);
    assert_eq!(caller.read(SessionId(u64::MAX), token(1, 1), 0, ALL).unwrap_err(), Error::NoSession);
}

fn two_lanes(store: &mut dyn Instance) {
    let session = Caller::new(store).claim(claim("a", token(1, 1))).session;
    let callers = [Caller::new(store), Caller::new(store)];
    std::thread::scope(|threads| {
        for (lane, mut caller) in callers.into_iter().enumerate() {
            threads.spawn(move || {
                caller.append_each(session, (0..100).map(|n| format!("{lane}/{n:03}")));
            });
        }
    });
    let all = Caller::new(store).read_all(session, token(1, 1));
    assert_eq!(all.len(), 200);
    assert!(all.iter().map(|(entry, _)| *entry).eq(1..=200));
    for lane in ["0/", "1/"] {
        assert!(all.iter().filter(|(_, p)| p.starts_with(lane)).is_sorted_by_key(|(_, payload)| payload));
    }
}
