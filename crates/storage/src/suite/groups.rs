//! Queues of groups: what is given to whom, what comes back, what a crash may not lose.

use fleethaven_types::{Message, QoS, Timestamp};

use super::caller::*;
use super::{Case, Instance, START};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a share goes to its member while it is there, and to the group otherwise", where_it_goes),
    ("entries of a group are given out once", given_out_once),
    ("what one process holds another may release", released_by_another),
    ("a process is told what it holds", told_what_is_held),
    ("after a crash everything unacknowledged is there to be given out", crash),
    ("what a member leaves behind goes to the front, in order", left_behind),
    ("a session that ends, however it ends, gives back its shares", every_ending),
    ("a resumed session keeps its shares", resumed),
    ("a share moves in one write, and once", moves),
    ("a refused share remembers who refused it", refusals),
    ("QoS 2 that may have been sent stays with its client", exactly_once),
    ("QoS 2 that a member released is nobody else's", released),
    ("QoS 2 that a clean member may have is nobody else's, nor after a crash", sent_to_clean),
    ("a full group drops the newest, and takes back what it gave", overflow),
    ("what is expired or too old is not given out", over),
    ("a group that is closed is gone", closed),
    ("there is one group for each key", one_for_each_key),
    ("a group is closed by the owner of its slot only", closed_by_its_owner),
    ("a large body moves with its entry", bodies),
];

fn only(payloads: &[(u64, String)]) -> Vec<&str> {
    payloads.iter().map(|(_, payload)| payload.as_str()).collect()
}

/// Claims everything; returns the payloads.
fn all(caller: &mut Caller, group: GroupId) -> Vec<String> {
    let (claimed, more) = caller.claim_shares(group, usize::MAX);
    assert!(!more);
    claimed.into_iter().map(|(_, payload)| payload).collect()
}

fn clean(client: &str, token: OwnerToken) -> Claim {
    Claim { session_expiry: 0, ..claim(client, token) }
}

fn where_it_goes(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let durable = caller.claim(claim("durable", token(1, 1))).session;
    let brief = caller.claim(clean("brief", token(1, 2))).session;
    let at = Appended::At { entry: EntryId(1), previous: EntryId::NONE };
    assert_eq!(caller.share(group, durable, "a"), at);
    let Appended::Held { entry } = caller.share(group, brief, "b") else { panic!("not held") };
    assert_eq!(caller.share(group, SessionId::NOBODY, "c"), Appended::Waiting);
    caller.end(durable, token(1, 1), 3600, START).unwrap();
    caller.end(brief, token(1, 2), 0, START).unwrap();
    assert_eq!(caller.share(group, durable, "d"), Appended::Waiting);
    assert_eq!(caller.share(group, brief, "e"), Appended::Waiting);
    assert_eq!(all(&mut caller, group), ["a", "c", "d", "e"], "b is held");
    caller.tell(Request::ReleaseShares { group, entries: vec![entry] });
    assert_eq!(all(&mut caller, group), ["b"]);
    assert_eq!(caller.share(GroupId(u64::MAX), durable, "f"), Appended::NoSession);
}

fn given_out_once(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    for payload in ["a", "b", "c"] {
        caller.share(group, SessionId::NOBODY, payload);
    }
    let (first, more) = caller.claim_shares(group, 2);
    assert_eq!((only(&first), more), (vec!["a", "b"], true));
    let (rest, more) = caller.claim_shares(group, 2);
    assert_eq!((only(&rest), more), (vec!["c"], false));
    let entry = |(entry, _): &(u64, String)| EntryId(*entry);
    caller.tell(Request::AcknowledgeShares { group, entries: vec![entry(&first[1])] });
    caller.tell(Request::ReleaseShares { group, entries: vec![entry(&first[0]), entry(&first[1])] });
    assert_eq!(all(&mut caller, group), ["a"]);
    assert_eq!(caller.claim_shares(GroupId(u64::MAX), 1), (vec![], false));
}

