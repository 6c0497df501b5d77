//! Wills whose connection has ended: they wait, are called off, and are published once.

use std::time::Duration;

use fleethaven_types::Timestamp;

use super::caller::*;
use super::{Case, Instance, START};
use crate::request::TAKEN_OVER_WILL_WAITS;
use crate::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a will waits for its delay and is published once", waits),
    ("a withdrawn will is not published", withdrawn),
    ("the wills of a session's connections are told apart", each_its_own),
    ("a resumed session calls its will off in time", called_off),
    ("a will without a delay is called off by no clock", clocks_differ),
    ("the end of the session ends the wait", hastened),
    ("a crash neither loses nor repeats a will", crashes),
    ("the wills of a dead process wait", orphaned),
    ("the will of a connection that is taken over waits for its gateway, then for anyone", taken_over),
];

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

/// Connects `client` with a will and ends the connection at [`START`]; the will's number.
fn leave(caller: &mut Caller, client: &str, token: OwnerToken, expiry: u32, delay: Option<u32>) -> SessionId {
    let claim = Claim { will: Some(will(client)), session_expiry: expiry, ..claim(client, token) };
    let Claimed { session, will, .. } = caller.claim(claim);
    end(caller, session, token, expiry, delay);
    will.unwrap()
}

fn end(caller: &mut Caller, session: SessionId, token: OwnerToken, expiry: u32, will_delay: Option<u32>) {
    let end = end_of(session, token, START);
    caller.end_with(ConnectionEnd { session_expiry: expiry, will_delay, ..end }).unwrap();
}

/// Payloads of the wills that are due, the longest overdue first.
fn due(store: &dyn Instance, seconds: u64) -> Vec<String> {
    let wills = store.sessions().due_wills(at(seconds), 10).unwrap();
    wills.iter().map(|will| payload(&will.message)).collect()
}

fn publish(caller: &mut Caller, number: SessionId) -> Result<Vec<Appended>, Error> {
    let once = Some(Once::Will(number));
    caller.try_publish(DurablePublish { once, ..to_queues(message("will", "x"), &[]) })
}

fn waits(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let late = leave(&mut caller, "late", token(1, 1), 3600, Some(20));
    let early = leave(&mut caller, "early", token(1, 2), 3600, Some(10));
    leave(&mut caller, "at once", token(1, 3), 0, Some(0));
    assert_eq!(due(store, 0), ["at once"]);
    assert_eq!(due(store, 20), ["at once", "early", "late"]);
    assert_eq!(store.sessions().due_wills(at(20), 2).unwrap().len(), 2);
    assert_eq!(publish(&mut caller, early), Ok(vec![]));
    assert_eq!(publish(&mut caller, early), Err(Error::AlreadyDone));
    assert_eq!(publish(&mut caller, late), Ok(vec![]));
    assert_eq!(due(store, 1000), ["at once"]);
}

fn withdrawn(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let number = leave(&mut caller, "a", token(1, 1), 3600, None);
    assert_eq!(due(store, 1000), [""; 0]);
    assert_eq!(publish(&mut caller, number), Err(Error::AlreadyDone));
    store.crash();
    assert_eq!(due(store, 1000), [""; 0]);
}

/// A client comes and goes faster than its wills are published.
fn each_its_own(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let mut again = |number: u64, delay| {
        let mine = StoredWill { delay: 0, ..will(&number.to_string()) };
        let Claimed { session, will, previous, .. } =
            caller.claim(Claim { will: Some(mine), ..claim("a", token(1, number)) });
        assert_eq!(previous, None);
        end(&mut caller, session, token(1, number), 3600, delay);
        will.unwrap()
    };
    let (first, second, third) = (again(1, Some(0)), again(2, Some(0)), again(3, None));
    assert_eq!(due(store, 0), ["1", "2"]);
    let mut caller = Caller::new(store);
    assert_eq!(publish(&mut caller, first), Ok(vec![]));
    assert_eq!(publish(&mut caller, first), Err(Error::AlreadyDone));
    assert_eq!(publish(&mut caller, third), Err(Error::AlreadyDone));
    store.sessions().withdraw_will(scope(), "a").unwrap();
    assert_eq!(due(store, 1000), ["2"], "the last connection left none");
    store.crash();
    assert_eq!(due(store, 1000), ["2"]);
    let mut caller = Caller::new(store);
    assert!(caller.claim(claim("a", token(2, 1))).session_present);
    assert_eq!(due(store, 1000), ["2"]);
    assert_eq!(publish(&mut caller, second), Ok(vec![]));
    assert_eq!(due(store, 1000), [""; 0]);
}

