//! How lanes and jobs reach the commit thread, and how it answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use fleethaven_storage::{Completion, Error, Request, Wake};
use parking_lot::{Condvar, Mutex};

use crate::engine::Engine;

/// What is done after the batch of a job is on disk. Dropped instead when it could not be written.
pub(crate) type Finish = Box<dyn FnOnce() + Send>;

/// A call that is no request of a lane: carried out on the commit thread, in the same batch as what is waiting.
pub(crate) type Job = Box<dyn FnOnce(&mut Engine) -> Finish + Send>;

/// The queue in front of the commit thread.
#[derive(Default)]
pub(crate) struct Door {
    state: Mutex<State>,
    bell: Condvar,
    ports: Mutex<Vec<Weak<Port>>>,
    /// The rules queue is at its bound, so that every lane is to slow its publishers.
    rules_full: AtomicBool,
}

#[derive(Default)]
struct State {
    ready: Vec<Arc<Port>>,
    jobs: Vec<Job>,
    stopping: bool,
    closed: Option<String>,
}

/// What the thread has to do next.
pub(crate) struct Work {
    pub(crate) ports: Vec<Arc<Port>>,
    pub(crate) jobs: Vec<Job>,
    /// Nothing comes after this.
    pub(crate) last: bool,
}

/// One lane, as both sides see it.
pub(crate) struct Port {
    inbox: Mutex<Vec<Request>>,
    queued: AtomicBool,
    outbox: Mutex<Vec<Completion>>,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    wake: Arc<dyn Wake>,
}

impl Door {
    /// A new lane.
    pub(crate) fn port(&self, wake: Arc<dyn Wake>) -> Arc<Port> {
        let port = Arc::new(Port {
            inbox: Mutex::default(),
            queued: AtomicBool::new(false),
            outbox: Mutex::default(),
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            wake,
        });
        let mut ports = self.ports.lock();
        ports.retain(|port| port.strong_count() > 0);
        ports.push(Arc::downgrade(&port));
        port
    }

    /// Takes the requests of a lane's turn.
    pub(crate) fn submit(&self, port: &Arc<Port>, requests: &mut Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        port.requests.fetch_add(requests.len(), Ordering::Relaxed);
        port.bytes.fetch_add(requests.iter().map(Request::weight).sum(), Ordering::Relaxed);
        port.inbox.lock().append(requests);
        if port.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.state.lock();
        if let Some(reason) = state.closed.clone() {
            drop(state);
            return port.refuse(&Error::Unavailable(reason));
        }
        state.ready.push(port.clone());
        self.bell.notify_one();
    }

    /// Hands over a job without waiting for it.
    pub(crate) fn post(&self, job: Job) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(Error::Unavailable(reason.clone()));
        }
        state.jobs.push(job);
        self.bell.notify_one();
        Ok(())
    }

    /// Carries out `call` on the commit thread and waits until what it wrote is on disk.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.post(Box::new(move |engine| {
            let value = call(engine);
            Box::new(move || drop(answer.send(value)))
        }))?;
        answered.recv().map_err(|_| self.unavailable())
    }

    /// Waits until there is something to do, or it is `until`.
    pub(crate) fn next(&self, until: Option<Instant>) -> Work {
        let mut state = self.state.lock();
        while state.ready.is_empty() && state.jobs.is_empty() && !state.stopping {
            match until {
                Some(until) if self.bell.wait_until(&mut state, until).timed_out() => break,
                Some(_) => {}
                None => self.bell.wait(&mut state),
            }
        }
        Work {
            ports: std::mem::take(&mut state.ready),
            jobs: std::mem::take(&mut state.jobs),
            last: state.stopping,
        }
    }

    /// Asks the thread to carry out what waits and end.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.bell.notify_one();
    }

    /// Refuses everything from now on, for the first `reason` given.
    pub(crate) fn close(&self, reason: &str) {
        let mut state = self.state.lock();
        state.closed.get_or_insert_with(|| reason.to_owned());
        let (ports, jobs) = (std::mem::take(&mut state.ready), std::mem::take(&mut state.jobs));
        drop(state);
        drop(jobs);
        ports.iter().for_each(|port| port.refuse(&self.unavailable()));
    }

    /// Why nothing is accepted any more; `None` while the store works.
    pub(crate) fn closed(&self) -> Option<String> {
        self.state.lock().closed.clone()
    }

    pub(crate) fn unavailable(&self) -> Error {
        Error::Unavailable(self.closed().unwrap_or_else(|| "the commit thread ended".to_owned()))
    }

    pub(crate) fn rules_are_full(&self) -> bool {
        self.rules_full.load(Ordering::Relaxed)
    }

    /// Notes whether the rules queue is at its bound; when it is no longer, every lane is woken.
    pub(crate) fn set_rules_full(&self, full: bool) {
        if self.rules_full.swap(full, Ordering::Relaxed) && !full {
            let ports = self.ports.lock();
            ports.iter().filter_map(Weak::upgrade).for_each(|port| port.wake.wake());
        }
    }
}

impl Port {
    /// Moves what was submitted into `requests`; what comes later rings again.
    pub(crate) fn take(&self, requests: &mut Vec<Request>) {
        self.queued.store(false, Ordering::Release);
        requests.append(&mut self.inbox.lock());
    }

    /// Hands back `completions` of requests that weighed so much, and wakes the lane's owner once.
    pub(crate) fn complete(&self, completions: &mut Vec<Completion>, requests: usize, bytes: usize) {
        self.outbox.lock().append(completions);
        self.requests.fetch_sub(requests, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake.wake();
    }

    /// Appends the completions that are ready.
    pub(crate) fn drain(&self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.outbox.lock());
    }

    /// Requests and bytes outstanding.
    pub(crate) fn outstanding(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Answers everything submitted with `error`.
    fn refuse(&self, error: &Error) {
        let mut requests = Vec::new();
        self.take(&mut requests);
        let (count, bytes) = (requests.len(), requests.iter().map(Request::weight).sum());
        let mut completions = requests.into_iter().filter_map(|request| request.refuse(error)).collect();
        self.complete(&mut completions, count, bytes);
    }
}
