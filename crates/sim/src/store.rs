//! The session store as processes reach it: they hand it batches, which travel as messages; answers may come late, or never.
//!
//! Where it fails over it has a replica, which follows in steps. Then what was written is answered when the replica has it, as at
//! the durability level `replica`, and so is a read that found something at QoS 2; what else is read is what the primary has.
//!
//! - `model`: what it holds; `sessions`, `queues`, `groups`, `wills`, `retained`: its parts

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleethaven_storage::SessionId;
use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{
    Claimed, ClientRecord, Completion, Dead, Departure, Error, GroupId, GroupRecord, Lane as StoreLane, Once,
    OpenGroup, Request, SessionRecord, SessionStore, Wake,
};
use fleethaven_types::{QoS, Scope, Timestamp};
use parking_lot::Mutex;

use crate::Bug;
use crate::history::{MessageId, id};
use crate::world::Node;

mod groups;
mod model;
mod queues;
mod retained;
mod sessions;
#[cfg(test)]
mod tests;
mod wills;

pub(crate) use model::{Holder, Model};
pub(crate) use sessions::Session;

/// A process: where it runs, and which life of that machine it is.
pub(crate) type Owner = (Node, u64);

/// How the store calls it.
pub(crate) fn holder((node, life): Owner) -> Holder {
    let (kind, index) = match node {
        Node::Router(index) => (1, index),
        Node::Gateway(index) => (2, index),
        Node::Metastore | Node::Store | Node::Client(_) => (0, 0),
    };
    (kind << 56) | ((index as u64) << 40) | life
}

/// A process's way into the store.
#[derive(Default)]
pub(crate) struct Door {
    /// Asked and not sent yet.
    out: Vec<Request>,
    /// Answered and not drained yet.
    completions: Vec<Completion>,
    /// Batches on their way, with how each of their requests fails.
    outstanding: BTreeMap<u64, Vec<Completion>>,
    owner: Option<Owner>,
    wake: Option<Arc<dyn Wake>>,
}

/// What the store holds, and the doors into it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) model: Model,
    /// Everything that was ever let through.
    pub(crate) applied: BTreeSet<MessageId>,
    doors: BTreeMap<u64, Door>,
    last_door: u64,
    last_batch: u64,
    /// Batches that never arrive.
    lost: BTreeSet<u64>,
    replica: Option<Box<Model>>,
    /// What waits for the replica, in order.
    held: VecDeque<Answer>,
}

/// What a batch is answered, and by which door.
pub(crate) struct Answer {
    pub(crate) owner: Owner,
    pub(crate) door: u64,
    pub(crate) batch: u64,
    pub(crate) completions: Vec<Completion>,
}

impl State {
    pub(crate) fn doors_of(&self, owner: Owner) -> Vec<u64> {
        let own = self.doors.iter().filter(|(_, door)| door.owner == Some(owner));
        own.map(|(number, _)| *number).collect()
    }

    /// What a door has to send, if anything: under a number, with the requests.
    pub(crate) fn take_batch(&mut self, door: u64) -> Option<(u64, Vec<Request>)> {
        let door = self.doors.get_mut(&door).filter(|door| !door.out.is_empty())?;
        let requests = std::mem::take(&mut door.out);
        self.last_batch += 1;
        let error = Error::Unavailable("the connection to the store broke".to_owned());
        let failing = requests.iter().filter_map(|request| request.refuse(&error)).collect();
        door.outstanding.insert(self.last_batch, failing);
        Some((self.last_batch, requests))
    }

    /// Answers have come, unless they are waited for no more. Whether anybody is to be woken.
    pub(crate) fn answered(&mut self, door: u64, batch: u64, completions: Vec<Completion>) -> bool {
        let Some(door) = self.doors.get_mut(&door) else { return false };
        if door.outstanding.remove(&batch).is_none() {
            return false;
        }
        door.completions.extend(completions);
        door.wake.iter().for_each(|wake| wake.wake());
        true
    }

