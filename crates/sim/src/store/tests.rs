//! The store that is simulated is a store.

use std::sync::Arc;

use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::rule_queue::BoxFuture;
use fleethaven_storage::suite::{Harness, Instance, START, run_without};
use fleethaven_storage::{
    ClientRecord, Completion, Dead, DeadLetter, Departure, Error, GroupId, GroupRecord, Lane, OpenGroup,
    Request, RetainedStore, RetainedTopic, RuleEntry, RuleEntryId, RuleQueue, SessionRecord, SessionStore,
    Wake,
};
use fleethaven_types::{AccountId, Message, Scope, Timestamp};
use parking_lot::Mutex;

use super::{Handle, State};
use crate::world::Node;

/// The life of a process beside the first, which has no more than a few.
const NEIGHBOUR: u64 = 1 << 20;

struct Fresh;

/// A store without a network before it.
struct Store {
    state: Arc<Mutex<State>>,
    sessions: Direct,
    neighbour: Direct,
    life: u64,
}

/// Requests are carried out as they are handed over.
struct Direct {
    handle: Handle,
}

struct DirectLane {
    state: Arc<Mutex<State>>,
    wake: Arc<dyn Wake>,
    life: u64,
    completions: Vec<Completion>,
}

impl Harness for Fresh {
    fn fresh(&self) -> Box<dyn Instance> {
        let state = Arc::new(Mutex::new(State::default()));
        state.lock().model.now = START;
        Box::new(Store { sessions: direct(&state, 1), neighbour: direct(&state, NEIGHBOUR), state, life: 1 })
    }
}

fn direct(state: &Arc<Mutex<State>>, life: u64) -> Direct {
    let handle = Handle { state: state.clone(), owner: (Node::Router(0), life) };
    Direct { handle }
}

impl Instance for Store {
    fn sessions(&self) -> &dyn SessionStore {
        &self.sessions
    }

    fn retained(&self) -> &dyn RetainedStore {
        self
    }

    fn rules(&self) -> &dyn RuleQueue {
        self
    }

    fn neighbour(&mut self) -> &dyn SessionStore {
        &self.neighbour
    }

    fn crash(&mut self) {
        self.state.lock().model.holder_gone(super::holder((Node::Router(0), self.life)));
        self.life += 1;
        self.sessions = direct(&self.state, self.life);
    }

    fn set_time(&self, now: Timestamp) {
        self.state.lock().model.now = now;
    }
}

impl SessionStore for Direct {
    fn lane(&self, wake: Arc<dyn Wake>) -> Box<dyn Lane> {
        let (state, life) = (self.handle.state.clone(), self.handle.owner.1);
        Box::new(DirectLane { state, wake, life, completions: Vec::new() })
    }

    fn persistent_sessions(&self, after: u64, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        self.handle.persistent_sessions(after, limit)
    }

    fn end_orphans(&self, dead: Dead, reason: &str, now: Timestamp) -> Result<Vec<Orphan>, Error> {
        self.handle.end_orphans(dead, reason, now)
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        self.handle.expire(now, limit)
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, Error> {
        self.handle.groups()
    }

    fn open_group(&self, open: OpenGroup) -> Result<GroupId, Error> {
        self.handle.open_group(open)
    }

    fn client(&self, scope: Scope, client_id: &str) -> Result<Option<ClientRecord>, Error> {
        self.handle.client(scope, client_id)
    }

    fn departure(&self, scope: Scope, client_id: &str) -> Result<Option<Departure>, Error> {
        self.handle.departure(scope, client_id)
    }

    fn delete_session(&self, scope: Scope, client_id: &str) -> Result<Option<SessionRecord>, Error> {
        self.handle.delete_session(scope, client_id)
    }

    fn due_wills(&self, now: Timestamp, limit: usize) -> Result<Vec<DueWill>, Error> {
        self.handle.due_wills(now, limit)
    }

    fn withdraw_will(&self, scope: Scope, client_id: &str) -> Result<(), Error> {
        self.handle.withdraw_will(scope, client_id)
    }
}

impl Lane for DirectLane {
    fn submit(&mut self, requests: &mut Vec<Request>) {
        let holder = super::holder((Node::Router(0), self.life));
        let mut state = self.state.lock();
        self.completions.extend(requests.drain(..).filter_map(|request| state.model.apply(request, holder)));
        drop(state);
        self.wake.wake();
    }

    fn drain(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.completions);
    }

    fn is_congested(&self) -> bool {
        false
    }
}

impl RetainedStore for Store {
    fn get(&self, scope: Scope, topic: &str) -> Result<Option<Arc<Message>>, Error> {
        let model = &mut self.state.lock().model;
        model.retained.expire(model.now);
        Ok(model.retained.0.get(&(scope, topic.into())).cloned())
    }

    fn list(&self, scope: Scope, after: Option<&str>, limit: usize) -> Result<Vec<RetainedTopic>, Error> {
        let model = &mut self.state.lock().model;
        model.retained.expire(model.now);
        let topic = |message: &Arc<Message>| RetainedTopic {
            topic: message.topic.clone(),
            payload_bytes: message.payload.len() as u64,
            qos: message.qos,
            received_at: message.received_at,
        };
        Ok(model.retained.of(scope, after).take(limit).map(topic).collect())
    }

    fn count(&self, scope: Scope) -> u64 {
        self.state.lock().model.retained.of(scope, None).count() as u64
    }

    fn holds(&self, scope: Scope, topic: &str) -> bool {
        self.state.lock().model.retained.0.contains_key(&(scope, topic.into()))
    }
}

/// There is none here.
impl RuleQueue for Store {
    fn claim(&self, _: usize) -> BoxFuture<'_, Result<Vec<RuleEntry>, Error>> {
        Box::pin(std::future::pending())
    }

    fn acknowledge(&self, _: Vec<RuleEntryId>) -> Result<(), Error> {
        Ok(())
    }

    fn depth(&self) -> u64 {
        0
    }

    fn dead_letter(&self, _: RuleEntryId, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn dead_letters(&self, _: Option<AccountId>, _: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(Vec::new())
    }

    fn redrive(&self, _: RuleEntryId) -> Result<bool, Error> {
        Ok(false)
    }

    fn discard(&self, _: RuleEntryId) -> Result<bool, Error> {
        Ok(false)
    }
}

#[test]
fn it_is_a_store() {
    // Stories of fences look into the rules queue, too.
    run_without(&Fresh, &["rules", "fences"]);
}
