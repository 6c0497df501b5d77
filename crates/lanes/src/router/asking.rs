//! What a gateway core asks on its lane beside publishes, as the router is asked for it; and what the lane has to undo at its end.

use std::time::Instant;

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_storage::{SessionId, Ticket};
use rustc_hash::FxHashMap;

use super::intake::Intake;
use crate::frame::{Control, Reply};

/// One lane's sessions and open requests.
#[derive(Debug)]
pub struct Asking {
    /// What the router calls the core at the other end.
    number: u16,
    attached: FxHashMap<SessionId, Attached>,
    /// Tickets of the gateway, for those that the router is given.
    asked: FxHashMap<Ticket, u64>,
    next_ticket: u64,
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
    /// The lane of the core that the router calls `number`.
    pub fn new(number: u16) -> Self {
        Self { number, attached: FxHashMap::default(), asked: FxHashMap::default(), next_ticket: 0 }
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
            Control::Subscribe { ticket, session, subscriptions, exact, owner } => {
                let ticket = self.ticket(ticket);
                RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner }
            }
            Control::Unsubscribe { ticket, session, filters, owner } => {
                let ticket = self.ticket(ticket);
                RoutingRequest::Unsubscribe { ticket, session, filters, owner }
            }
            Control::Level { version } => return Wanted::Level(version),
        })
    }

    fn ticket(&mut self, asked: u64) -> Ticket {
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
                let ticket = self.asked.remove(&ticket).unwrap_or_default();
                Some(Reply::Subscribed { ticket, new, over_quota })
            }
            RoutingEvent::Unsubscribed { ticket, existed } => {
                let ticket = self.asked.remove(&ticket).unwrap_or_default();
                Some(Reply::Unsubscribed { ticket, existed })
            }
        }
    }

    /// The lane is over: its connections are where they are no more.
    pub fn over(&mut self) -> impl Iterator<Item = RoutingRequest> {
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