/// A router gives a share to a member without a queue and loses its slot; the member's gateway returns the share to the next one.
fn released_by_another(store: &mut dyn Instance) {
    let (mut first, mut next) = (Caller::new(store), Caller::beside(store));
    let group = first.open_group("g/t");
    let member = first.claim(clean("m", token(1, 1))).session;
    let Appended::Held { entry: pushed } = first.share(group, member, "pushed") else { panic!("not held") };
    let mut once = to_member(Message { qos: QoS::ExactlyOnce, ..message("t", "at QoS 2") }, group, member);
    once.queues[0].qos = QoS::ExactlyOnce;
    let [Appended::Held { entry: unsent }] = first.publish(once)[..] else { panic!("not held") };
    first.share(group, SessionId::NOBODY, "claimed");
    let (claimed, _) = first.claim_shares(group, 1);
    assert_eq!(all(&mut next, group), [""; 0], "the first process has everything");
    let entries = vec![pushed, unsent, EntryId(claimed[0].0), EntryId(7)];
    next.tell(Request::ReleaseShares { group, entries });
    assert_eq!(all(&mut next, group), ["pushed", "at QoS 2", "claimed"]);
    assert_eq!(all(&mut first, group), [""; 0], "which is the second's by now");
}

/// So it finds out what it was given in an answer that got lost.
fn told_what_is_held(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let member = caller.claim(clean("m", token(1, 1))).session;
    let Appended::Held { entry: pushed } = caller.share(group, member, "pushed") else { panic!("not held") };
    let mut once = to_member(Message { qos: QoS::ExactlyOnce, ..message("t", "at QoS 2") }, group, member);
    once.queues[0].qos = QoS::ExactlyOnce;
    caller.publish(once);
    for payload in ["a", "b", "c"] {
        caller.share(group, SessionId::NOBODY, payload);
    }
    let (claimed, _) = caller.claim_shares(group, 2);
    let claimed: Vec<EntryId> = claimed.into_iter().map(|(entry, _)| EntryId(entry)).collect();
    assert_eq!(caller.held_shares(group, 10), [pushed, claimed[0], claimed[1]]);
    assert_eq!(caller.held_shares(group, 2), [pushed, claimed[0]]);
    caller.tell(Request::AcknowledgeShares { group, entries: vec![pushed] });
    caller.tell(Request::ReleaseShares { group, entries: vec![claimed[1]] });
    assert_eq!(caller.held_shares(group, 10), [claimed[0]]);
    assert_eq!(caller.held_shares(GroupId(u64::MAX), 10), []);
}

fn crash(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let durable = caller.claim(claim("durable", token(1, 1))).session;
    let brief = caller.claim(clean("brief", token(1, 2))).session;
    for payload in ["a", "b", "c"] {
        caller.share(group, SessionId::NOBODY, payload);
    }
    caller.share(group, durable, "d");
    caller.share(group, brief, "e");
    caller.share(group, brief, "f");
    let (claimed, _) = caller.claim_shares(group, 2);
    caller.tell(Request::AcknowledgeShares { group, entries: vec![EntryId(claimed[1].0)] });
    // Acknowledgements are durable with the next write that is.
    caller.share(group, SessionId::NOBODY, "g");
    store.crash();
    assert_eq!(
        store.sessions().groups().unwrap(),
        [GroupRecord { group, scope: scope(), key: "g/t".into() }]
    );
    store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    let mut caller = Caller::new(store);
    assert_eq!(all(&mut caller, group), ["d", "a", "c", "e", "f", "g"]);
}

fn left_behind(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let (group, other) = (caller.open_group("g/t"), caller.open_group("h/t"));
    let member = caller.claim(claim("m", token(1, 1))).session;
    caller.share(group, SessionId::NOBODY, "waiting");
    caller.share(group, member, "1");
    caller.append(member, "its own");
    caller.share(other, member, "2");
    caller.share(group, member, "3");
    caller.share(group, member, "acknowledged");
    caller.trim(member, token(1, 1), &[5]);
    caller.end(member, token(1, 1), 3600, START).unwrap();
    store.crash();
    let mut caller = Caller::new(store);
    assert_eq!(all(&mut caller, group), ["1", "3", "waiting"]);
    assert_eq!(all(&mut caller, other), ["2"]);
    let again = caller.claim(claim("m", token(2, 1)));
    assert_eq!((again.tail, again.trimmed), (EntryId(5), EntryId(1)), "ids are not used again");
    assert_eq!(caller.read_all(member, token(2, 1)), [(2, "its own".to_owned())]);
}

