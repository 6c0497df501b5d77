//! Wills: each connection of the subscribers that are no members of groups has one, and it is published once when it is lost.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::RoutingRequest;
use fleethaven_mqtt::{Will, WillProperties};
use fleethaven_session::{ConnectRequest, published_will};
use fleethaven_storage::Once;
use fleethaven_storage::request::DueWill;
use fleethaven_types::{Message, Publisher, QoS};

use crate::clients::{APART, scope};
use crate::history::{MessageId, Sent};
use crate::world::World;
use crate::{Bug, Violation};

/// Where they are published.
pub(crate) const TOPIC: &str = "t/w/0";
/// Clients count as publishers of their wills from here on.
const FIRST: usize = 100;
/// Wills that a router publishes at a time.
const PAGE: usize = 100;
/// Longer than any will waits.
const WAITED: Duration = Duration::from_secs(60);

/// What a client knows of a connection that had a will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does not know whether it was ever accepted.
    Unknown,
    /// It is there.
    There,
    /// It was lost.
    Lost,
    /// The client has sent DISCONNECT, which may have been lost.
    Left,
}

/// The will of a client's connection of this number.
pub(crate) fn id(client: usize, connection: u64) -> MessageId {
    MessageId { publisher: FIRST + client, number: connection }
}

/// What the client puts into its CONNECT.
pub(crate) fn of_connect(client: usize, connection: u64) -> Option<Box<Will>> {
    let will = Will {
        topic: TOPIC.into(),
        payload: id(client, connection).payload(),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    (client < APART).then(|| Box::new(will))
}

/// The will as the gateway gives it to the store.
pub(crate) fn of_request(request: &ConnectRequest, client: usize, connection: u64) -> Option<Arc<Message>> {
    let MessageId { publisher, number } = id(client, connection);
    let client_id = Some(request.client_id.clone());
    let from =
        Publisher { scope: scope(), client_id, principal: None, source_ip: None, trace: publisher as u64 };
    let message = request.will.as_ref()?.message(&Arc::new(from));
    Some(Arc::new(Message { sequence: number, ..(*message).clone() }))
}

impl World {
    /// A router publishes the wills that are due, by way of some gateway's lanes.
    pub(crate) fn publish_due_wills(&mut self) {
        let (now, bug) = (self.time(), self.bug);
        let due = self.store.lock().model.due_wills(now.wall, PAGE);
        for DueWill { number, message } in due {
            let Some(gateway) = self.some_gateway() else { return };
            let message = published_will(&message, now);
            let once = (bug != Some(Bug::WillsRepeated)).then_some(Once::Will(number));
            self.route(
                gateway,
                RoutingRequest::Publish { ticket: None, message, from: None, once, fence: None },
            );
        }
    }

    /// Wills that wait although nothing happens any more.
    pub(crate) fn waiting_wills(&self) -> Option<String> {
        // Those whose gateways may still speak, too.
        let later = self.time().wall.after(WAITED);
        let due = self.store.lock().model.due_wills(later, 1);
        due.first().map(|will| format!("the will of {} waits", will.message.publisher.trace))
    }

    /// The will of each connection that was lost came to everybody who was subscribed all the time from CONNECT on, as others may
    /// know of the loss long before the client does; and that of one that is there to nobody, unless another has claimed its session
    /// and died before it told anybody. That none comes twice is seen as it comes.
    pub(crate) fn check_wills(&self) -> Result<(), Violation> {
        for (will, fate) in &self.history.wills {
            let Some(Sent { at, .. }) = self.history.sent.get(will) else { continue };
            for (index, _) in self.subscribers.iter().enumerate().take(APART) {
                let came = self.history.came_to(index, *will);
                let due = *fate == Fate::Lost && self.history.was_subscribed(index, TOPIC, *at);
                if due && !came {
                    return Err(Violation(format!(
                        "{will:?}, the will of a connection of {at} that was lost, never came to s{index}"
                    )));
                }
                if came && *fate == Fate::There && self.store.lock().model.has_will(*will) {
                    return Err(Violation(format!(
                        "{will:?}, the will of a connection that is there, came to s{index}"
                    )));
                }
            }
        }
        Ok(())
    }
}
