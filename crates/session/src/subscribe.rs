//! SUBSCRIBE and UNSUBSCRIBE: what is checked before policies are asked.

use fleethaven_mqtt::{
    Packet, PacketId, PacketType, ReasonCode, Suback, Subscribe, SubscriptionOptions, Unsuback, Unsubscribe,
    Version,
};
use fleethaven_topics::{Filter, reserved};
use fleethaven_types::{QoS, Utf8Bytes};

use crate::close::Close;
use crate::session::{Action, Session, fitting};

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub struct RequestedFilter {
    /// The filter as sent.
    pub filter: Utf8Bytes,
    /// Options, with the QoS brought within what the broker grants.
    pub options: SubscriptionOptions,
    /// `Err` when the filter is refused already; otherwise policies are asked.
    pub verdict: Result<(), ReasonCode>,
}

/// A SUBSCRIBE: the shell authorises the filters, makes the subscriptions durable and installed, then calls
/// [`Session::subscribe_done`].
#[derive(Debug)]
pub struct SubscribeRequest {
    /// Returned with the outcome.
    pub packet_id: PacketId,
    /// Subscription Identifier for all filters.
    pub identifier: Option<u32>,
    /// At least one.
    pub filters: Vec<RequestedFilter>,
}

/// An UNSUBSCRIBE: the shell removes the subscriptions, then calls [`Session::unsubscribe_done`].
#[derive(Debug)]
pub struct UnsubscribeRequest {
    /// Returned with the outcome.
    pub packet_id: PacketId,
    /// The filters as sent, at least one.
    pub filters: Vec<Utf8Bytes>,
}

/// SUBSCRIBE and UNSUBSCRIBE packets that are with the shell.
#[derive(Debug, Default)]
pub(crate) struct OpenRequests(Vec<OpenRequest>);

#[derive(Debug)]
struct OpenRequest {
    packet_id: PacketId,
    /// Filters that were not held before: they are, unless they are refused.
    added: Vec<Utf8Bytes>,
}

impl OpenRequests {
    /// More than this and the client is not read on.
    const MANY: usize = 32;

    pub(crate) fn are_many(&self) -> bool {
        self.0.len() >= Self::MANY
    }

    fn open(&mut self, packet_id: PacketId, added: Vec<Utf8Bytes>) {
        self.0.push(OpenRequest { packet_id, added });
    }

    /// Ends the oldest request of this identifier; returns the filters that it added.
    fn finish(&mut self, packet_id: PacketId) -> Vec<Utf8Bytes> {
        let index = self.0.iter().position(|request| request.packet_id == packet_id);
        index.map(|index| self.0.remove(index).added).unwrap_or_default()
    }

    fn contains(&self, packet_id: PacketId) -> bool {
        self.0.iter().any(|request| request.packet_id == packet_id)
    }
}

impl Session {
    /// Whether an exchange of the client's with this identifier is open [MQTT-2.2.1-3].
    pub(crate) fn is_in_use(&self, packet_id: PacketId) -> bool {
        self.inbound.is_in_use(packet_id) || self.requests.contains(packet_id)
    }

    pub(crate) fn handle_subscribe(&mut self, subscribe: Subscribe) {
        let most = self.settings.limits.filters_per_subscribe;
        if subscribe.filters.len() > most {
            let detail = format!("more than {most} filters in one SUBSCRIBE");
            return self.close(Close::client_error(ReasonCode::QuotaExceeded, detail));
        }
        if subscribe.subscription_id.is_some() && !self.settings.behaviour.subscription_identifiers {
            let detail = "Subscription Identifiers are not available";
            return self.close(Close::client_error(ReasonCode::SubscriptionIdentifiersNotSupported, detail));
        }
        if self.version == Version::V5 && self.is_in_use(subscribe.packet_id) {
            let codes = vec![ReasonCode::PacketIdentifierInUse; subscribe.filters.len()];
            return self.send_suback(subscribe.packet_id, codes);
        }
        let mut added = Vec::new();
        let mut filters = Vec::with_capacity(subscribe.filters.len());
        for requested in subscribe.filters {
            let filter: Utf8Bytes = requested.filter.detached().into();
            let mut options = requested.options;
            options.qos = options.qos.min(self.settings.behaviour.max_qos);
            let verdict = self.check_filter(&filter);
            if verdict.is_ok() && !self.subscriptions.contains(&filter) {
                self.subscriptions.insert(filter.clone(), None);
                added.push(filter.clone());
            }
            filters.push(RequestedFilter { filter, options, verdict });
        }
        self.requests.open(subscribe.packet_id, added);
        self.push_action(Action::Subscribe(SubscribeRequest {
            packet_id: subscribe.packet_id,
            identifier: subscribe.subscription_id.map(|id| id.get()),
            filters,
        }));
    }