fn called_off(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let number = leave(&mut caller, "in time", token(1, 1), 3600, Some(10));
    leave(&mut caller, "too late", token(1, 2), 3600, Some(10));
    let session = caller.claim(Claim { now: at(9), ..claim("in time", token(1, 3)) }).session;
    caller.claim(Claim { now: at(10), ..claim("too late", token(1, 4)) });
    assert_eq!(due(store, 1000), ["too late"]);
    assert_eq!(publish(&mut caller, number), Err(Error::AlreadyDone));
    // What is called off does not come back, and the next connection's will is its own.
    store.crash();
    assert_eq!(due(store, 1000), ["too late"]);
    end(&mut Caller::new(store), session, token(1, 3), 3600, Some(0));
    assert_eq!(due(store, 1000), ["too late"], "the second connection had none");
}

/// The next connection's gateway is asked before it knows of the end, and its clock is behind.
fn clocks_differ(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let Claimed { session, will, .. } =
        caller.claim(Claim { will: Some(will("a")), ..claim("a", token(1, 1)) });
    end(&mut caller, session, token(1, 1), 3600, Some(0));
    caller.claim(Claim { now: Timestamp(START.0 - 1), ..claim("a", token(1, 2)) });
    assert_eq!(due(store, 0), ["a"]);
    store.crash();
    assert_eq!(due(store, 0), ["a"]);
    assert_eq!(publish(&mut Caller::new(store), will.unwrap()), Ok(vec![]));
}

fn hastened(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    leave(&mut caller, "wiped", token(1, 1), 3600, Some(60));
    leave(&mut caller, "expired", token(1, 2), 30, Some(60));
    caller.claim(Claim { clean_start: true, now: at(5), ..claim("wiped", token(1, 3)) });
    assert_eq!(due(store, 5), ["wiped"]);
    store.sessions().expire(at(30), 10).unwrap();
    assert_eq!(due(store, 30), ["wiped", "expired"]);
    store.crash();
    assert_eq!(due(store, 30), ["wiped", "expired"]);
}

fn crashes(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let clean = leave(&mut caller, "clean", token(1, 1), 0, Some(0));
    leave(&mut caller, "lasting", token(1, 2), 3600, Some(10));
    store.crash();
    assert_eq!(due(store, 9), ["clean"]);
    let mut caller = Caller::new(store);
    publish(&mut caller, clean).unwrap();
    store.crash();
    assert_eq!(due(store, 10), ["lasting"]);
    let mut caller = Caller::new(store);
    assert_eq!(publish(&mut caller, clean), Err(Error::AlreadyDone));
    assert!(caller.claim(Claim { now: at(5), ..claim("lasting", token(2, 1)) }).session_present);
    store.crash();
    assert_eq!(due(store, 1000), [""; 0]);
}

/// Takes a connection with a will over and returns what the claim tells of it.
fn take_over(caller: &mut Caller, client: &str, number: u64, delay: u32, claimant: Claim) -> Option<DueWill> {
    let will = Some(StoredWill { delay, ..will(client) });
    caller.claim(Claim { will, ..claim(client, token(1, number)) });
    caller.claim(claimant).previous.unwrap().will
}

fn taken_over(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    let wait = TAKEN_OVER_WILL_WAITS.as_secs();
    let again = |client, number| claim(client, token(1, number));
    assert_eq!(take_over(&mut caller, "goes on", 1, 10, again("goes on", 2)), None);
    let clean = Claim { clean_start: true, ..again("wiped", 4) };
    let wiped = take_over(&mut caller, "wiped", 3, 10, clean).unwrap();
    let polite = take_over(&mut caller, "polite", 5, 0, again("polite", 6)).unwrap();
    // The second connection has a will of its own, and it is the second's.
    let second = Claim { will: Some(will("second")), ..again("first", 8) };
    let first = take_over(&mut caller, "first", 7, 0, second).unwrap();
    assert_eq!((payload(&wiped.message), payload(&first.message)), ("wiped".into(), "first".into()));
    assert_eq!(due(store, wait - 1), [""; 0], "its gateway is asked first");
    caller.tell(Request::WithdrawWill { will: polite.number });
    assert_eq!(publish(&mut caller, polite.number), Err(Error::AlreadyDone));
    assert_eq!(publish(&mut caller, wiped.number), Ok(vec![]));
    store.crash();
    assert_eq!(due(store, wait), ["first"]);
    let mut caller = Caller::new(store);
    assert_eq!(publish(&mut caller, first.number), Ok(vec![]));
    assert_eq!(publish(&mut caller, first.number), Err(Error::AlreadyDone));
    store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    assert_eq!(due(store, wait), ["second"]);
}

fn orphaned(store: &mut dyn Instance) {
    let mut caller = Caller::new(store);
    caller.claim(Claim { will: Some(will("lasting")), ..claim("a", token(1, 1)) });
    let clean = Claim { will: Some(will("clean")), session_expiry: 0, ..claim("b", token(1, 2)) };
    caller.claim(clean);
    store.crash();
    store.sessions().end_orphans(Dead::AllBut(2), "SERVER_ERROR", START).unwrap();
    assert_eq!(due(store, 0), ["clean"], "the session is over, and with it the wait");
    assert_eq!(due(store, 4), ["clean"]);
    store.crash();
    assert_eq!(due(store, 5), ["clean", "lasting"]);
}
