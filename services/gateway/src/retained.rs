//! Retained messages for new subscriptions: read page by page, delivered with RETAIN 1 as fast as the client takes them.
//!
//! What was read may wait for the client, or for its answer, while the client gets a newer message of the same topic live. The older one
//! is not to come behind that: the newer one takes its place (protocols.md B6).

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fleethaven_session::{Close, Delivery, Encoded, Now};
use fleethaven_storage::{
    Append, Appended, DurablePublish, Error, Request, RetainedChange, Subscription, Ticket,
};
use fleethaven_types::{Message, QoS, Timestamp, Utf8Bytes};
use rustc_hash::FxHashMap;

use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::pending::Pending;

/// Retained messages read at a time.
const PAGE: usize = 64;
/// Unwritten output above this many bytes: retained messages wait, where live ones would be dropped.
const OUTPUT_BOUND: usize = 256 << 10;

/// What went live meanwhile is remembered up to so many topics and payload bytes.
const LIVE: (usize, usize) = (1024, 1 << 20);

/// Retained messages on their way to a client.
#[derive(Default)]
pub(crate) struct Retained {
    /// Questions to the store that it has not answered.
    asked: u32,
    /// What waits for the client to read.
    pages: VecDeque<Page>,
    /// What became the retained message of its topic, and was delivered live, since the first of these questions.
    live: FxHashMap<Utf8Bytes, Arc<Message>>,
    live_bytes: usize,
    /// Grows when more went live than is remembered: what was read before is read again.
    epoch: u32,
}

/// How far the retained messages of one subscription are read.
pub(crate) struct Reading {
    subscription: Subscription,
    /// Those up to this topic were delivered.
    after: Option<Utf8Bytes>,
    epoch: u32,
}

/// Some of them.
struct Page {
    reading: Reading,
    messages: VecDeque<Arc<Message>>,
    last: bool,
}

impl Retained {
    fn is_over(&self) -> bool {
        self.asked == 0 && self.pages.is_empty()
    }