    /// The connection broke: nobody will know what became of what was on its way.
    pub(crate) fn fail(&mut self, door: u64, lost: bool) {
        let Some(door) = self.doors.get_mut(&door) else { return };
        if lost {
            self.lost.extend(door.outstanding.keys());
        }
        let failing = std::mem::take(&mut door.outstanding).into_values().flatten();
        door.completions.extend(failing);
        door.wake.iter().for_each(|wake| wake.wake());
    }

    /// Whether a batch is waited for.
    pub(crate) fn is_outstanding(&self, door: u64, batch: u64) -> bool {
        self.doors.get(&door).is_some_and(|door| door.outstanding.contains_key(&batch))
    }

    /// Carries out a batch, unless it was lost on its way; the answer, unless it has to wait.
    pub(crate) fn apply(
        &mut self,
        (owner, door, batch): (Owner, u64, u64),
        requests: Vec<Request>,
        now: Timestamp,
        bug: Option<Bug>,
    ) -> Option<Answer> {
        if self.lost.remove(&batch) {
            return None;
        }
        self.model.now = now;
        let writes = requests.iter().any(writes);
        let mut completions = Vec::new();
        for request in requests {
            let Some(completion) = self.model.apply(request, holder(owner)) else { continue };
            if let Completion::Published { message, result: Ok(_), .. } = &completion {
                self.applied.insert(id(message));
            }
            completions.push(completion);
        }
        let answer = Answer { owner, door, batch, completions };
        let reads = bug != Some(Bug::ReadsNotAwaited) && answer.completions.iter().any(finds_qos_2);
        let waits = writes || reads || self.held.iter().any(|held| held.door == door);
        if self.replica.is_some() && waits && bug != Some(Bug::ReplicaNotAwaited) {
            self.held.push_back(answer);
            return None;
        }
        Some(answer)
    }

    /// The replica has all that the primary has: what waited for that is answered.
    pub(crate) fn replicate(&mut self) -> Vec<Answer> {
        self.replica = Some(Box::new(self.model.clone()));
        std::mem::take(&mut self.held).into()
    }

    /// Something was written at one moment, replica included.
    pub(crate) fn written_through(&mut self) {
        if self.replica.is_some() {
            self.replica = Some(Box::new(self.model.clone()));
        }
    }

    /// The primary dies, and the replica takes its place: what that lacks is gone, and so is what is on its way. Who has doors.
    pub(crate) fn fail_over(&mut self, bug: Option<Bug>) -> BTreeSet<Owner> {
        let Some(replica) = &self.replica else { return BTreeSet::new() };
        let generation = self.model.generation + u64::from(bug != Some(Bug::NumbersReused));
        let gone = std::mem::take(&mut self.model.gone);
        self.model.clone_from(replica);
        self.model.generation = generation;
        // Leases pass on the replica too.
        self.model.gone = gone;
        self.held.clear();
        self.doors.values().filter_map(|door| door.owner).collect()
    }
}

/// Whether a client is about to be sent what it would take a later message for a repeat of, if this were lost.
fn finds_qos_2(completion: &Completion) -> bool {
    match completion {
        Completion::QueueRead { result: Ok((entries, _)), .. } => {
            entries.iter().any(|queued| queued.qos == QoS::ExactlyOnce)
        }
        _ => false,
    }
}

/// What became of shares and wills, in words.
pub(crate) fn answer_told(completion: &Completion) -> Option<String> {
    match completion {
        Completion::Published { message, once: Some(Once::Will(number)), result, .. } => {
            let queues = result.as_ref().map(Vec::len);
            Some(format!("will {:?} under {}, in queues: {queues:?}", id(message), number.0))
        }
        Completion::Claimed { result: Ok(claimed), .. } => {
            let kept = claimed.previous.as_ref().and_then(|previous| previous.will.as_ref());
            let kept = kept.map(|will| (id(&will.message), will.number.0));
            let Claimed { session, will, .. } = &**claimed;
            (will.is_some() || kept.is_some())
                .then(|| format!("{session:?} has a will under {will:?}, kept is {kept:?}"))
        }
        Completion::Published { message, result, .. } => {
            let queues = result.as_ref().ok()?;
            let shares = queues.iter().filter_map(|(append, at)| {
                let group = append.share.as_ref()?.group.0;
                Some(format!("{:?} in {group} for {:?}: {at:?}", id(message), append.session))
            });
            let told: Vec<_> = shares.collect();
            (!told.is_empty()).then(|| told.join("; "))
        }
        Completion::SharesHeld { group, result, .. } => result
            .as_ref()
            .ok()
            .filter(|held| !held.is_empty())
            .map(|held| format!("it holds of {}: {held:?}", group.0)),
        Completion::GroupOpened { result, .. } => Some(format!("of a queue {result:?}")),
        Completion::SharesClaimed { group, result, .. } => {
            let entries = result.iter().flat_map(|claimed| &claimed.entries);
            let told: Vec<_> = entries.map(|queued| (queued.entry.0, id(&queued.message))).collect();
            (!told.is_empty()).then(|| format!("from {}: {told:?}", group.0))
        }
        _ => None,
    }
}

