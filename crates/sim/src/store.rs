//! The session store: queues, fences and what happens once. Router lanes hand it batches, which travel as messages; answers
//! may come late, or never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{
    Append, Appended, ClientRecord, Completion, Dead, Departure, DurablePublish, EntryId, Error, Fence,
    GroupId, GroupRecord, Lane as StoreLane, Once, OpenGroup, OwnerToken, Request, SessionId, SessionRecord,
    SessionStore, Ticket, Wake,
};
use fleethaven_types::{Message, Scope, Timestamp};
use parking_lot::Mutex;

use crate::history::{MessageId, id};

/// A router process's way into the store.
#[derive(Default)]
pub(crate) struct Door {
    /// Asked and not sent yet.
    pub(crate) out: Vec<Request>,
    /// Answered and not drained yet.
    pub(crate) completions: Vec<Completion>,
    /// Batches on their way, with how each fails.
    pub(crate) outstanding: BTreeMap<u64, Vec<Failing>>,
    /// Whose it is.
    pub(crate) owner: Option<(usize, u64)>,
    pub(crate) wake: Option<Arc<dyn Wake>>,
}

/// A request whose outcome will never be known.
pub(crate) enum Failing {
    Publish(Ticket, Arc<Message>, Option<Once>),
    Done(Ticket),
}

impl Failing {
    fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Publish(publish) => {
                Some(Self::Publish(publish.ticket, publish.message.clone(), publish.once))
            }
            Request::RaiseFence { ticket, .. } => Some(Self::Done(*ticket)),
            _ => None,
        }
    }

    fn completion(self) -> Completion {
        let error = Error::Unavailable("the connection to the store broke".to_owned());
        match self {
            Self::Publish(ticket, message, once) => {
                Completion::Published { ticket, message, once, result: Err(error) }
            }
            Self::Done(ticket) => Completion::Done { ticket, result: Err(error) },
        }
    }
}

/// What the store holds, and the doors into it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) ignores_fences: bool,
    pub(crate) fences: BTreeMap<u16, u64>,
    pub(crate) queues: BTreeMap<SessionId, Vec<MessageId>>,
    pub(crate) records: BTreeMap<SessionId, SessionRecord>,
    pub(crate) owners: BTreeMap<SessionId, OwnerToken>,
    received: BTreeSet<(SessionId, u16)>,
    /// Everything that was ever let through.
    pub(crate) applied: BTreeSet<MessageId>,
    pub(crate) doors: BTreeMap<u64, Door>,
    last_door: u64,
    last_batch: u64,
    /// Batches that never arrive.
    lost: BTreeSet<u64>,
}

impl State {
    /// What a door has to send, if anything: under a number, with the requests.
    pub(crate) fn take_batch(&mut self, door: u64) -> Option<(u64, Vec<Request>)> {
        let door = self.doors.get_mut(&door).filter(|door| !door.out.is_empty())?;
        let requests = std::mem::take(&mut door.out);
        self.last_batch += 1;
        door.outstanding.insert(self.last_batch, requests.iter().filter_map(Failing::of).collect());
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
        door.completions.extend(failing.map(Failing::completion));
        door.wake.iter().for_each(|wake| wake.wake());
    }

    /// Whether a batch is waited for.
    pub(crate) fn is_outstanding(&self, door: u64, batch: u64) -> bool {
        self.doors.get(&door).is_some_and(|door| door.outstanding.contains_key(&batch))
    }

    /// Carries out a batch, unless it was lost on its way.
    pub(crate) fn apply(&mut self, batch: u64, requests: Vec<Request>) -> Option<Vec<Completion>> {
        if self.lost.remove(&batch) {
            return None;
        }
        Some(requests.into_iter().filter_map(|request| self.apply_one(request)).collect())
    }

    fn apply_one(&mut self, request: Request) -> Option<Completion> {
        Some(match request {
            Request::Publish(publish) => self.publish(*publish),
            Request::RaiseFence { ticket, slots } => {
                let raised: Vec<bool> = slots.iter().map(|fence| self.raise(fence)).collect();
                let result = if raised.contains(&false) { Err(Error::Fenced) } else { Ok(()) };
                Completion::Done { ticket, result }
            }
            Request::CloseGroup { .. } => return None,
            request => panic!("a router without groups does not ask for {request:?}"),
        })
    }

    fn raise(&mut self, fence: &Fence) -> bool {
        let at = self.fences.entry(fence.slot).or_default();
        *at = fence.epoch.max(*at);
        *at == fence.epoch
    }

    fn publish(&mut self, publish: DurablePublish) -> Completion {
        let DurablePublish { ticket, message, queues, once, fence, .. } = publish;
        let result = self.let_through(&message, queues, once, fence);
        Completion::Published { ticket, message, once, result }
    }

    fn let_through(
        &mut self,
        message: &Message,
        queues: Vec<Append>,
        once: Option<Once>,
        fence: Option<Fence>,
    ) -> Result<Vec<(Append, Appended)>, Error> {
        let raised = |fence: Fence| self.fences.get(&fence.slot).is_some_and(|at| *at > fence.epoch);
        if fence.is_some_and(raised) && !self.ignores_fences {
            return Err(Error::Fenced);
        }
        if let Some(Once::Received { session, token, packet_id }) = once {
            if self.owners.get(&session) != Some(&token) {
                return Err(Error::NotOwner);
            }
            if !self.received.insert((session, packet_id.get())) {
                return Err(Error::AlreadyDone);
            }
        }
        self.applied.insert(id(message));
        let mut appended = Vec::new();
        for append in queues {
            let at = match self.queues.get_mut(&append.session) {
                Some(queue) => {
                    queue.push(id(message));
                    let entry = queue.len() as u64;
                    Appended::At { entry: EntryId(entry), previous: EntryId(entry - 1) }
                }
                None => Appended::NoSession,
            };
            appended.push((append, at));
        }
        Ok(appended)
    }
}

/// The store as one router process holds it.
pub(crate) struct Handle {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) owner: (usize, u64),
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
        let above = state.records.range(SessionId(after + 1)..).map(|(_, record)| record.clone());
        Ok(above.take(limit).collect())
    }

    fn end_orphans(&self, _: Dead, _: &str, _: Timestamp) -> Result<Vec<Orphan>, Error> {
        Ok(Vec::new())
    }

    fn expire(&self, _: Timestamp, _: usize) -> Result<Vec<SessionRecord>, Error> {
        Ok(Vec::new())
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, Error> {
        Ok(Vec::new())
    }

    fn open_group(&self, _: OpenGroup) -> Result<GroupId, Error> {
        Err(Error::Unavailable("there are no groups here".to_owned()))
    }

    fn client(&self, _: Scope, _: &str) -> Result<Option<ClientRecord>, Error> {
        Ok(None)
    }

    fn departure(&self, _: Scope, _: &str) -> Result<Option<Departure>, Error> {
        Ok(None)
    }

    fn delete_session(&self, _: Scope, _: &str) -> Result<Option<SessionRecord>, Error> {
        Ok(None)
    }

    fn due_wills(&self, _: Timestamp, _: usize) -> Result<Vec<DueWill>, Error> {
        Ok(Vec::new())
    }

    fn withdraw_will(&self, _: Scope, _: &str) -> Result<(), Error> {
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