fn every_ending(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let session = caller.claim(claim("m", token(1, 1))).session;
    caller.share(group, session, "ended");
    caller.end(session, token(1, 1), 0, START).unwrap();
    let session = caller.claim(claim("m", token(1, 2))).session;
    caller.share(group, session, "wiped");
    caller.claim(Claim { clean_start: true, ..claim("m", token(1, 3)) });
    assert_eq!(all(&mut caller, group), ["wiped", "ended"]);
    let session = caller.claim(claim("orphan", token(1, 4))).session;
    caller.share(group, session, "orphaned");
    store.crash();
    store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    assert_eq!(all(&mut Caller::new(store), group), ["orphaned", "wiped", "ended"]);
}

fn resumed(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let session = caller.claim(claim("m", token(1, 1))).session;
    caller.share(group, session, "a");
    let again = caller.claim(claim("m", token(1, 2)));
    assert!(again.session_present && again.previous.is_some());
    let (read, _) = caller.read(session, token(1, 2), 0, (10, 10)).unwrap();
    assert_eq!(read[0].share, Some(Share::of(group)));
    assert_eq!(all(&mut caller, group), [""; 0]);
}

fn moves(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let (a, b) =
        (caller.claim(claim("a", token(1, 1))).session, caller.claim(claim("b", token(1, 2))).session);
    caller.share(group, SessionId::NOBODY, "x");
    let held = Held::Group(EntryId(caller.claim_shares(group, 1).0[0].0));
    let first = Appended::At { entry: EntryId(1), previous: EntryId::NONE };
    assert_eq!(caller.pass_on(group, held, a, "x"), first);
    assert_eq!(caller.pass_on(group, held, b, "x"), Appended::Gone);
    let held = Held::Member(a, EntryId(1));
    assert_eq!(caller.pass_on(group, held, b, "x"), first);
    assert_eq!(caller.pass_on(group, held, b, "x"), Appended::Gone);
    let delete = DurablePublish {
        queues: Vec::new(),
        replaces: Some((group, Held::Member(b, EntryId(1)))),
        ..to_member(message("t", "x"), group, b)
    };
    assert_eq!(caller.publish(delete), []);
    caller.share(group, SessionId::NOBODY, "y");
    let held = Held::Group(EntryId(caller.claim_shares(group, 1).0[0].0));
    caller.end(a, token(1, 1), 3600, START).unwrap();
    assert_eq!(caller.pass_on(group, held, a, "y"), Appended::Waiting, "it has gone meanwhile");
    assert_eq!(all(&mut caller, group), ["y"]);
    store.crash();
    let mut caller = Caller::new(store);
    assert_eq!(all(&mut caller, group), ["y"]);
    caller.claim(claim("b", token(2, 2)));
    assert_eq!(caller.read_all(b, token(2, 2)), []);
}

fn refusals(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let member = caller.claim(claim("m", token(1, 1))).session;
    let mut publish = to_member(message("t", "x"), group, member);
    let mut share = Share::of(group);
    share.refuse(SessionId(7));
    publish.queues[0].share = Some(share.clone());
    caller.publish(publish);
    store.crash();
    let mut caller = Caller::new(store);
    caller.claim(claim("m", token(2, 1)));
    let (read, _) = caller.read(member, token(2, 1), 0, (10, 10)).unwrap();
    assert_eq!(read[0].share.as_ref(), Some(&share));
}