    fn check_filter(&self, text: &Utf8Bytes) -> Result<(), ReasonCode> {
        let settings = &self.settings;
        let filter = Filter::parse(text, &settings.limits).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        reserved::may_subscribe(&filter, &settings.behaviour).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let held = &self.subscriptions;
        let full = held.len() >= settings.limits.subscriptions_per_connection
            || held.bytes() + text.len() > settings.limits.subscription_bytes_per_connection;
        if full && !held.contains(text) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(())
    }

    /// The outcome of [`Action::Subscribe`]: per filter, in their order, the granted QoS or the refusal. SUBACK goes out
    /// now, so the subscriptions must receive messages already.
    pub fn subscribe_done(&mut self, packet_id: PacketId, outcomes: Vec<(Utf8Bytes, ReasonCode)>) {
        let added = self.requests.finish(packet_id);
        let mut reason_codes = Vec::with_capacity(outcomes.len());
        for (filter, code) in outcomes {
            if let Some(qos) = granted(code) {
                self.subscriptions.insert(filter, Some(qos));
            } else if added.contains(&filter) {
                self.subscriptions.remove(&filter);
            }
            reason_codes.push(code);
        }
        self.send_suback(packet_id, reason_codes);
    }

    /// 3.1.1 has a single failure code [MQTT-3.9.3-2], which the encoder puts in.
    fn send_suback(&mut self, packet_id: PacketId, codes: Vec<ReasonCode>) {
        if self.is_connected() {
            let reason_codes = codes.into_iter().map(|code| fitting(code, PacketType::Suback)).collect();
            self.answer(&Packet::Suback(Suback { packet_id, reason_codes, properties: None }));
        }
    }

    /// Policies refuse a filter of a 3.1.1 client, and the listener answers that as AWS does: the connection ends.
    pub fn subscribe_denied(&mut self, detail: &str) {
        self.close(Close::unauthorized(detail));
    }

    pub(crate) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        if self.version == Version::V5 && self.is_in_use(unsubscribe.packet_id) {
            let codes = vec![ReasonCode::PacketIdentifierInUse; unsubscribe.filters.len()];
            return self.send_unsuback(unsubscribe.packet_id, codes);
        }
        let filters = unsubscribe.filters.iter().map(|filter| filter.detached().into()).collect();
        self.requests.open(unsubscribe.packet_id, Vec::new());
        self.push_action(Action::Unsubscribe(UnsubscribeRequest {
            packet_id: unsubscribe.packet_id,
            filters,
        }));
    }

    /// The outcome of [`Action::Unsubscribe`]: per filter, in their order, whether there was a subscription.
    pub fn unsubscribe_done(&mut self, packet_id: PacketId, outcomes: Vec<(Utf8Bytes, bool)>) {
        self.requests.finish(packet_id);
        let mut reason_codes = Vec::with_capacity(outcomes.len());
        for (filter, existed) in outcomes {
            self.subscriptions.remove(&filter);
            reason_codes.push(self.unsuback_code(&filter, existed));
        }
        self.send_unsuback(packet_id, reason_codes);
    }

    fn unsuback_code(&self, filter: &str, existed: bool) -> ReasonCode {
        if existed {
            ReasonCode::Success
        } else if Filter::parse(filter, &self.settings.limits).is_err() {
            ReasonCode::TopicFilterInvalid
        } else if self.settings.behaviour.report_no_subscription_existed {
            ReasonCode::NoSubscriptionExisted
        } else {
            ReasonCode::Success
        }
    }

    fn send_unsuback(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>) {
        if self.is_connected() {
            self.answer(&Packet::Unsuback(Unsuback { packet_id, reason_codes, properties: None }));
        }
    }
}

/// The QoS that a SUBACK's code grants; `None` when it refuses.
fn granted(code: ReasonCode) -> Option<QoS> {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
        .into_iter()
        .find(|qos| ReasonCode::granted(*qos) == code)
}
