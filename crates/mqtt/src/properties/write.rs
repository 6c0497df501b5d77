//! Writes a block of properties: its length, then those that are present, in the order of the specification.

use bytes::BytesMut;

use super::{PayloadFormat, PropertyId, UserProperty};
use crate::sink::{Measure, Sink};
use crate::{MqttString, SubscriptionId};

/// A packet's set of properties.
pub(crate) trait WriteProperties {
    /// Writes the present ones, without the length.
    fn write<S: PropertySink>(&self, sink: &mut S);
}

/// Writes `properties` after their length.
pub(crate) fn write_block<P: WriteProperties, S: PropertySink>(properties: &P, sink: &mut S) {
    let mut measure = Measure::default();
    properties.write(&mut measure);
    sink.varint(measure.len());
    properties.write(sink);
}

/// [`write_block`], or the length 0.
pub(crate) fn write_optional_block<P: WriteProperties, S: PropertySink>(
    properties: Option<&P>,
    sink: &mut S,
) {
    match properties {
        Some(properties) => write_block(properties, sink),
        None => sink.varint(0),
    }
}

/// Takes properties; absent ones write nothing.
pub(crate) trait PropertySink: Sink {
    fn id(&mut self, id: PropertyId) {
        self.u8(id as u8);
    }

    fn u8_property(&mut self, id: PropertyId, value: Option<u8>) {
        if let Some(value) = value {
            self.id(id);
            self.u8(value);
        }
    }

    fn bool_property(&mut self, id: PropertyId, value: Option<bool>) {
        self.u8_property(id, value.map(u8::from));
    }

    fn payload_format(&mut self, value: Option<PayloadFormat>) {
        self.u8_property(PropertyId::PayloadFormatIndicator, value.map(|format| format as u8));
    }

    fn u16_property(&mut self, id: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            self.id(id);
            self.u16(value);
        }
    }

    fn u32_property(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.id(id);
            self.u32(value);
        }
    }

    fn string_property(&mut self, id: PropertyId, value: Option<&MqttString>) {
        if let Some(value) = value {
            self.id(id);
            self.string(value);
        }
    }

    fn binary_property(&mut self, id: PropertyId, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.id(id);
            self.binary(value);
        }
    }

    fn subscription_id(&mut self, value: SubscriptionId) {
        self.id(PropertyId::SubscriptionIdentifier);
        self.varint(value.get() as usize);
    }

    fn user_properties(&mut self, list: &[UserProperty]) {
        for property in list {
            self.id(PropertyId::UserProperty);
            self.string(&property.name);
            self.string(&property.value);
        }
    }
}

impl PropertySink for BytesMut {}
impl PropertySink for Measure {}
