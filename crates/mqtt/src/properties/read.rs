//! Reads a block of properties: its length, then each property once, as the packet allows.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::{PayloadFormat, PropertyId, UserProperty};
use crate::reader::Reader;
use crate::rule::{self, Rule};
use crate::{DecodeError, MqttString, SubscriptionId};

/// A packet's set of properties, filled one property at a time.
pub(crate) trait ReadProperties: Default {
    /// Reads the value of `id` into its place, or refuses it.
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError>;
}

/// What is left of a property block.
#[derive(Debug)]
pub(crate) struct PropertyReader(Reader);

impl Reader {
    /// A property block; all absent when its length is 0.
    pub(crate) fn properties<P: ReadProperties>(&mut self) -> Result<P, DecodeError> {
        let len = self.varint()?;
        let mut block = PropertyReader(self.part(len as usize)?);
        let mut properties = P::default();
        while let Some(id) = block.next_id()? {
            properties.take(id, &mut block)?;
        }
        Ok(properties)
    }

    /// A property block; `None`, and no allocation, when its length is 0.
    pub(crate) fn optional_properties<P: ReadProperties>(&mut self) -> Result<Option<Box<P>>, DecodeError> {
        if self.starts_with_zero() {
            self.u8()?;
            return Ok(None);
        }
        self.properties().map(|properties| Some(Box::new(properties)))
    }
}

impl PropertyReader {
    fn next_id(&mut self) -> Result<Option<PropertyId>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let value = self.0.varint()?;
        match PropertyId::from_value(value) {
            Some(id) => Ok(Some(id)),
            None => Err(self.broken(&rule::UNKNOWN_PROPERTY, value)),
        }
    }

    fn broken(&self, rule: &Rule, value: impl Into<u32>) -> DecodeError {
        self.0.broken(rule, value)
    }

    /// The error for a property this packet does not hold.
    pub(crate) fn foreign(&self, id: PropertyId) -> DecodeError {
        self.broken(&rule::FOREIGN_PROPERTY, id as u32)
    }

    fn once<T>(&self, id: PropertyId, slot: &Option<T>) -> Result<(), DecodeError> {
        if slot.is_some() { Err(self.broken(&rule::REPEATED_PROPERTY, id as u32)) } else { Ok(()) }
    }

    pub(crate) fn u16(&mut self, id: PropertyId, slot: &mut Option<u16>) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        *slot = Some(self.0.u16()?);
        Ok(())
    }

    pub(crate) fn u32(&mut self, id: PropertyId, slot: &mut Option<u32>) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        *slot = Some(self.0.u32()?);
        Ok(())
    }

    /// A two byte integer for which 0 breaks `rule`.
    pub(crate) fn positive_u16(
        &mut self,
        id: PropertyId,
        slot: &mut Option<NonZeroU16>,
        rule: &Rule,
    ) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        let value = self.0.u16()?;
        *slot = Some(NonZeroU16::new(value).ok_or_else(|| self.broken(rule, value))?);
        Ok(())
    }

    /// A four byte integer for which 0 breaks `rule`.
    pub(crate) fn positive_u32(
        &mut self,
        id: PropertyId,
        slot: &mut Option<NonZeroU32>,
        rule: &Rule,
    ) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        let value = self.0.u32()?;
        *slot = Some(NonZeroU32::new(value).ok_or_else(|| self.broken(rule, value))?);
        Ok(())
    }

    /// A byte that is 0 or 1, else `rule` is broken.
    pub(crate) fn bit(
        &mut self,
        id: PropertyId,
        slot: &mut Option<bool>,
        rule: &Rule,
    ) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        let value = self.0.u8()?;
        if value > 1 {
            return Err(self.broken(rule, value));
        }
        *slot = Some(value == 1);
        Ok(())
    }

    pub(crate) fn boolean(&mut self, id: PropertyId, slot: &mut Option<bool>) -> Result<(), DecodeError> {
        self.bit(id, slot, &rule::NOT_BOOLEAN)
    }

    pub(crate) fn payload_format(&mut self, slot: &mut Option<PayloadFormat>) -> Result<(), DecodeError> {
        let mut utf8 = slot.map(|format| format == PayloadFormat::Utf8);
        self.boolean(PropertyId::PayloadFormatIndicator, &mut utf8)?;
        *slot = utf8.map(|utf8| if utf8 { PayloadFormat::Utf8 } else { PayloadFormat::Unspecified });
        Ok(())
    }

    pub(crate) fn string(
        &mut self,
        id: PropertyId,
        slot: &mut Option<MqttString>,
    ) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        *slot = Some(self.0.string()?);
        Ok(())
    }

    /// A Response Topic, which holds no wildcard.
    pub(crate) fn response_topic(&mut self, slot: &mut Option<MqttString>) -> Result<(), DecodeError> {
        self.string(PropertyId::ResponseTopic, slot)?;
        match slot.as_ref().and_then(|topic| topic.find(['+', '#'])) {
            Some(at) => {
                Err(self.broken(&rule::RESPONSE_TOPIC_WILDCARD, u32::try_from(at).unwrap_or(u32::MAX)))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn binary(&mut self, id: PropertyId, slot: &mut Option<Bytes>) -> Result<(), DecodeError> {
        self.once(id, slot)?;
        *slot = Some(self.0.binary()?);
        Ok(())
    }

    /// A user property, of which there may be any number.
    pub(crate) fn user_property(&mut self, list: &mut Vec<UserProperty>) -> Result<(), DecodeError> {
        let name = self.0.string()?;
        let value = self.0.string()?;
        list.push(UserProperty { name, value });
        Ok(())
    }

    /// A Subscription Identifier; whether it may repeat is the packet's question.
    pub(crate) fn subscription_id(&mut self) -> Result<SubscriptionId, DecodeError> {
        let value = self.0.varint()?;
        SubscriptionId::new(value).ok_or_else(|| self.broken(&rule::SUBSCRIPTION_ID_ZERO, value))
    }

    /// [`Self::subscription_id`] where only one may stand.
    pub(crate) fn one_subscription_id(
        &mut self,
        slot: &mut Option<SubscriptionId>,
    ) -> Result<(), DecodeError> {
        self.once(PropertyId::SubscriptionIdentifier, slot)?;
        *slot = Some(self.subscription_id()?);
        Ok(())
    }
}
