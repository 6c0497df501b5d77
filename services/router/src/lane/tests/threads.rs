//! Several lanes on several threads.

use std::sync::mpsc;
use std::thread;

use super::*;

fn publish(lane: &mut Lane, number: u64) {
    let mut message = message("a", AtLeastOnce);
    message.sequence = number;
    let request = RoutingRequest::Publish {
        ticket: Some(Ticket(1)),
        message: Arc::new(message),
        from: None,
        once: None,
        fence: None,
    };
    submit(lane, request);
}

/// Sequences of the messages pushed directly.
fn pushed(bench: &Bench) -> Vec<u64> {
    let sequence = |(_, push)| match push {
        Push::Direct { message, .. } | Push::Queued { message, .. } | Push::Shared { message, .. } => {
            message.sequence
        }
        Push::Tail { .. } => 0,
    };
    bench.pushes().into_iter().map(sequence).collect()
}

#[test]
fn what_is_published_after_subscribed_is_delivered() {
    let mut bench = Bench::new();
    let (rounds, numbers) = mpsc::channel::<u64>();
    let (done, finished) = mpsc::channel();
    let mut other = bench.another_lane();
    let publisher = thread::spawn(move || {
        // Publishes all the time, so that plans are computed while subscriptions come and go.
        let mut wanted = 0;
        loop {
            match numbers.try_recv() {
                Ok(number) => {
                    wanted = number;
                    publish(&mut other, number);
                    done.send(()).unwrap();
                }
                Err(mpsc::TryRecvError::Empty) => publish(&mut other, 0),
                Err(mpsc::TryRecvError::Disconnected) => return wanted,
            }
        }
    });
    for number in 1..=2000 {
        let address = bench.attach(number, (number % 2) as u16, false);
        bench.subscribe(number, subscription("a", AtLeastOnce));
        rounds.send(number).unwrap();
        finished.recv().unwrap();
        assert_eq!(pushed(&bench).iter().filter(|seen| **seen == number).count(), 1, "{number}");
        bench.detach(number, address, false);
        publish(&mut bench.lane, number + 1_000_000);
        assert!(!pushed(&bench).contains(&(number + 1_000_000)), "{number}");
    }
    drop(rounds);
    assert_eq!(publisher.join().unwrap(), 2000);
    assert_eq!(bench.router.session_count(), 0);
}

#[test]
fn a_persistent_session_hears_of_every_entry_whenever_it_attaches() {
    for _ in 0..500 {
        let mut bench = Bench::new();
        let address = bench.attach(1, 0, true);
        bench.subscribe(1, subscription("a", AtLeastOnce));
        bench.detach(1, address, true);
        let mut other = bench.another_lane();
        let publisher = thread::spawn(move || publish(&mut other, 1));
        bench.attach(1, 0, true);
        publisher.join().unwrap();
        let entry = |(_, push): &(u16, Push)| match push {
            Push::Queued { position, .. } => position.entry == EntryId(1),
            Push::Tail { tail, .. } => *tail == EntryId(1),
            Push::Direct { .. } | Push::Shared { .. } => false,
        };
        assert!(bench.pushes().iter().any(entry));
    }
}

#[test]
fn sessions_that_come_and_go_on_several_lanes_leave_nothing_behind() {
    let mut bench = Bench::new();
    let come_and_go = |mut lane: Lane, slot: u32| {
        move || {
            let address = Address::new(0, slot, 1);
            for _ in 0..2000 {
                let session = SessionId(1);
                let attach = RoutingRequest::Attach {
                    session,
                    scope: scope(),
                    persistent: false,
                    address,
                    credit: Default::default(),
                    owner: OwnerNumber::UNKNOWN,
                };
                submit(&mut lane, attach);
                let (ticket, subscriptions) = (Ticket(1), vec![subscription("a", AtMostOnce)]);
                let (exact, owner) = (None, OwnerNumber::UNKNOWN);
                let subscribe = RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner };
                submit(&mut lane, subscribe);
                submit(&mut lane, RoutingRequest::Detach { session, address, persistent: false });
            }
        }
    };
    let threads: Vec<_> =
        (1..=3).map(|slot| thread::spawn(come_and_go(bench.another_lane(), slot))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let left = bench.router.session_count();
    bench.router.forget(SessionId(1));
    assert!(left <= 1);
    assert!(!bench.publish(message("a", AtMostOnce)), "a subscription of a session that is gone");
}