    fn went_live(&mut self, message: &Arc<Message>) {
        // It may be kept for as long as the client likes.
        let message = Arc::new(message.compact());
        self.live_bytes += message.payload.len();
        if let Some(before) = self.live.insert(message.topic.clone(), message) {
            self.live_bytes -= before.payload.len();
        }
        if self.live.len() > LIVE.0 || self.live_bytes > LIVE.1 {
            self.live.clear();
            self.live_bytes = 0;
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// What is to be delivered in place of a message that was read; nothing when none is retained any more.
    fn latest(&self, message: Arc<Message>, now: Timestamp) -> Option<Arc<Message>> {
        match self.live.get(&message.topic) {
            None => Some(message),
            Some(live) => (!live.payload.is_empty() && !live.is_expired(now)).then(|| live.clone()),
        }
    }
}

impl Connection {
    /// The client gets a message that was not read from the retained store.
    pub(crate) fn went_live(&mut self, message: &Arc<Message>) {
        if message.retain
            && let Some(retained) = &mut self.retained
        {
            retained.went_live(message);
        }
    }
}

impl Core {
    /// Asks for the retained messages of new subscriptions.
    pub(crate) fn read_retained(&self, connection: &mut Connection, granted: &[(Subscription, bool)]) {
        let wanted = |(subscription, new): &&(Subscription, bool)| {
            let wanted = match subscription.retain_handling {
                0 => true,
                1 => *new,
                _ => false,
            };
            let wildcard = subscription.filter.contains(['+', '#']);
            // Shared subscriptions get none [MQTT5 section 4.8.2].
            let shared = subscription.filter.starts_with("$share/");
            wanted && !shared && (!wildcard || self.settings.behaviour.retained_on_wildcard_subscribe)
        };
        let wanted: Vec<_> =
            granted.iter().filter(wanted).map(|(subscription, _)| subscription.clone()).collect();
        if wanted.is_empty() {
            return;
        }
        connection.retained.get_or_insert_default().asked += 1;
        let filters = wanted.iter().map(|subscription| subscription.filter.clone()).collect();
        let ticket = self.expect(connection.address, Pending::FindRetained(wanted));
        self.ask_store(Request::FindRetained { ticket, scope: connection.principal.scope, filters });
    }

    /// Reads the retained messages of those subscriptions for which there are any.
    pub(crate) fn retained_found(
        self: &Rc<Self>,
        ticket: Ticket,
        result: Result<Vec<usize>, Error>,
        now: Now,
    ) {
        let Some((address, Pending::FindRetained(wanted))) = self.expected(ticket) else { return };
        let Some(connection) = self.at(address) else { return };
        let mut connection = connection.borrow_mut();
        let found = match result {
            Ok(found) => found,
            Err(error) => return connection.close(self, Close::server_error(error.to_string()), now),
        };
        let Some(mut retained) = connection.retained.take() else { return };
        retained.asked = retained.asked.saturating_sub(1);
        for subscription in found.into_iter().filter_map(|at| wanted.get(at)) {
            let reading = Reading { subscription: subscription.clone(), after: None, epoch: 0 };
            self.read_retained_page(&connection, &mut retained, reading);
        }
        connection.retained = Some(retained).filter(|retained| !retained.is_over());
    }

    fn read_retained_page(&self, connection: &Connection, retained: &mut Retained, reading: Reading) {
        retained.asked += 1;
        let reading = Reading { epoch: retained.epoch, ..reading };
        let (filter, after) = (reading.subscription.filter.clone(), reading.after.clone());
        let ticket = self.expect(connection.address, Pending::Retained(Box::new(reading)));
        let scope = connection.principal.scope;
        self.ask_store(Request::ReadRetained { ticket, scope, filter, after, max_entries: PAGE });
    }

    /// A page was read.
    pub(crate) fn retained_read(
        self: &Rc<Self>,
        ticket: Ticket,
        result: Result<Vec<Arc<Message>>, Error>,
        now: Now,
    ) {
        let Some((address, Pending::Retained(reading))) = self.expected(ticket) else { return };
        let Some(connection) = self.at(address) else { return };
        let mut connection = connection.borrow_mut();
        let messages = match result {
            Ok(messages) => messages,
            Err(error) => return connection.close(self, Close::server_error(error.to_string()), now),
        };
        if let Some(retained) = &mut connection.retained {
            retained.asked = retained.asked.saturating_sub(1);
            let last = messages.len() < PAGE;
            retained.pages.push_back(Page { reading: *reading, messages: messages.into(), last });
        }
        connection.settle(self, now);
    }

    /// Delivers retained messages while the client takes them.
    pub(crate) fn deliver_retained(&self, connection: &mut Connection, now: Now) {
        let Some(mut retained) = connection.retained.take() else { return };
        if !matches!(connection.phase, Phase::Owned(_)) {
            return;
        }
        while let Some(mut page) = retained.pages.pop_front() {
            if page.reading.epoch != retained.epoch {
                self.read_retained_page(connection, &mut retained, page.reading);
                continue;
            }
            let mut room = connection.session.output().len() < OUTPUT_BOUND;
            while room && let Some(message) = page.messages.pop_front() {
                page.reading.after = Some(message.topic.clone());
                let Some(message) = retained.latest(message, now.wall) else { continue };
                let sent = self.deliver_one(connection, &page.reading.subscription, message, now);
                room = sent && connection.session.output().len() < OUTPUT_BOUND;
            }
            if !page.messages.is_empty() {
                retained.pages.push_front(page);
                break;
            }
            if !page.last {
                self.read_retained_page(connection, &mut retained, page.reading);
            }
        }
        connection.retained = Some(retained).filter(|retained| !retained.is_over());
    }

    /// `false` when the client has no room for more messages that it must acknowledge. At QoS ≥ 1 to a persistent session,
    /// a retained message goes through the queue like any other.
    fn deliver_one(
        &self,
        connection: &mut Connection,
        subscription: &Subscription,
        message: Arc<Message>,
        now: Now,
    ) -> bool {
        if !connection.may_receive(self, &message, now) {
            return true;
        }
        let qos = subscription.qos.min(message.qos);
        if !connection.may_deliver(self, qos, now) {
            return true;
        }
        let identifiers: Vec<u32> = subscription.identifier.into_iter().collect();
        if qos != QoS::AtMostOnce && connection.is_persistent() {
            let queues = vec![Append {
                session: connection.session_id(),
                qos,
                retain: true,
                identifiers,
                share: None,
            }];
            let ticket = self.expect(connection.address, Pending::RetainedQueued);
            let (rules, retained) = (Vec::new(), RetainedChange::Keep);
            self.ask_store(Request::Publish(Box::new(DurablePublish {
                ticket,
                message,
                queues,
                rules,
                retained,
                replaces: None,
                once: None,
                fence: None,
            })));
            return true;
        }
        let (in_flight, dropped) = (connection.session.in_flight(), connection.session.dropped());
        let mut encoded = Encoded::new(message, now.wall);
        let delivery = Delivery { qos, retain: true, identifiers: &identifiers };
        connection.session.deliver(&mut encoded, &delivery, now);
        self.log_delivery(connection, encoded.message(), dropped);
        qos == QoS::AtMostOnce || connection.session.in_flight() > in_flight
    }

    /// A retained message for a new subscription of a persistent session stands in its queue now.
    pub(crate) fn retained_queued(
        self: &Rc<Self>,
        ticket: Ticket,
        message: Arc<Message>,
        result: Result<Vec<(Append, Appended)>, Error>,
        now: Now,
    ) {
        let Some((address, Pending::RetainedQueued)) = self.expected(ticket) else { return };
        let Some(connection) = self.at(address) else { return };
        let mut connection = connection.borrow_mut();
        let appended = match result {
            Ok(appended) => appended,
            Err(error) => return connection.close(self, Close::server_error(error.to_string()), now),
        };
        for (append, at) in appended {
            let Appended::At { entry, previous } = at else { continue };
            let mut encoded = Encoded::new(message.clone(), now.wall);
            let delivery =
                Delivery { qos: append.qos, retain: append.retain, identifiers: &append.identifiers };
            let delivered = connection.session.delivered();
            connection.session.deliver_queued(&mut encoded, &delivery, (entry, previous), now);
            if connection.session.delivered() > delivered {
                self.log_publish_out(&connection, encoded.message(), None);
            }
        }
        connection.act(self, now);
        connection.settle(self, now);
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_types::{Publisher, Scope};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn message(topic: &str, payload: &str) -> Arc<Message> {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 0 };
        Arc::new(Message {
            topic: topic.into(),
            payload: payload.to_owned().into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: None,
            received_at: NOW,
            expires_at: None,
            sequence: 0,
            hops: 0,
            publisher: Arc::new(publisher),
        })
    }

    #[test]
    fn what_went_live_takes_the_place_of_what_was_read() {
        let mut retained = Retained::default();
        let read = |retained: &Retained, topic: &str| retained.latest(message(topic, "old"), NOW);
        retained.went_live(&message("a", "new"));
        retained.went_live(&message("a", "newer"));
        retained.went_live(&message("gone", ""));
        retained.went_live(&Arc::new(Message { expires_at: Some(NOW), ..(*message("over", "new")).clone() }));
        assert_eq!(read(&retained, "a"), Some(message("a", "newer")));
        assert_eq!(read(&retained, "b"), Some(message("b", "old")));
        assert_eq!((read(&retained, "gone"), read(&retained, "over")), (None, None));
        assert_eq!((retained.epoch, retained.live_bytes), (0, 8));
    }

    #[test]
    fn more_than_is_remembered_has_pages_read_again() {
        let mut retained = Retained::default();
        (0..LIVE.0).for_each(|n| retained.went_live(&message(&n.to_string(), "new")));
        assert_eq!(retained.epoch, 0);
        retained.went_live(&message("one more", "new"));
        assert_eq!((retained.epoch, retained.live.len(), retained.live_bytes), (1, 0, 0));
        retained.went_live(&message("large", &"x".repeat(LIVE.1 + 1)));
        assert_eq!((retained.epoch, retained.live.len()), (2, 0));
    }
}
