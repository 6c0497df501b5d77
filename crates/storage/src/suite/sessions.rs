//! Claims, ends, expiry, subscriptions, orphans.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_types::{Scope, Timestamp};

use super::caller::*;
use super::{Case, Instance, START};
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a first claim finds nothing", first_claim),
    ("a takeover names the previous owner", takeover),
    ("a stale token is refused", stale_token),
    ("clean start wipes", clean_start),
    ("an owner that was told of nothing can see who has its sessions", check_owners),
    ("an expired session is absent", expiry),
    ("a session that never expires stays", no_expiry),
    ("subscriptions come back with the session", subscriptions),
    ("protocol levels are kept apart on demand", protocol_levels),
    ("expiry 0 ends with the connection", expiry_zero),
    ("version numbers never fall", version_numbers),
    ("accounts are walls", walls),
    ("orphans are ended once", orphans),
    ("the living are left alone when one process dies", one_dies),
    ("persistent sessions are listed in pages", pages),
    ("a client id is looked up, connected or not", clients),
    ("a session that nobody owns is deleted on demand", deletion),
    ("when entries were first sent comes back with the session", first_sent),
    ("how a client left is told for half an hour", departures),
    ("how a client left outlasts its process and its session", lasting_departures),
];

fn owner(store: &dyn Instance, scope: Scope, client: &str) -> Option<OwnerToken> {
    let found = store.sessions().client(scope, client).unwrap();
    found.and_then(|found| found.owner).map(|(token, _)| token)
}

fn first_claim(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let claimed = caller.claim(claim("a", token(1, 1)));
    assert!(!claimed.session_present && claimed.subscriptions.is_empty());
    assert_eq!((claimed.trimmed, claimed.tail), (EntryId::NONE, EntryId::NONE));
    assert_eq!((claimed.previous, claimed.wiped), (None, None));
    assert_eq!(owner(store, scope(), "a"), Some(token(1, 1)));
    assert_eq!(store.sessions().client(scope(), "b"), Ok(None));
}

fn takeover(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let first = caller.claim(claim("a", token(1, 1)));
    let second = caller.claim(claim("a", token(1, 2)));
    assert!(second.session_present);
    assert_eq!(second.session, first.session);
    assert!(second.version_number > first.version_number);
    let expected =
        PreviousOwner { token: token(1, 1), address: 100, will: None, version_number: first.version_number };
    assert_eq!(second.previous, Some(expected));
    caller.end(second.session, token(1, 2), 3600, START).unwrap();
    assert_eq!(caller.claim(claim("a", token(1, 3))).previous, None, "an ended connection is no owner");
}

fn stale_token(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.append(session, "x");
    caller.claim(claim("a", token(2, 1)));
    let stale = token(1, 1);
    assert_eq!(caller.subscribe(session, stale, vec![subscription("f")]), Err(Error::NotOwner));
    assert_eq!(caller.unsubscribe(session, stale, "f"), Err(Error::NotOwner));
    assert_eq!(caller.end(session, stale, 0, START), Err(Error::NotOwner));
    assert_eq!(caller.read(session, stale, 0, (1, 1)).unwrap_err(), Error::NotOwner);
    caller.trim(session, stale, &[1]);
    assert_eq!(caller.read_all(session, token(2, 1)), [(1, "x".to_owned())]);
    assert_eq!(owner(store, scope(), "a"), Some(token(2, 1)));
    assert_eq!(caller.end(SessionId(u64::MAX), stale, 0, START), Err(Error::NoSession));
}

fn clean_start(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let first = caller.claim(claim("a", token(1, 1)));
    caller.subscribe(first.session, token(1, 1), vec![subscription("f")]).unwrap();
    caller.append(first.session, "x");
    let second = caller.claim(Claim { clean_start: true, ..claim("a", token(1, 2)) });
    assert!(!second.session_present && second.subscriptions.is_empty());
    assert_ne!(second.session, first.session);
    assert_eq!(second.wiped, Some(first.session));
    assert_eq!(second.previous.unwrap().token, token(1, 1));
    assert!(second.version_number > first.version_number);
    assert_eq!(caller.read_all(second.session, token(1, 2)), []);
    assert_eq!(caller.append(first.session, "y"), Appended::NoSession);
    store.crash();
    let mut caller = Caller::new(store);
    let third = caller.claim(claim("a", token(2, 1)));
    assert_eq!((third.session, third.subscriptions.len(), third.tail), (second.session, 0, EntryId::NONE));
}

