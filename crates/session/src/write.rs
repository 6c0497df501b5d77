//! One PUBLISH onto the output, in the form that this client takes.

use fleethaven_mqtt::{Alias, MqttString, PacketId, Version, encode};
use fleethaven_types::{EntryId, Timestamp};

use crate::encoded::{self, Encoded};
use crate::outbound::{Delivery, DropCause};
use crate::session::Session;

/// What the packet of one delivery has of its own.
#[derive(Clone, Copy)]
struct Form {
    packet_id: Option<PacketId>,
    dup: bool,
    alias: Option<Alias>,
}

impl Session {
    /// Writes one PUBLISH; `false` when the client's Maximum Packet Size does not allow it [MQTT-3.1.2-25].
    pub(crate) fn write_publish(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        entry: Option<EntryId>,
        dup: bool,
        now: Timestamp,
    ) -> bool {
        let aliases = self.outbound.aliases.as_ref();
        let alias = aliases.and_then(|aliases| aliases.of(&encoded.message().topic));
        let form = Form { packet_id: entry.map(EntryId::packet_id), dup, alias };
        let mut written = self.write_form(encoded, delivery, form, now);
        if let (Some(Alias::Defined(number)), Some(aliases)) = (alias, &mut self.outbound.aliases) {
            if written {
                aliases.define(&encoded.message().topic, number);
            } else {
                // It may fit without an alias.
                written = self.write_form(encoded, delivery, Form { alias: None, ..form }, now);
            }
        }
        if written {
            self.outbound.written += 1;
            self.outbound.pieces += encoded.message().pieces();
        } else {
            self.outbound.drop_one(DropCause::TooLarge);
        }
        written
    }

    /// The encoding is shared with other receivers unless there are Subscription Identifiers.
    fn write_form(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        form: Form,
        now: Timestamp,
    ) -> bool {
        if delivery.identifiers.is_empty() || self.version == Version::V311 {
            self.write_shared(encoded, delivery, form)
        } else {
            self.write_own(encoded, delivery, form, now)
        }
    }

    fn write_shared(&mut self, encoded: &mut Encoded, delivery: &Delivery<'_>, form: Form) -> bool {
        let max = self.outbound.max_packet();
        let Form { packet_id, dup, alias } = form;
        let Some(template) = encoded.template(self.version, delivery.qos, delivery.retain) else {
            return false;
        };
        if alias.map_or_else(|| template.encoded_len(), |alias| template.aliased_len(alias)) > max {
            return false;
        }
        let out = self.output.buffer();
        let head = match alias {
            None => template.write_head_to(packet_id, dup, out),
            Some(alias) => template.write_aliased_head_to(packet_id, dup, alias, out),
        };
        if head.is_ok() {
            self.output.put_payload(template.payload());
        }
        head.is_ok()
    }

    fn write_own(&mut self, encoded: &Encoded, delivery: &Delivery<'_>, form: Form, now: Timestamp) -> bool {
        let Delivery { qos, retain, identifiers } = *delivery;
        let mut publish = encoded::publish(encoded.message(), qos, retain, identifiers, now, self.version);
        (publish.packet_id, publish.dup) = (form.packet_id, form.dup);
        if let Some(alias) = form.alias {
            let properties = publish.properties.get_or_insert_default();
            properties.topic_alias = Some(alias.number());
            if matches!(alias, Alias::Known(_)) {
                publish.topic = MqttString::default();
            }
        }
        encode::publish_len(self.version, &publish) <= self.outbound.max_packet()
            && encode::encode_publish(&publish, self.version, self.output.buffer()).is_ok()
    }
}
