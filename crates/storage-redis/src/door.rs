//! A lane: its caller's side, and the inbox and outbox that the lane's thread works on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleethaven_storage::{Completion, Error, Lane, Request, Wake};
use parking_lot::{Condvar, Mutex};

use crate::client::Shared;

/// One lane, as both sides see it.
pub(crate) struct Port {
    inbox: Mutex<Inbox>,
    bell: Condvar,
    outbox: Mutex<Vec<Completion>>,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    wake: Arc<dyn Wake>,
    /// Its thread is gone; nothing is accepted any more.
    ended: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    requests: Vec<Request>,
    /// Nothing comes after what is in it.
    closing: bool,
}

impl Port {
    pub(crate) fn new(wake: Arc<dyn Wake>) -> Self {
        Self {
            inbox: Mutex::default(),
            bell: Condvar::new(),
            outbox: Mutex::default(),
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            wake,
            ended: AtomicBool::new(false),
        }
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        self.requests.fetch_add(requests.len(), Ordering::Relaxed);
        self.bytes.fetch_add(requests.iter().map(Request::weight).sum(), Ordering::Relaxed);
        let mut inbox = self.inbox.lock();
        inbox.requests.append(requests);
        drop(inbox);
        if self.ended.load(Ordering::Acquire) {
            self.refuse();
        } else {
            self.bell.notify_one();
        }
    }

    /// Moves all that was submitted into `requests`; when nothing was, `wait` waits for it. False when there is nothing, and will
    /// not be any more.
    pub(crate) fn take(&self, requests: &mut VecDeque<Request>, wait: bool) -> bool {
        let mut inbox = self.inbox.lock();
        while wait && inbox.requests.is_empty() && !inbox.closing {
            self.bell.wait(&mut inbox);
        }
        let ended = inbox.requests.is_empty() && inbox.closing;
        requests.extend(inbox.requests.drain(..));
        !ended
    }

    /// Hands back `completions` of requests that weighed so much, and wakes the lane's owner once.
    pub(crate) fn complete(&self, completions: &mut Vec<Completion>, requests: usize, bytes: usize) {
        self.outbox.lock().append(completions);
        self.requests.fetch_sub(requests, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake.wake();
    }

    /// Asks the thread to carry out what waits and end.
    pub(crate) fn close(&self) {
        self.inbox.lock().closing = true;
        self.bell.notify_one();
    }

    /// Answers what is left, and whatever comes later, with an error.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.refuse();
    }

    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    fn refuse(&self) {
        let requests = std::mem::take(&mut self.inbox.lock().requests);
        if requests.is_empty() {
            return;
        }
        let error = Error::Unavailable("the store is closed".to_owned());
        let (count, bytes) = (requests.len(), requests.iter().map(Request::weight).sum());
        let mut completions = requests.into_iter().filter_map(|request| request.refuse(&error)).collect();
        self.complete(&mut completions, count, bytes);
    }
}

/// A caller's side of a lane. When it is dropped, what was submitted is still carried out.
pub(crate) struct RedisLane {
    pub(crate) port: Arc<Port>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: usize,
}

impl Lane for RedisLane {
    fn submit(&mut self, requests: &mut Vec<Request>) {
        self.port.submit(requests);
    }

    fn drain(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.port.outbox.lock());
    }

    fn is_congested(&self) -> bool {
        self.port.requests.load(Ordering::Relaxed) >= self.max_requests
            || self.port.bytes.load(Ordering::Relaxed) >= self.max_bytes
            || self.shared.depth.is_full()
    }
}

impl Drop for RedisLane {
    fn drop(&mut self) {
        self.port.close();
    }
}