fn check_owners(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let clean = |client, token| Claim { session_expiry: 0, clean_start: true, ..claim(client, token) };
    let sessions = [
        caller.claim(claim("kept", token(1, 1))).session,
        caller.claim(claim("resumed", token(1, 2))).session,
        caller.claim(clean("clean", token(1, 3))).session,
        caller.claim(clean("wiped", token(1, 4))).session,
        caller.claim(claim("left", token(1, 5))).session,
        SessionId(u64::MAX),
    ];
    let owners: Vec<_> = (1..).zip(sessions).map(|(n, session)| (session, token(1, n))).collect();
    assert_eq!(caller.check_owners(&owners), [5]);
    caller.claim(claim("resumed", token(2, 1)));
    caller.claim(clean("wiped", token(2, 2)));
    caller.end(sessions[4], token(1, 5), 3600, START).unwrap();
    assert_eq!(caller.check_owners(&owners), [1, 3, 4, 5]);
    assert_eq!(caller.check_owners(&[]), [0_usize; 0]);
}

fn expiry(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let at = |secs| START.after(Duration::from_secs(secs));
    let first = caller.claim(claim("a", token(1, 1)));
    caller.end(first.session, token(1, 1), 10, START).unwrap();
    let second = caller.claim(Claim { now: at(9), ..claim("a", token(1, 2)) });
    assert!(second.session_present);
    caller.end(second.session, token(1, 2), 10, at(10)).unwrap();
    assert_eq!(store.sessions().expire(at(19), 10), Ok(vec![]));
    let third = caller.claim(Claim { now: at(20), ..claim("a", token(1, 3)) });
    assert!(!third.session_present);
    assert_eq!((third.wiped, third.previous), (Some(first.session), None));
    caller.subscribe(third.session, token(1, 3), vec![subscription("f")]).unwrap();
    caller.end(third.session, token(1, 3), 10, at(20)).unwrap();
    store.crash();
    let gone = store.sessions().expire(at(30), 10).unwrap();
    assert_eq!((gone.len(), gone[0].session, gone[0].live), (1, third.session, false));
    assert_eq!(gone[0].subscriptions, [subscription("f")]);
    assert_eq!(store.sessions().expire(at(30), 10), Ok(vec![]));
    let mut caller = Caller::new(store);
    assert_eq!(caller.append(third.session, "x"), Appended::NoSession);
}

fn no_expiry(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.end(session, token(1, 1), u32::MAX, START).unwrap();
    assert_eq!(store.sessions().expire(Timestamp(u64::MAX), 10), Ok(vec![]));
}

fn subscriptions(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    let long = "x/".repeat(32_000);
    let all = vec![subscription("a"), subscription("b"), subscription("$share/g/c"), subscription(&long)];
    caller.subscribe(session, token(1, 1), all).unwrap();
    let replaced = Subscription { identifier: None, no_local: false, ..subscription("a") };
    caller.subscribe(session, token(1, 1), vec![replaced.clone()]).unwrap();
    caller.unsubscribe(session, token(1, 1), "b").unwrap();
    caller.unsubscribe(session, token(1, 1), "unknown").unwrap();
    store.crash();
    let mut caller = Caller::new(store);
    let claimed = caller.claim(claim("a", token(2, 1)));
    assert!(claimed.session_present);
    let mut found = claimed.subscriptions;
    found.sort_by(|a, b| a.filter.cmp(&b.filter));
    assert_eq!(found, [subscription("$share/g/c"), replaced, subscription(&long)]);
}

fn protocol_levels(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let first = caller.claim(claim("a", token(1, 1)));
    let second = caller.claim(Claim { protocol_level: 4, ..claim("a", token(1, 2)) });
    assert!(second.session_present, "resumed across levels");
    let strict = Claim { cross_version_resume: false, ..claim("a", token(1, 3)) };
    let third = caller.claim(strict);
    assert!(!third.session_present);
    assert_eq!(third.wiped, Some(first.session));
}