fn writes(request: &Request) -> bool {
    !matches!(
        request,
        Request::ReadQueue { .. }
            | Request::FindRetained { .. }
            | Request::ReadRetained { .. }
            | Request::CompareTails { .. }
            | Request::CheckOwners { .. }
            | Request::HeldShares { .. }
    )
}

/// The store as one process holds it.
pub(crate) struct Handle {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) owner: Owner,
}

struct Lane {
    state: Arc<Mutex<State>>,
    door: u64,
}

impl SessionStore for Handle {
    fn lane(&self, wake: Arc<dyn Wake>) -> Box<dyn StoreLane> {
        let mut state = self.state.lock();
        state.last_door += 1;
        let door = state.last_door;
        let opened = Door { owner: Some(self.owner), wake: Some(wake), ..Door::default() };
        state.doors.insert(door, opened);
        Box::new(Lane { state: self.state.clone(), door })
    }

    fn persistent_sessions(&self, after: u64, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        let state = self.state.lock();
        let above = state.model.sessions.range(SessionId(after + 1)..);
        let persistent = above.filter(|(_, session)| session.persistent);
        Ok(persistent.take(limit).map(|(id, session)| session.record(*id)).collect())
    }

    fn end_orphans(&self, dead: Dead, reason: &str, now: Timestamp) -> Result<Vec<Orphan>, Error> {
        Ok(self.state.lock().model.end_orphans(&dead, reason, now))
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        Ok(self.state.lock().model.expire(now, limit))
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, Error> {
        Ok(self.state.lock().model.groups.values().map(|group| group.record().clone()).collect())
    }

    fn open_group(&self, open: OpenGroup) -> Result<GroupId, Error> {
        let mut state = self.state.lock();
        let group = state.model.open_group(open);
        state.written_through();
        Ok(group)
    }

    fn client(&self, scope: Scope, client_id: &str) -> Result<Option<ClientRecord>, Error> {
        Ok(self.state.lock().model.client(scope, client_id))
    }

    fn departure(&self, scope: Scope, client_id: &str) -> Result<Option<Departure>, Error> {
        Ok(self.state.lock().model.departure(scope, client_id))
    }

    fn delete_session(&self, scope: Scope, client_id: &str) -> Result<Option<SessionRecord>, Error> {
        self.state.lock().model.delete_session(scope, client_id)
    }

    fn due_wills(&self, now: Timestamp, limit: usize) -> Result<Vec<DueWill>, Error> {
        Ok(self.state.lock().model.due_wills(now, limit))
    }

    fn withdraw_will(&self, scope: Scope, client_id: &str) -> Result<(), Error> {
        self.state.lock().model.withdraw_will(scope, client_id);
        Ok(())
    }
}

impl StoreLane for Lane {
    fn submit(&mut self, requests: &mut Vec<Request>) {
        if let Some(door) = self.state.lock().doors.get_mut(&self.door) {
            door.out.append(requests);
        }
    }

    fn drain(&mut self, completions: &mut Vec<Completion>) {
        if let Some(door) = self.state.lock().doors.get_mut(&self.door) {
            completions.append(&mut door.completions);
        }
    }

    fn is_congested(&self) -> bool {
        false
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.state.lock().doors.remove(&self.door);
    }
}
