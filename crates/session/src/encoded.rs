//! One message encoded once for all its receivers.

use std::sync::Arc;

use fleethaven_mqtt::{PayloadFormat, Publish, PublishProperties, Template, UserProperty, Version};
use fleethaven_types::{Message, MessageProperties, QoS, Timestamp};

/// Encodings of one message, made when the first receiver needs them: one per (version, QoS, RETAIN).
///
/// Receivers with Subscription Identifiers are encoded one by one; the Message Expiry Interval left is the same for all
/// receivers of one turn.
pub struct Encoded {
    message: Arc<Message>,
    now: Timestamp,
    templates: [Option<Template>; 12],
}

impl Encoded {
    /// Nothing is encoded yet.
    pub fn new(message: Arc<Message>, now: Timestamp) -> Self {
        Self { message, now, templates: [const { None }; 12] }
    }

    /// The message.
    pub fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// Whether the message has expired.
    pub fn is_expired(&self) -> bool {
        self.message.is_expired(self.now)
    }

    /// The encoding for a receiver; `None` when the message cannot be encoded (a text longer than MQTT can carry).
    pub fn template(&mut self, version: Version, qos: QoS, retain: bool) -> Option<&Template> {
        let v5 = usize::from(version == Version::V5);
        let index = v5 * 6 + usize::from(qos.bits()) * 2 + usize::from(retain);
        let slot = self.templates.get_mut(index)?;
        if slot.is_none() {
            let publish = publish(&self.message, qos, retain, &[], self.now, version);
            *slot = Template::new(&publish, version).ok();
        }
        slot.as_ref()
    }
}

/// The PUBLISH packet that carries `message` to one receiver; its packet identifier is still to be set.
pub(crate) fn publish(
    message: &Message,
    qos: QoS,
    retain: bool,
    identifiers: &[u32],
    now: Timestamp,
    version: Version,
) -> Publish {
    let properties = match version {
        Version::V311 => None,
        Version::V5 => properties(message, identifiers, now),
    };
    Publish {
        dup: false,
        qos,
        retain,
        topic: message.topic.clone().into(),
        packet_id: None,
        payload: message.payload.clone(),
        properties,
    }
}

fn properties(message: &Message, identifiers: &[u32], now: Timestamp) -> Option<Box<PublishProperties>> {
    let forwarded = message.properties.as_deref();
    if forwarded.is_none() && message.expires_at.is_none() && identifiers.is_empty() {
        return None;
    }
    let mut properties = forwarded.map(forward).unwrap_or_default();
    // The time left, in whole seconds [MQTT-3.3.2-6]; may be 0 in the last second.
    properties.message_expiry_interval = message.expires_at.map(|at| at.since(now).as_secs() as u32);
    properties.subscription_ids = identifiers.iter().filter_map(|id| (*id).try_into().ok()).collect();
    Some(Box::new(properties))
}

fn forward(properties: &MessageProperties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: properties.payload_is_utf8.map(|utf8| match utf8 {
            true => PayloadFormat::Utf8,
            false => PayloadFormat::Unspecified,
        }),
        content_type: properties.content_type.clone().map(Into::into),
        response_topic: properties.response_topic.clone().map(Into::into),
        correlation_data: properties.correlation_data.clone(),
        user_properties: properties
            .user_properties
            .iter()
            .map(|(name, value)| UserProperty::new(name.clone(), value.clone()))
            .collect(),
        ..PublishProperties::default()
    }
}
