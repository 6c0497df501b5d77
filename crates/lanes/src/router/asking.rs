//! What a gateway core asks on its lane beside publishes, as the router is asked for it; and what the lane has to undo at its end.

use std::sync::Arc;
use std::time::Instant;

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_storage::{SessionId, Ticket, Wake};
use rustc_hash::FxHashMap;

use super::intake::Intake;
use super::slots::Slots;
use crate::frame::{Control, Reply};

/// One lane's sessions and open requests.
pub struct Asking {
    /// What the router calls the core at the other end.
    number: u16,
    attached: FxHashMap<SessionId, Attached>,
    /// What the gateway waits for, by the ticket that the router is given.
    asked: FxHashMap<Ticket, Asked>,
    next_ticket: u64,
    slots: Arc<Slots>,
    wake: Arc<dyn Wake>,
    /// Answers that are given once all slots are fenced that are this router's by these versions of the table.
    held: Vec<(u64, Reply)>,
}

/// Something that the gateway waits for.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    /// What the gateway calls it; 0: it does not wait.
    ticket: u64,
    /// The version of the table by which it asks.
    version: u64,
}

/// What a gateway core wants.
#[derive(Debug)]
pub enum Wanted {
    /// This of the router.
    Request(RoutingRequest),
    /// To have it known that the router has heard all that it must hold by this version of the table.
    Level(u64),
}

/// A session with a connection at the other end.
#[derive(Debug)]
struct Attached {
    address: Address,
    persistent: bool,
    credit: Credit,
    /// What its credit was set to last, and how much of it was taken before that.
    set: i32,
    taken: u64,
}

impl Asking {
    /// The lane of the core that the router calls `number`; `wake` has [`settled`](Self::settled) called.
    pub fn new(number: u16, slots: Arc<Slots>, wake: Arc<dyn Wake>) -> Self {
        let (attached, asked) = (FxHashMap::default(), FxHashMap::default());
        Self { number, attached, asked, next_ticket: 0, slots, wake, held: Vec::new() }
    }

    /// The ticket under which the router is asked for a publish that [`Intake`] calls `ticket`: even, where the others are odd.
    pub fn ticket_of_publish(ticket: Ticket) -> Ticket {
        Ticket(ticket.0 << 1)
    }

    /// What the gateway core wants. Addresses get the router's number of the core.
    pub fn wanted(&mut self, control: Control) -> Wanted {
        Wanted::Request(match control {
            Control::Attach { session, scope, persistent, address, room, owner } => {
                let (address, credit) = (address.at_core(self.number), Credit::default());
                credit.reset(room);
                let attached = Attached { address, persistent, credit: credit.clone(), set: room, taken: 0 };
                self.attached.insert(session, attached);
                RoutingRequest::Attach { session, scope, persistent, address, credit, owner }
            }
            Control::Detach { session, address, persistent } => {
                let address = address.at_core(self.number);
                if self.attached.get(&session).is_some_and(|attached| attached.address == address) {
                    self.attached.remove(&session);
                }
                RoutingRequest::Detach { session, address, persistent }
            }
            Control::Forget { session } => {
                self.attached.remove(&session);
                RoutingRequest::Forget { session }
            }
            Control::Ready { session, returned, room, received } => {
                if let (Some(attached), Some(room)) = (self.attached.get_mut(&session), room) {
                    attached.set_room(room, received);
                }
                RoutingRequest::Ready { session, returned }
            }
            Control::Return { session, shares, refused } => {
                RoutingRequest::Return { session, shares, refused }
            }
            Control::Subscribe { ticket, session, subscriptions, exact, version, owner } => {
                let ticket = self.ticket(Asked { ticket, version });
                let exact = exact.then_some(version);
                RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner }
            }
            Control::Unsubscribe { ticket, session, filters, owner } => {
                let ticket = self.ticket(Asked { ticket, version: 0 });
                RoutingRequest::Unsubscribe { ticket, session, filters, owner }
            }
            Control::Level { version } => return Wanted::Level(version),
        })
    }

    fn ticket(&mut self, asked: Asked) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket << 1 | 1);
        self.asked.insert(ticket, asked);
        ticket
    }

    /// What the gateway core is answered.
    pub fn reply(&mut self, event: RoutingEvent, intake: &mut Intake, now: Instant) -> Option<Reply> {
        match event {
            RoutingEvent::Published { ticket, matched, result } => {
                intake.published(Ticket(ticket.0 >> 1), matched, result, now)
            }
            // Services stand beside the routers, at the gateway.
            RoutingEvent::Answered { .. } => None,
            RoutingEvent::Subscribed { ticket, new, over_quota } => {
                let Asked { ticket, version } = self.asked.remove(&ticket).unwrap_or_default();
                let reply = Reply::Subscribed { ticket, new, over_quota };
                if ticket == 0 || self.slots.is_fenced(version, self.number, &self.wake) {
                    return Some(reply);
                }
                self.held.push((version, reply));
                None
            }
            RoutingEvent::Unsubscribed { ticket, existed } => {
                let Asked { ticket, .. } = self.asked.remove(&ticket).unwrap_or_default();
                Some(Reply::Unsubscribed { ticket, existed })
            }
        }
    }

    /// Appends the answers that were held back and need not be any more.
    pub fn settled(&mut self, replies: &mut Vec<Reply>) {
        let Self { slots, held, number, wake, .. } = self;
        if !held.is_empty() {
            let ripe = held.extract_if(.., |(version, _)| slots.is_fenced(*version, *number, wake));
            replies.extend(ripe.map(|(_, reply)| reply));
        }
    }

    /// The lane is over: its connections are where they are no more.
    pub fn over(&mut self) -> impl Iterator<Item = RoutingRequest> {
        self.slots.forget_lane(self.number);
        self.held.clear();
        self.attached.drain().map(|(session, Attached { address, persistent, .. })| RoutingRequest::Detach {
            session,
            address,
            persistent,
        })
    }
}

