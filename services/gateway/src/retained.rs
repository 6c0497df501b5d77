//! Retained messages for new subscriptions: read page by page, delivered with RETAIN 1 as fast as the client takes them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fleethaven_session::{Close, Delivery, Encoded, Now};
use fleethaven_storage::{
    Append, Appended, DurablePublish, Error, Request, RetainedChange, Subscription, Ticket,
};
use fleethaven_types::{Message, QoS, Utf8Bytes};

use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::pending::Pending;

/// Retained messages read at a time.
const PAGE: usize = 64;
/// Unwritten output above this many bytes: retained messages wait, where live ones would be dropped.
const OUTPUT_BOUND: usize = 256 << 10;

/// A page of retained messages for one subscription.
pub(crate) struct RetainedPage {
    subscription: Box<Subscription>,
    messages: VecDeque<Arc<Message>>,
    /// The next page starts above this topic; `None` when this is the last one.
    next: Option<Utf8Bytes>,
}

impl Core {
    /// Asks for the retained messages of new subscriptions.
    pub(crate) fn read_retained(&self, connection: &Connection, granted: &[(Subscription, bool)]) {
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
        for subscription in found.into_iter().filter_map(|at| wanted.get(at)) {
            self.read_retained_page(&connection, Box::new(subscription.clone()), None);
        }
    }

    fn read_retained_page(
        &self,
        connection: &Connection,
        subscription: Box<Subscription>,
        after: Option<Utf8Bytes>,
    ) {
        let filter = subscription.filter.clone();
        let ticket = self.expect(connection.address, Pending::Retained(subscription));
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
        let Some((address, Pending::Retained(subscription))) = self.expected(ticket) else { return };
        let Some(connection) = self.at(address) else { return };
        let mut connection = connection.borrow_mut();
        let messages = match result {
            Ok(messages) => messages,
            Err(error) => return connection.close(self, Close::server_error(error.to_string()), now),
        };
        let next = messages.last().filter(|_| messages.len() == PAGE).map(|last| last.topic.clone());
        connection.retained.push_back(RetainedPage { subscription, messages: messages.into(), next });
        connection.settle(self, now);
    }

    /// Delivers retained messages while the client takes them.
    pub(crate) fn deliver_retained(&self, connection: &mut Connection, now: Now) {
        while let Some(mut page) = connection.retained.pop_front() {
            if !matches!(connection.phase, Phase::Owned(_)) {
                return connection.retained.clear();
            }
            let mut room = connection.session.output().len() < OUTPUT_BOUND;
            while room && let Some(message) = page.messages.pop_front() {
                let sent = self.deliver_one(connection, &page.subscription, message, now);
                room = sent && connection.session.output().len() < OUTPUT_BOUND;
            }
            if !page.messages.is_empty() {
                return connection.retained.push_front(page);
            }
            if let Some(after) = page.next {
                self.read_retained_page(connection, page.subscription, Some(after));
            }
        }
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
        for (append, at) in result.unwrap_or_default() {
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
