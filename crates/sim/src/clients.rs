//! Clients: publishers, subscribers, and what they have to do with each other. All of them go from gateway to gateway.

use fleethaven_storage::{Claim, OwnerToken, QueueBounds, QueuedMessage, Ticket};
use fleethaven_topics::filter::matches;
use fleethaven_types::{QoS, Scope, Timestamp};

use crate::Violation;
use crate::history::{MessageId, Sent, id};
use crate::publishers::PublisherClient;
use crate::store::Session;
use crate::subscribers::SubscriberClient;
use crate::wills::Fate;
use crate::world::{Node, World};

/// Of different slots, but for the last two.
pub(crate) const TOPICS: [&str; 5] = ["t/0/0", "t/0/1", "t/1/0", "t/1/1", "t/1/1/deep"];
pub(crate) const FILTERS: [&str; 8] =
    ["t/0/0", "t/0/1", "t/1/1/#", "t/1/0/+", "t/#", "t/+/1", "+/1/1/deep", "#"];
pub(crate) const PUBLISHERS: usize = 3;
/// Of persistent sessions, and of clean ones.
pub(crate) const SUBSCRIBERS: (usize, usize) = (4, 2);
/// Which clients these are, before those that are members of groups.
pub(crate) const APART: usize = SUBSCRIBERS.0 + SUBSCRIBERS.1;
/// Session Expiry Interval of sessions that outlive their connections, in seconds: longer than any run.
pub(crate) const LASTS: u32 = 3600;

/// Whose clients these are.
pub(crate) fn scope() -> Scope {
    match ("123456789012".parse(), "eu-central-1".parse()) {
        (Ok(account), Ok(region)) => Scope { account, region },
        _ => panic!("an account and a region"),
    }
}

/// A claim of a client id.
pub(crate) fn claim(client_id: &str, token: OwnerToken, now: Timestamp) -> Claim {
    Claim {
        ticket: Ticket(0),
        scope: scope(),
        client_id: client_id.into(),
        token,
        owner_address: 0,
        clean_start: false,
        session_expiry: LASTS,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds::NONE,
        will: None,
        principal: None,
        now,
    }
}

impl World {
    pub(crate) fn start_clients(&mut self) {
        (0..PUBLISHERS).for_each(|index| self.start_publisher(index));
        (0..APART).for_each(|index| self.start_subscriber(index, &FILTERS));
        self.start_members();
    }

    /// A gateway that a client can connect to.
    pub(crate) fn some_gateway(&mut self) -> Option<usize> {
        let up = |(index, host): (usize, &crate::gateway::GatewayHost)| {
            let process = host.process.as_ref()?;
            process.me.filter(|_| !self.is_asleep(Node::Gateway(index))).map(|_| index)
        };
        let up: Vec<usize> = self.gateways.iter().enumerate().filter_map(up).collect();
        self.random.pick(&up)
    }

    /// All connections to a gateway are gone.
    pub(crate) fn connections_lost(&mut self, gateway: usize) {
        self.publishers.iter_mut().for_each(|publisher| publisher.gateway_lost(gateway));
        for index in 0..self.subscribers.len() {
            let lost = self.subscribers.get_mut(index).is_some_and(|one| one.gateway_lost(gateway));
            if lost {
                self.connection_over(index, Fate::Lost);
            }
        }
    }

    pub(crate) fn restless_clients(&self) -> Option<String> {
        let publishers = self.publishers.iter().find_map(PublisherClient::restless);
        let subscribers = || self.subscribers.iter().find_map(SubscriberClient::restless);
        publishers
            .or_else(subscribers)
            .or_else(|| self.unread())
            .or_else(|| self.unshared())
            .or_else(|| self.waiting_wills())
    }

    /// What stands in a queue and has not come to its client, which is there. That a client has acknowledged something may have
    /// been lost on its way to the store.
    fn unread(&self) -> Option<String> {
        let store = self.store.lock();
        self.subscribers.iter().find_map(|subscriber| {
            let is_its = |session: &&Session| *session.client_id == *subscriber.client_id();
            let queue = &store.model.sessions.values().find(is_its)?.queue;
            let got = |queued: &&QueuedMessage| self.history.has(subscriber.stay(), id(&queued.message));
            let waiting = queue.values().flatten().find(|queued| !got(queued))?;
            let (client, entry) = (subscriber.client_id(), waiting.entry);
            Some(format!("entries wait for {client}, the first is {entry:?}: {:?}", id(&waiting.message)))
        })
    }
}

/// Whether, when nothing happens any more, everybody gets what they are subscribed to, once.
impl World {
    pub(crate) fn probe(&mut self) {
        self.history.forget_deliveries();
        for topic in TOPICS {
            self.publish_new(0, topic, QoS::AtLeastOnce);
        }
    }

    pub(crate) fn check_probes(&self) -> Result<(), Violation> {
        let Some(publisher) = self.publishers.first() else { return Ok(()) };
        let first = publisher.last() + 1 - TOPICS.len() as u64;
        for (number, topic) in (first..).zip(TOPICS) {
            let probe = MessageId { publisher: 0, number };
            let acknowledged = |sent: &Sent| sent.acknowledged.is_some();
            if !self.history.sent.get(&probe).is_some_and(acknowledged) {
                return Err(Violation(format!("the probe to {topic} was not acknowledged")));
            }
            self.check_probe_of_groups(probe, topic)?;
            for (index, subscriber) in self.subscribers.iter().enumerate().take(APART) {
                let filters = self.filters_of(subscriber);
                let got = self.history.times_at_once(subscriber.stay(), probe);
                let due = usize::from(filters.iter().any(|filter| matches(filter, topic, true)));
                // Who was subscribed once may still get something: see what is not promised, in docs/simulation.md.
                if got < due || (due == 1 && got > 1) {
                    return Err(Violation(format!(
                        "subscriber {index} ({}, subscribed to {filters:?}) got the probe to {topic} {got} times instead \
                         of {due}",
                        subscriber.client_id()
                    )));
                }
            }
        }
        Ok(())
    }

    /// What a subscriber is subscribed to: as the store has it, where it has.
    pub(crate) fn filters_of(&self, subscriber: &SubscriberClient) -> Vec<String> {
        let store = self.store.lock();
        let is_its = |session: &&Session| *session.client_id == *subscriber.client_id();
        match store.model.sessions.values().find(is_its).filter(|session| session.persistent) {
            Some(session) => session.subscriptions.keys().map(|filter| filter.to_string()).collect(),
            None => subscriber.filters().map(str::to_owned).collect(),
        }
    }
}