impl Attached {
    /// The gateway says what there is room for, knowing of `received` shares. Those that have been taken and had not arrived
    /// then go off that.
    fn set_room(&mut self, room: i32, received: u64) {
        let left = self.credit.room();
        let taken = self.set.saturating_sub(left);
        self.taken = self.taken.saturating_add_signed(i64::from(taken));
        let on_its_way = i32::try_from(self.taken.saturating_sub(received)).unwrap_or(i32::MAX);
        self.set = room.saturating_sub(on_its_way);
        // The router looks at its groups right after this, whether it asked to be told or not.
        let _ = self.credit.adjust(self.set.saturating_sub(left));
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_fabric::routing::OwnerNumber;

    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    /// Asks for a subscription by a version of the table; the router's answer comes at once.
    fn subscribe(asking: &mut Asking, ticket: u64, version: u64, now: Instant) -> Option<Reply> {
        let (session, subscriptions, owner) = (SessionId(1), Vec::new(), OwnerNumber(1));
        let control = Control::Subscribe { ticket, session, subscriptions, exact: true, version, owner };
        let Wanted::Request(RoutingRequest::Subscribe { ticket, exact, .. }) = asking.wanted(control) else {
            panic!("something else is wanted");
        };
        assert_eq!(exact, Some(version));
        let event = RoutingEvent::Subscribed { ticket, new: vec![true], over_quota: Vec::new() };
        let slots = asking.slots.clone();
        asking.reply(event, &mut Intake::new(slots), now)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
    fn what_is_promised_waits_for_fences() {
        let now = Instant::now();
        let slots = Arc::new(Slots::new(now));
        let mut asking = Asking::new(1, slots.clone(), Arc::new(Nobody));
        let reply = |ticket| Reply::Subscribed { ticket, new: vec![true], over_quota: Vec::new() };
        slots.reach_fenced(4);
        assert_eq!(subscribe(&mut asking, 1, 4, now), Some(reply(1)));
        assert_eq!(subscribe(&mut asking, 0, 5, now), Some(reply(0)), "nobody waits for it");
        assert_eq!(subscribe(&mut asking, 2, 6, now), None);
        assert_eq!(subscribe(&mut asking, 3, 5, now), None);
        let mut settled = Vec::new();
        asking.settled(&mut settled);
        assert_eq!(settled, []);
        slots.reach_fenced(5);
        asking.settled(&mut settled);
        assert_eq!(settled, [reply(3)]);
        slots.reach_fenced(7);
        asking.settled(&mut settled);
        assert_eq!(settled, [reply(3), reply(2)]);
    }
}
