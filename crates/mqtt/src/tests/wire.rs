//! What is written is read back as it was, whatever the packet.

use std::num::NonZeroU16;

use bytes::BytesMut;
use proptest::prelude::*;

use super::arbitrary::{any_connect, end, packet, publish, version};
use super::{decoder, written};
use crate::{
    Alias, DecodeLimits, Decoder, MqttString, Packet, Publish, Role, Template, Version, encoded_len,
    publish_len,
};

proptest! {
    #[test]
    fn every_packet_survives_the_wire(
        ((role, version), packet) in end().prop_flat_map(|end| (Just(end), packet(end.0, end.1)))
    ) {
        let bytes = written(&packet, version);
        prop_assert_eq!(bytes.len(), encoded_len(&packet, version));
        let read = super::read(role, version, &bytes);
        prop_assert_eq!(read.as_ref(), Ok(&packet));
    }

    #[test]
    fn every_connect_survives_the_wire_and_sets_the_version((version, packet) in any_connect()) {
        let mut decoder = Decoder::new(DecodeLimits::default());
        let mut src = written(&packet, version).into();
        prop_assert_eq!(decoder.decode(&mut src), Ok(Some(packet)));
        prop_assert_eq!(decoder.version(), Some(version));
    }

    #[test]
    fn a_template_writes_what_encode_writes(
        (version, publish) in version().prop_flat_map(|v| (Just(v), publish(Role::Client, v)))
    ) {
        let template = Template::new(&publish, version).unwrap();
        let whole = written(&Packet::Publish(publish.clone()), version);
        prop_assert_eq!(template.encoded_len(), whole.len());
        prop_assert_eq!(publish_len(version, &publish), whole.len());
        let mut out = BytesMut::new();
        template.write_to(publish.packet_id, publish.dup, &mut out).unwrap();
        prop_assert_eq!(&out, &whole);
        let head = template.head(publish.packet_id, publish.dup).unwrap();
        prop_assert_eq!([head, template.payload().clone()].concat(), whole);
    }

    #[test]
    fn an_aliased_template_is_read_as_the_same_message_with_the_alias(
        original in publish(Role::Client, Version::V5),
        number in 1..=u16::MAX,
        known in any::<bool>(),
    ) {
        let number = NonZeroU16::new(number).unwrap();
        let mut properties = original.properties.clone().unwrap_or_default();
        properties.topic_alias = None;
        let topic = if original.topic.is_empty() { "t".into() } else { original.topic.clone() };
        let publish = Publish { topic, properties: Some(properties.clone()), ..original };
        let template = Template::new(&publish, Version::V5).unwrap();
        let alias = if known { Alias::Known(number) } else { Alias::Defined(number) };
        let mut out = BytesMut::new();
        template.write_aliased_head_to(publish.packet_id, publish.dup, alias, &mut out).unwrap();
        out.extend_from_slice(template.payload());
        prop_assert_eq!(out.len(), template.aliased_len(alias));
        properties.topic_alias = Some(number);
        let topic = if known { MqttString::default() } else { publish.topic.clone() };
        let expected = Publish { topic, properties: Some(properties), ..publish };
        prop_assert_eq!(super::read(Role::Client, Version::V5, &out), Ok(Packet::Publish(expected)));
    }

    #[test]
    fn topic_and_payload_are_slices_of_the_input(publish in publish(Role::Server, Version::V5)) {
        let mut src: BytesMut = written(&Packet::Publish(publish), Version::V5).into();
        let input = src.as_ptr_range();
        let read = decoder(Role::Server, Version::V5).decode(&mut src).unwrap();
        let Some(Packet::Publish(read)) = read else { panic!("no PUBLISH") };
        prop_assert!(read.topic.is_empty() || input.contains(&read.topic.as_ptr()));
        prop_assert!(read.payload.is_empty() || input.contains(&read.payload.as_ptr()));
    }
}