fn exactly_once(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let session = caller.claim(claim("m", token(1, 1))).session;
    for payload in ["sent", "unsent"] {
        let sent = Message { qos: QoS::ExactlyOnce, ..message("t", payload) };
        let mut publish = to_member(sent, group, session);
        publish.queues[0].qos = QoS::ExactlyOnce;
        caller.publish(publish);
    }
    let ended = caller.end_having_sent(session, token(1, 1), EntryId(1));
    assert_eq!(ended, Ok(()));
    assert_eq!(all(&mut caller, group), ["unsent"]);
    caller.claim(claim("m", token(1, 2)));
    assert_eq!(caller.read_all(session, token(1, 2)), [(1, "sent".to_owned())]);
}

fn released(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let session = caller.claim(claim("m", token(1, 1))).session;
    for payload in ["1", "2", "3"] {
        let mut publish =
            to_member(Message { qos: QoS::ExactlyOnce, ..message("t", payload) }, group, session);
        publish.queues[0].qos = QoS::ExactlyOnce;
        caller.publish(publish);
    }
    caller.release(session, token(1, 1), &[2]).unwrap();
    let held = Held::Member(session, EntryId(2));
    let other = caller.claim(claim("n", token(1, 2))).session;
    assert_eq!(caller.pass_on(group, held, other, "2"), Appended::Gone);
    store.crash();
    let mut caller = Caller::new(store);
    caller.claim(claim("m", token(2, 1)));
    caller.end_having_sent(session, token(2, 1), EntryId::NONE).unwrap();
    assert_eq!(all(&mut caller, group), ["1", "3"]);
    let again = caller.claim(claim("m", token(2, 2)));
    assert_eq!(again.released, [EntryId(2)]);
    assert_eq!(caller.read_all(session, token(2, 2)), []);
    caller.end(session, token(2, 2), 0, START).unwrap();
    assert_eq!(all(&mut caller, group), [""; 0], "nor when the session ends");
}

fn sent_to_clean(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let member = caller.claim(clean("m", token(1, 1))).session;
    let share = |qos, session, payload| {
        let mut publish = to_member(Message { qos, ..message("t", payload) }, group, session);
        publish.queues[0].qos = qos;
        publish
    };
    let held = |appended: Vec<Appended>| match appended[..] {
        [Appended::Held { entry }] => entry,
        _ => panic!("not held: {appended:?}"),
    };
    let (once, again) = (QoS::ExactlyOnce, QoS::AtLeastOnce);
    held(caller.publish(share(once, member, "sent")));
    let [unsent, passed] =
        ["unsent", "passed"].map(|payload| held(caller.publish(share(once, member, payload))));
    caller.publish(share(once, SessionId::NOBODY, "claimed"));
    let (claimed, _) = caller.claim_shares(group, 1);
    let pass = |entry, publish| DurablePublish { replaces: Some((group, Held::Group(entry))), ..publish };
    held(caller.publish(pass(EntryId(claimed[0].0), share(once, member, "claimed"))));
    // Not sent after all: for anybody, or for a member at QoS 1.
    caller.tell(Request::ReleaseShares { group, entries: vec![unsent] });
    let mut at_qos_1 = share(once, member, "passed");
    at_qos_1.queues[0].qos = again;
    held(caller.publish(pass(passed, at_qos_1)));
    held(caller.publish(share(again, member, "at QoS 1")));
    store.crash();
    store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    let mut caller = Caller::new(store);
    assert_eq!(all(&mut caller, group), ["unsent", "passed", "at QoS 1"]);
}

fn overflow(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let member = caller.claim(claim("m", token(1, 1))).session;
    caller.share(group, member, "member's");
    for n in 0..10 {
        assert_eq!(caller.share(group, SessionId::NOBODY, &n.to_string()), Appended::Waiting);
    }
    assert_eq!(caller.share(group, SessionId::NOBODY, "one more"), Appended::Overflow);
    caller.end(member, token(1, 1), 3600, START).unwrap();
    let claimed = all(&mut caller, group);
    assert_eq!((claimed.len(), claimed[0].as_str()), (11, "member's"));
    assert_eq!(caller.share(group, SessionId::NOBODY, "one more"), Appended::Overflow, "held counts");
}

