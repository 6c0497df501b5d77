//! What a router pushes, on its way to the streams of gateway cores.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use fleethaven_fabric::Delivery;
use fleethaven_fabric::delivery::{Address, Push};
use fleethaven_storage::Wake;
use fleethaven_types::QoS;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// Pushes that may wait for a stream; above it QoS 0 is dropped, and what stands in a queue is read from the store later.
const PUSHES: usize = 65_536;
/// The same in payload bytes.
const BYTES: usize = 64 << 20;
/// Above so many times either bound, QoS 1 for sessions without a queue is dropped, too.
const HARD: usize = 4;

/// The lanes of all gateway cores, as a router pushes to them: by the number that each has here.
pub struct Deliveries {
    lanes: Box<[ArcSwapOption<Outbox>]>,
    dropped: Box<dyn Fn(u64) + Send + Sync>,
}

impl Deliveries {
    /// No lane yet. `dropped` is told how many deliveries were dropped at a bound for good.
    pub fn new(dropped: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let lanes = (0..Address::CORES).map(|_| ArcSwapOption::empty()).collect();
        Self { lanes, dropped: Box::new(dropped) }
    }

    /// Gives a lane a number that no other has; `None` when all are in use. 0 is nobody's, so that no address is `NONE`.
    pub(super) fn open(&self, outbox: &Arc<Outbox>) -> Option<u16> {
        for (number, lane) in (0..Address::CORES).zip(&self.lanes).skip(1) {
            let free = lane.load().is_none();
            if free && lane.compare_and_swap(&None::<Arc<Outbox>>, Some(outbox.clone())).is_none() {
                return Some(number);
            }
        }
        None
    }

    /// The number is free again. Nothing may name connections by it any more.
    pub(super) fn close(&self, number: u16) {
        if let Some(lane) = self.lanes.get(usize::from(number)) {
            lane.store(None);
        }
    }
}

impl Delivery for Deliveries {
    fn push(&self, core: u16, pushes: &mut Vec<Push>) {
        match self.lanes.get(usize::from(core)).and_then(|lane| lane.load_full()) {
            Some(outbox) => {
                let dropped = outbox.push(pushes);
                if dropped > 0 {
                    (self.dropped)(dropped);
                }
            }
            None => pushes.clear(),
        }
    }
}

/// What waits for one stream, and what wakes it.
#[derive(Default)]
pub(super) struct Outbox {
    contents: Mutex<Contents>,
    pub(super) waker: AtomicWaker,
}

#[derive(Default)]
struct Contents {
    pushes: VecDeque<Push>,
    /// Payload bytes of `pushes`.
    bytes: usize,
    /// Pushes of queued messages were dropped.
    lost: bool,
}

impl Outbox {
    /// Takes what may wait; returns how many deliveries are lost for good.
    fn push(&self, pushes: &mut Vec<Push>) -> u64 {
        let mut contents = self.contents.lock();
        let mut dropped = 0;
        for push in pushes.drain(..) {
            match &push {
                Push::Queued { .. } | Push::Tail { .. } if contents.is_full(1) => contents.lost = true,
                Push::Direct { message, targets, .. } if contents.is_full(hardness(message.qos)) => {
                    dropped += targets.len() as u64;
                }
                // At QoS ≥ 1 the credit of its members bounds what a group gets.
                Push::Shared { qos: QoS::AtMostOnce, .. } if contents.is_full(1) => dropped += 1,
                _ => {
                    contents.bytes += payload_len(&push);
                    contents.pushes.push_back(push);
                }
            }
        }
        drop(contents);
        self.waker.wake();
        dropped
    }

    /// Exchanges what waits for `taken`, which is empty; whether pushes were lost.
    pub(super) fn take(&self, taken: &mut VecDeque<Push>) -> bool {
        let mut contents = self.contents.lock();
        std::mem::swap(&mut contents.pushes, taken);
        contents.bytes = 0;
        std::mem::take(&mut contents.lost)
    }
}

impl Wake for Outbox {
    fn wake(&self) {
        self.waker.wake();
    }
}

impl Contents {
    /// Whether `times` a bound is reached.
    fn is_full(&self, times: usize) -> bool {
        self.pushes.len() >= times * PUSHES || self.bytes >= times * BYTES
    }
}

/// How many times a bound must be reached before a message of this QoS is dropped.
fn hardness(qos: QoS) -> usize {
    if qos == QoS::AtMostOnce { 1 } else { HARD }
}

fn payload_len(push: &Push) -> usize {
    match push {
        Push::Direct { message, .. } | Push::Queued { message, .. } | Push::Shared { message, .. } => {
            message.payload.len()
        }
        Push::Tail { .. } => 0,
    }
}