fn expiry_zero(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let clean = |counter| Claim { session_expiry: 0, ..claim("a", token(1, counter)) };
    let first = caller.claim(clean(1));
    caller.subscribe(first.session, token(1, 1), vec![subscription("f")]).unwrap();
    assert_eq!(caller.append(first.session, "x"), Appended::NoSession, "a clean session has no queue");
    let second = caller.claim(clean(2));
    assert!(!second.session_present && second.previous.is_some());
    caller.end(second.session, token(1, 2), 0, START).unwrap();
    assert_eq!(owner(store, scope(), "a"), None);

    let lasting = caller.claim(claim("a", token(1, 3)));
    caller.append(lasting.session, "x");
    caller.end(lasting.session, token(1, 3), 3600, START).unwrap();
    let resumed = caller.claim(clean(4));
    assert!(resumed.session_present, "it is resumed, and ends at this disconnect");
    assert_eq!(caller.read_all(resumed.session, token(1, 4)), [(1, "x".to_owned())]);
    caller.end(resumed.session, token(1, 4), 0, START).unwrap();
    let next = caller.claim(claim("a", token(1, 5)));
    assert_eq!((next.session_present, next.wiped), (false, None));
    caller.claim(clean(6));
    let last = caller.claim(claim("a", token(1, 7)));
    assert_eq!(
        (last.session_present, last.wiped),
        (false, Some(next.session)),
        "a takeover is its disconnect"
    );
}

fn version_numbers(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let mut last = 0;
    for counter in 1..=6 {
        let session_expiry = if counter % 2 == 0 { 60 } else { 0 };
        let clean_start = counter % 3 == 0;
        let claimed = caller.claim(Claim { session_expiry, clean_start, ..claim("a", token(1, counter)) });
        assert!(claimed.version_number > last);
        last = claimed.version_number;
        if counter < 6 {
            caller.end(claimed.session, token(1, counter), session_expiry, START).unwrap();
        }
    }
    store.crash();
    let claimed = Caller::new(store).claim(claim("a", token(2, 1)));
    assert!(claimed.version_number > last);
}

fn walls(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let ours = caller.claim(claim("a", token(1, 1)));
    let theirs = caller.claim(Claim { scope: other_scope(), ..claim("a", token(1, 2)) });
    assert_ne!(ours.session, theirs.session);
    assert_eq!(theirs.previous, None);
    assert_eq!(owner(store, scope(), "a"), Some(token(1, 1)));
    store.crash();
    assert_eq!(owner(store, other_scope(), "a"), Some(token(1, 2)));
}

fn orphans(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let clean = |client, counter| Claim { session_expiry: 0, ..claim(client, token(1, counter)) };
    let willed = caller.claim(Claim { will: Some(will("1")), ..clean("clean, will", 1) });
    let bare = caller.claim(clean("clean", 2));
    let lasting = caller.claim(Claim { will: Some(will("2")), ..claim("lasting", token(1, 3)) });
    let left = caller.claim(Claim { will: Some(will("3")), ..clean("left", 4) });
    caller.end(left.session, token(1, 4), 0, START).unwrap();
    store.crash();

    let mut caller = Caller::new(store);
    let early = caller.claim(Claim { session_expiry: 0, ..claim("new", token(2, 1)) });
    let mut found = store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    found.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    let seen: Vec<_> =
        found.iter().map(|orphan| (orphan.client_id.to_string(), orphan.version_number)).collect();
    let expected = [
        ("clean".to_owned(), bare.version_number),
        ("clean, will".to_owned(), willed.version_number),
        ("lasting".to_owned(), lasting.version_number),
    ];
    assert_eq!(seen, expected);
    let tokens: Vec<_> = found.iter().map(|orphan| orphan.token).collect();
    assert_eq!(tokens, [token(1, 2), token(1, 1), token(1, 3)]);
    assert!(found.iter().all(|orphan| orphan.principal.as_deref() == Some("principal")));
    assert_eq!(store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START), Ok(vec![]), "each once");
    assert_eq!(owner(store, scope(), "new"), Some(token(2, 1)), "the living are left alone");
    caller.end(early.session, token(2, 1), 0, START).unwrap();

    store.crash();
    assert_eq!(
        store.sessions().end_orphans(Dead::AllBut(3), "SERVER_ERROR", START),
        Ok(vec![]),
        "also after another crash"
    );
    let due = START.after(Duration::from_secs(3600));
    assert_eq!(store.sessions().expire(due, 10).unwrap().len(), 1, "the expiry clock runs");
}

fn one_dies(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    for incarnation in 1..=3 {
        caller.claim(claim(&format!("gateway {incarnation}"), token(incarnation, 1)));
    }
    let ended = |dead| {
        let orphans = store.sessions().end_orphans(dead, "SERVER_ERROR", START).unwrap();
        orphans.into_iter().map(|orphan| orphan.token.incarnation).collect::<Vec<_>>()
    };
    let left = |newest, living: &[u64]| {
        let living = Arc::new(living.iter().copied().collect());
        Dead::Left { newest, living }
    };
    assert_eq!(ended(left(2, &[1])), [2], "the third has joined since");
    assert_eq!(ended(left(2, &[1])), [0; 0]);
    assert_eq!(ended(left(7, &[1, 3, 5])), [0; 0]);
    assert_eq!(owner(store, scope(), "gateway 1"), Some(token(1, 1)));
    assert_eq!(ended(Dead::AllBut(3)), [1]);
    assert_eq!(owner(store, scope(), "gateway 3"), Some(token(3, 1)));
}