fn over(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let short = Message { expires_at: Some(Timestamp(START.0 + 1000)), ..message("t", "short") };
    caller.publish(to_member(short, group, SessionId::NOBODY));
    caller.share(group, SessionId::NOBODY, "long");
    store.set_time(Timestamp(START.0 + 1000));
    let (claimed, _) = caller.claim_shares(group, 10);
    assert_eq!(only(&claimed), ["long"]);
    caller.tell(Request::ReleaseShares { group, entries: vec![EntryId(claimed[0].0)] });
    store.set_time(Timestamp(START.0 + 3_600_000));
    assert_eq!(all(&mut caller, group), [""; 0], "older than the retention");
}

fn closed(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let member = caller.claim(claim("m", token(1, 1))).session;
    caller.share(group, SessionId::NOBODY, "a");
    caller.share(group, member, "b");
    caller.tell(Request::CloseGroup { group, fence: None });
    assert_eq!(caller.share(group, member, "c"), Appended::NoSession);
    assert_eq!(caller.claim_shares(group, 10), (vec![], false));
    caller.end(member, token(1, 1), 3600, START).unwrap();
    store.crash();
    assert_eq!(store.sessions().groups().unwrap(), []);
    let mut caller = Caller::new(store);
    assert_ne!(caller.open_group("g/t"), group, "ids are not used again");
    caller.claim(claim("m", token(2, 1)));
    assert_eq!(caller.read_all(member, token(2, 1)), [(1, "b".to_owned())], "it keeps what it had");
}

fn one_for_each_key(store: &mut dyn Instance) {
    let (mut first, mut second) = (Caller::new(store), Caller::beside(store));
    let group = first.open_group("g/t");
    first.share(group, SessionId::NOBODY, "a");
    assert_eq!(second.open_group("g/t"), group);
    let other = second.open_group("h/t");
    assert_ne!(other, group);
    assert_eq!(all(&mut second, group), ["a"], "and nothing is lost of it");
    first.tell(Request::CloseGroup { group: other, fence: None });
    first.share(group, SessionId::NOBODY, "b");
    store.crash();
    let mut caller = Caller::new(store);
    assert_eq!(caller.open_group("g/t"), group);
    assert_ne!(caller.open_group("h/t"), other);
    let groups = store.sessions().groups().unwrap();
    assert!(groups.iter().map(|record| &*record.key).eq(["g/t", "h/t"]), "{groups:?}");
}

/// Another says by now what becomes of it.
fn closed_by_its_owner(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let member = caller.claim(claim("m", token(1, 1))).session;
    caller.raise(&[Fence { slot: 7, epoch: 2 }]).unwrap();
    let close = |epoch| Request::CloseGroup { group, fence: Some(Fence { slot: 7, epoch }) };
    caller.tell(close(1));
    assert_eq!(caller.share(group, SessionId::NOBODY, "a"), Appended::Waiting);
    assert!(matches!(caller.share(group, member, "b"), Appended::At { .. }));
    assert_eq!(caller.open_group("g/t"), group);
    caller.tell(close(2));
    assert_eq!(caller.share(group, SessionId::NOBODY, "c"), Appended::NoSession);
    assert_eq!(caller.share(group, member, "d"), Appended::NoSession);
}

fn bodies(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let group = caller.open_group("g/t");
    let (a, b) =
        (caller.claim(claim("a", token(1, 1))).session, caller.claim(claim("b", token(1, 2))).session);
    let body = "x".repeat(10_000);
    let mut publish = to_queues(message("t", &body), &[a, b]);
    publish.queues[0].share = Some(Share::of(group));
    caller.publish(publish);
    caller.end(a, token(1, 1), 3600, START).unwrap();
    caller.trim(b, token(1, 2), &[1]);
    caller.append(b, "next");
    store.crash();
    let mut caller = Caller::new(store);
    let (claimed, _) = caller.claim_shares(group, 1);
    assert_eq!(only(&claimed), [body.as_str()]);
    caller.claim(claim("b", token(2, 2)));
    assert!(matches!(
        caller.pass_on(group, Held::Group(EntryId(claimed[0].0)), b, &body),
        Appended::At { .. }
    ));
    assert_eq!(only(&caller.read_all(b, token(2, 2))), ["next", body.as_str()]);
}
