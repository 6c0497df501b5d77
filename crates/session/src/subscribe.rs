//! SUBSCRIBE and UNSUBSCRIBE: what is checked before policies are asked.

use fleethaven_mqtt::{
    Packet, PacketId, ReasonCode, Suback, Subscribe, SubscriptionOptions, Unsuback, Unsubscribe, Version,
};
use fleethaven_topics::{Filter, reserved};
use fleethaven_types::Utf8Bytes;

use crate::close::Close;
use crate::session::{Action, Session};

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

impl Session {
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
        let mut added = 0;
        let mut filters = Vec::with_capacity(subscribe.filters.len());
        for requested in subscribe.filters {
            let filter: Utf8Bytes = requested.filter.detached().into();
            let mut options = requested.options;
            options.qos = options.qos.min(self.settings.behaviour.max_qos);
            let verdict = self.check_filter(&filter, added);
            added += usize::from(verdict.is_ok() && !self.subscriptions.contains(&filter));
            filters.push(RequestedFilter { filter, options, verdict });
        }
        self.push_action(Action::Subscribe(SubscribeRequest {
            packet_id: subscribe.packet_id,
            identifier: subscribe.subscription_id.map(|id| id.get()),
            filters,
        }));
    }

    fn check_filter(&self, text: &Utf8Bytes, added: usize) -> Result<(), ReasonCode> {
        let settings = &self.settings;
        let filter = Filter::parse(text, &settings.limits).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if filter.share_name().is_some() {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        reserved::may_subscribe(&filter, &settings.behaviour).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let held = self.subscriptions.len() + added;
        if held >= settings.limits.subscriptions_per_connection && !self.subscriptions.contains(text) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(())
    }

    /// The outcome of [`Action::Subscribe`]: per filter the granted QoS or the refusal. SUBACK goes out now, so the
    /// subscriptions must receive messages already.
    pub fn subscribe_done(&mut self, packet_id: PacketId, outcomes: Vec<(Utf8Bytes, ReasonCode)>) {
        let mut reason_codes = Vec::with_capacity(outcomes.len());
        for (filter, code) in outcomes {
            if !code.is_error() {
                self.subscriptions.insert(filter);
            }
            reason_codes.push(match self.version {
                // 3.1.1 has a single failure code [MQTT-3.9.3-2].
                Version::V311 if code.is_error() => ReasonCode::UnspecifiedError,
                _ => code,
            });
        }
        self.send(&Packet::Suback(Suback { packet_id, reason_codes, properties: None }));
    }

    /// Policies refuse a filter of a 3.1.1 client, and the listener answers that as AWS does: the connection ends.
    pub fn subscribe_denied(&mut self, detail: &str) {
        self.close(Close::unauthorized(detail));
    }

    pub(crate) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let filters = unsubscribe.filters.iter().map(|filter| filter.detached().into()).collect();
        self.push_action(Action::Unsubscribe(UnsubscribeRequest {
            packet_id: unsubscribe.packet_id,
            filters,
        }));
    }

    /// The outcome of [`Action::Unsubscribe`]: per filter whether there was a subscription.
    pub fn unsubscribe_done(&mut self, packet_id: PacketId, outcomes: Vec<(Utf8Bytes, bool)>) {
        let report = self.settings.behaviour.report_no_subscription_existed;
        let mut reason_codes = Vec::with_capacity(outcomes.len());
        for (filter, existed) in outcomes {
            self.subscriptions.remove(&filter);
            let missing = report && !existed;
            reason_codes.push(if missing { ReasonCode::NoSubscriptionExisted } else { ReasonCode::Success });
        }
        self.send(&Packet::Unsuback(Unsuback { packet_id, reason_codes, properties: None }));
    }
}