fn pages(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    for counter in 1..=5 {
        let client = format!("client {counter}");
        let session = caller.claim(claim(&client, token(1, counter))).session;
        caller.subscribe(session, token(1, counter), vec![subscription(&client)]).unwrap();
    }
    caller.claim(Claim { session_expiry: 0, ..claim("clean", token(1, 6)) });
    let wiped = caller.claim(claim("wiped", token(1, 7))).session;
    caller.end(wiped, token(1, 7), 0, START).unwrap();
    let sixth = caller.claim(claim("client 6", token(1, 8))).session;
    caller.subscribe(sixth, token(1, 8), vec![subscription("client 6")]).unwrap();
    let first = store.sessions().persistent_sessions(0, 3).unwrap();
    let second = store.sessions().persistent_sessions(first[2].session.0, 3).unwrap();
    let all: Vec<_> = first.iter().chain(&second).collect();
    assert!(all.is_sorted_by(|a, b| a.session < b.session));
    let clients: Vec<_> = all.iter().map(|record| record.client_id.to_string()).collect();
    assert_eq!(clients, ["client 1", "client 2", "client 3", "client 4", "client 5", "client 6"]);
    assert!(all.iter().all(|r| r.live && r.scope == scope() && r.subscriptions[0].filter == r.client_id));
    caller.claim(claim("client 1", token(1, 9)));
    let again = store.sessions().persistent_sessions(0, 1).unwrap();
    assert_eq!((all[0].version_number, again[0].version_number), (1, 2), "that of the youngest owner");
}

fn clients(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let lasting = caller.claim(claim("a", token(1, 1))).session;
    caller.subscribe(lasting, token(1, 1), vec![subscription("f")]).unwrap();
    let clean = caller.claim(Claim { session_expiry: 0, ..claim("b", token(1, 2)) }).session;
    let find = |client: &str| store.sessions().client(scope(), client).unwrap();
    let found = find("a").unwrap();
    assert_eq!(found.owner, Some((token(1, 1), 100)));
    assert_eq!((found.persistent, found.session_expiry), (true, 3600));
    assert_eq!((found.record.session, found.record.live), (lasting, true));
    assert_eq!(found.record.subscriptions, [subscription("f")]);
    let found = find("b").unwrap();
    assert_eq!((found.persistent, found.session_expiry, found.record.session), (false, 0, clean));
    caller.end(lasting, token(1, 1), 60, START).unwrap();
    caller.end(clean, token(1, 2), 0, START).unwrap();
    let found = find("a").unwrap();
    assert_eq!((found.owner, found.session_expiry, found.record.live), (None, 60, false));
    assert_eq!(find("b"), None);
    store.set_time(START.after(Duration::from_secs(60)));
    assert_eq!(store.sessions().client(scope(), "a"), Ok(None), "it has expired");
    assert_eq!(store.sessions().client(other_scope(), "a"), Ok(None));
}

fn deletion(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    caller.subscribe(session, token(1, 1), vec![subscription("f")]).unwrap();
    caller.append(session, "x");
    assert_eq!(store.sessions().delete_session(scope(), "a"), Err(Error::NotOwner), "it is in use");
    caller.end(session, token(1, 1), 3600, START).unwrap();
    assert_eq!(store.sessions().delete_session(other_scope(), "a"), Ok(None));
    let deleted = store.sessions().delete_session(scope(), "a").unwrap().unwrap();
    assert_eq!((deleted.session, deleted.subscriptions), (session, vec![subscription("f")]));
    assert_eq!(store.sessions().delete_session(scope(), "a"), Ok(None));
    store.crash();
    assert_eq!(store.sessions().client(scope(), "a"), Ok(None));
    let next = Caller::new(store).claim(claim("a", token(2, 1)));
    assert!(!next.session_present && next.subscriptions.is_empty());
}

fn departure(reason: &str, at: Timestamp, session_expiry: u32) -> Departure {
    let thing_name = Some("thing".into());
    Departure { at, reason: reason.into(), thing_name, session_expiry, keep_alive: Some(30) }
}

/// Ends the connection of `session`; how its client left.
fn leave(
    caller: &mut Caller,
    session: SessionId,
    token: OwnerToken,
    reason: &str,
    now: Timestamp,
) -> Departure {
    let session_expiry = if reason == "CLEAN" { 0 } else { 60 };
    let left = departure(reason, now, session_expiry);
    let departure = Some(left.clone());
    let end = end_of(session, token, now);
    caller.end_with(ConnectionEnd { session_expiry, departure, ..end }).unwrap();
    left
}

fn departures(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    assert_eq!(store.sessions().departure(scope(), "a"), Ok(None));
    let session = caller.claim(claim("a", token(1, 1))).session;
    let lost = leave(&mut caller, session, token(1, 1), "CONNECTION_LOST", START);
    assert_eq!(store.sessions().departure(scope(), "a"), Ok(Some(lost.clone())));
    assert_eq!(store.sessions().departure(other_scope(), "a"), Ok(None), "accounts are walls");
    let session = caller.claim(claim("a", token(1, 2))).session;
    caller.end(session, token(1, 2), 3600, START).unwrap();
    assert_eq!(store.sessions().departure(scope(), "a"), Ok(Some(lost)), "CONNECT was not accepted");
    let later = START.after(Duration::from_secs(60));
    let session = caller.claim(claim("a", token(1, 3))).session;
    let timeout = leave(&mut caller, session, token(1, 3), "MQTT_KEEP_ALIVE_TIMEOUT", later);
    store.set_time(later.after(Duration::from_secs(1799)));
    assert_eq!(store.sessions().departure(scope(), "a"), Ok(Some(timeout)), "the later one counts");
    store.set_time(later.after(Duration::from_secs(1800)));
    assert_eq!(store.sessions().departure(scope(), "a"), Ok(None));
}

fn lasting_departures(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let clean = |counter| Claim { session_expiry: 0, ..claim("clean", token(1, counter)) };
    let session = caller.claim(clean(1)).session;
    leave(&mut caller, session, token(1, 1), "CLEAN", START);
    let session = caller.claim(clean(2)).session;
    let left_clean = leave(&mut caller, session, token(1, 2), "CLEAN", Timestamp(START.0 + 1));
    let session = caller.claim(claim("lasting", token(1, 3))).session;
    let left_lasting = leave(&mut caller, session, token(1, 3), "CONNECTION_LOST", START);
    let session = caller.claim(claim("deleted", token(1, 4))).session;
    let left_deleted = leave(&mut caller, session, token(1, 4), "CONNECTION_LOST", START);
    assert!(store.sessions().delete_session(scope(), "deleted").unwrap().is_some());
    let last = caller.claim(claim("orphan", token(1, 5)));
    store.crash();
    let told = |store: &dyn Instance, client: &str| store.sessions().departure(scope(), client).unwrap();
    assert_eq!(told(store, "clean"), Some(left_clean));
    assert_eq!(told(store, "lasting"), Some(left_lasting));
    assert_eq!(told(store, "deleted"), Some(left_deleted));
    store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    let orphan = Departure::of_orphan(START, "SERVER_ERROR", 3600);
    assert_eq!(told(store, "orphan"), Some(orphan.clone()));
    store.crash();
    assert_eq!(told(store, "orphan"), Some(orphan));
    let mut caller = Caller::new(store);
    let next = caller.claim(claim("orphan", token(2, 1)));
    assert!(next.session_present && next.version_number > last.version_number);
    let next = caller.claim(Claim { session_expiry: 0, ..claim("clean", token(2, 2)) });
    assert_eq!(next.version_number, 3, "version numbers of clean sessions outlast the process");
}

fn first_sent(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let session = caller.claim(claim("a", token(1, 1))).session;
    let sent = vec![(EntryId(3), START), (EntryId((1 << 60) + 1), Timestamp(u64::MAX))];
    let end = ConnectionEnd { first_sent: sent.clone(), ..end_of(session, token(1, 1), START) };
    caller.end_with(end).unwrap();
    store.crash();
    let mut caller = Caller::new(store);
    assert_eq!(caller.claim(claim("a", token(2, 1))).first_sent, sent);
    store.sessions().end_orphans(Dead::AllBut(3), "SERVER_ERROR", START).unwrap();
    assert_eq!(caller.claim(claim("a", token(3, 1))).first_sent, sent, "no end that tells otherwise");
    caller.end(session, token(3, 1), 3600, START).unwrap();
    assert_eq!(caller.claim(claim("a", token(3, 2))).first_sent, []);
}
