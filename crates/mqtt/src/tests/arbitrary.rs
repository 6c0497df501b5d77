//! Strategies for any valid packet of either version.

use std::num::NonZeroU32;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{
    Ack, Auth, AuthProperties, Connack, ConnackProperties, Connect, ConnectProperties, Disconnect,
    DisconnectProperties, MqttString, Packet, PacketId, PacketType, PayloadFormat, Publish,
    PublishProperties, QoS, ReasonCode, ReasonProperties, RetainHandling, Role, Suback, Subscribe,
    Subscription, SubscriptionId, SubscriptionOptions, Unsuback, Unsubscribe, UserProperty, Version, Will,
    WillProperties,
};

fn text() -> impl Strategy<Value = MqttString> {
    "[a-z/$ü€\u{feff}\u{10348}]{0,12}".prop_map(MqttString::from)
}

fn filled_text() -> impl Strategy<Value = MqttString> {
    "[a-z/+#ü]{1,12}".prop_map(MqttString::from)
}

fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 100..300)].prop_map(Bytes::from)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn positive() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_map(|value| NonZeroU32::new(value).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    (1..=268_435_455_u32).prop_map(|id| SubscriptionId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|bits| QoS::from_bits(bits).unwrap())
}

fn format() -> impl Strategy<Value = PayloadFormat> {
    prop_oneof![Just(PayloadFormat::Unspecified), Just(PayloadFormat::Utf8)]
}

fn user_properties() -> impl Strategy<Value = Vec<UserProperty>> {
    vec((text(), text()).prop_map(|(name, value)| UserProperty { name, value }), 0..3)
}

fn reason(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> = ReasonCode::ALL.iter().copied().filter(|code| code.may_stand_in(packet)).collect();
    proptest::sample::select(codes)
}

/// Boxed unless it is all absent, which is how a decoder says it.
fn boxed<T: Default + PartialEq>(properties: T) -> Option<Box<T>> {
    (properties != T::default()).then(|| Box::new(properties))
}

fn reason_properties() -> impl Strategy<Value = Option<Box<ReasonProperties>>> {
    (option::of(text()), user_properties()).prop_map(|(reason_string, user_properties)| {
        boxed(ReasonProperties { reason_string, user_properties })
    })
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(packet_id()),
        option::of(positive()),
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
    );
    (numbers, user_properties(), option::of((text(), option::of(data())))).prop_map(
        |(numbers, user_properties, authentication)| ConnectProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: numbers.3,
            request_response_information: numbers.4,
            request_problem_information: numbers.5,
            user_properties,
            authentication_method: authentication.as_ref().map(|(method, _)| method.clone()),
            authentication_data: authentication.and_then(|(_, data)| data),
        },
    )
}

fn will_properties() -> impl Strategy<Value = WillProperties> {
    let numbers = (option::of(any::<u32>()), option::of(format()), option::of(any::<u32>()));
    (numbers, option::of(text()), option::of(text()), option::of(data()), user_properties()).prop_map(
        |(numbers, content_type, response_topic, correlation_data, user_properties)| WillProperties {
            will_delay_interval: numbers.0,
            payload_format_indicator: numbers.1,
            message_expiry_interval: numbers.2,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
        },
    )
}

fn will() -> impl Strategy<Value = Box<Will>> {
    (text(), data(), qos(), any::<bool>(), will_properties()).prop_map(
        |(topic, payload, qos, retain, properties)| {
            Box::new(Will { topic, payload, qos, retain, properties })
        },
    )
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let flags = (any::<bool>(), any::<u16>(), text(), option::of(will()));
    (flags, option::of(text()), option::of(data()), connect_properties()).prop_map(
        move |((clean_start, keep_alive, client_id, mut will), username, mut password, mut properties)| {
            if version == Version::V311 {
                properties = ConnectProperties::default();
                password = password.filter(|_| username.is_some());
                if let Some(will) = &mut will {
                    will.properties = WillProperties::default();
                }
            }
            Packet::Connect(Box::new(Connect {
                version,
                clean_start,
                keep_alive,
                client_id,
                will,
                username,
                password,
                properties,
            }))
        },
    )
}

fn connack_properties() -> impl Strategy<Value = ConnackProperties> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(packet_id()),
        option::of(prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)]),
        option::of(positive()),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let switches = proptest::array::uniform4(option::of(any::<bool>()));
    let texts = proptest::array::uniform5(option::of(text()));
    (numbers, switches, texts, user_properties(), option::of(data())).prop_map(
        |(numbers, switches, texts, user_properties, authentication_data)| {
            let [identifier, reason, information, reference, method] = texts;
            ConnackProperties {
                session_expiry_interval: numbers.0,
                receive_maximum: numbers.1,
                maximum_qos: numbers.2,
                retain_available: switches[0],
                maximum_packet_size: numbers.3,
                assigned_client_identifier: identifier,
                topic_alias_maximum: numbers.4,
                reason_string: reason,
                user_properties,
                wildcard_subscription_available: switches[1],
                subscription_identifiers_available: switches[2],
                shared_subscription_available: switches[3],
                server_keep_alive: numbers.5,
                response_information: information,
                server_reference: reference,
                authentication_method: method,
                authentication_data,
            }
        },
    )
}

fn connack(version: Version) -> impl Strategy<Value = Packet> {
    (any::<bool>(), reason(PacketType::Connack), connack_properties(), 0..6_u8).prop_map(
        move |(present, reason, properties, code)| {
            let (reason, properties) = match version {
                Version::V5 => (reason, properties),
                Version::V311 => {
                    (ReasonCode::from_v311_return_code(code).unwrap(), ConnackProperties::default())
                }
            };
            let session_present = present && !reason.is_error();
            Packet::Connack(Box::new(Connack { session_present, reason, properties }))
        },
    )
}

fn publish_properties() -> impl Strategy<Value = PublishProperties> {
    let numbers = (option::of(format()), option::of(any::<u32>()), option::of(packet_id()));
    let ids = vec(subscription_id(), 0..3);
    let texts = proptest::array::uniform2(option::of(text()));
    (numbers, texts, option::of(data()), user_properties(), ids).prop_map(
        |(numbers, texts, correlation_data, user_properties, subscription_ids)| {
            let [response_topic, content_type] = texts;
            PublishProperties {
                payload_format_indicator: numbers.0,
                message_expiry_interval: numbers.1,
                topic_alias: numbers.2,
                response_topic,
                correlation_data,
                user_properties,
                subscription_ids,
                content_type,
            }
        },
    )
}

pub(super) fn publish(role: Role, version: Version) -> impl Strategy<Value = Publish> {
    let flags = (any::<bool>(), qos(), any::<bool>(), packet_id());
    (flags, text(), data(), publish_properties()).prop_map(
        move |((dup, qos, retain, id), mut topic, payload, mut properties)| {
            if role == Role::Server {
                properties.subscription_ids.clear();
            }
            if version == Version::V311 {
                properties = PublishProperties::default();
            }
            if topic.is_empty() && properties.topic_alias.is_none() {
                topic = "t".into();
            }
            let acknowledged = qos > QoS::AtMostOnce;
            let packet_id = acknowledged.then_some(id);
            let dup = dup && acknowledged;
            Publish { dup, qos, retain, topic, packet_id, payload, properties: boxed(properties) }
        },
    )
}

fn ack(packet: PacketType, version: Version) -> impl Strategy<Value = Ack> {
    (packet_id(), reason(packet), reason_properties()).prop_map(move |(packet_id, reason, properties)| {
        match version {
            Version::V5 => Ack { packet_id, reason, properties },
            Version::V311 => Ack::ok(packet_id),
        }
    })
}

fn subscription(version: Version) -> impl Strategy<Value = Subscription> {
    let handling = prop_oneof![
        Just(RetainHandling::SendAtSubscribe),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (filled_text(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(filter, qos, no_local, retain_as_published, retain_handling)| {
            let options = match version {
                Version::V5 => SubscriptionOptions { qos, no_local, retain_as_published, retain_handling },
                Version::V311 => SubscriptionOptions::qos(qos),
            };
            Subscription { filter, options }
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet> {
    let filters = vec(subscription(version), 1..5);
    (packet_id(), option::of(subscription_id()), user_properties(), filters).prop_map(
        move |(packet_id, id, user, filters)| {
            let v5 = version == Version::V5;
            let (subscription_id, user_properties) = if v5 { (id, user) } else { (None, Vec::new()) };
            Packet::Subscribe(Subscribe { packet_id, subscription_id, user_properties, filters })
        },
    )
}

fn suback(version: Version) -> impl Strategy<Value = Packet> {
    (packet_id(), vec(reason(PacketType::Suback), 1..5), reason_properties()).prop_map(
        move |(packet_id, mut reason_codes, mut properties)| {
            if version == Version::V311 {
                properties = None;
                for code in &mut reason_codes {
                    *code = if code.is_error() { ReasonCode::UnspecifiedError } else { *code };
                }
            }
            Packet::Suback(Suback { packet_id, reason_codes, properties })
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Packet> {
    (packet_id(), user_properties(), vec(filled_text(), 1..5)).prop_map(move |(packet_id, user, filters)| {
        let user_properties = if version == Version::V5 { user } else { Vec::new() };
        Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })
    })
}

fn unsuback(version: Version) -> impl Strategy<Value = Packet> {
    (packet_id(), vec(reason(PacketType::Unsuback), 1..5), reason_properties()).prop_map(
        move |(packet_id, codes, properties)| {
            let v5 = version == Version::V5;
            let (reason_codes, properties) = if v5 { (codes, properties) } else { (Vec::new(), None) };
            Packet::Unsuback(Unsuback { packet_id, reason_codes, properties })
        },
    )
}

fn disconnect(role: Role, version: Version) -> impl Strategy<Value = Packet> {
    let texts = (option::of(text()), option::of(text()));
    (reason(PacketType::Disconnect), option::of(any::<u32>()), texts, user_properties()).prop_map(
        move |(reason, expiry, (reason_string, server_reference), user_properties)| {
            if version == Version::V311 {
                return Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
            }
            let session_expiry_interval = expiry.filter(|_| role == Role::Server);
            let properties = DisconnectProperties {
                session_expiry_interval,
                reason_string,
                user_properties,
                server_reference,
            };
            Packet::Disconnect(Disconnect { reason, properties: boxed(properties) })
        },
    )
}

fn auth() -> impl Strategy<Value = Packet> {
    let properties = (text(), option::of(data()), option::of(text()), user_properties()).prop_map(
        |(method, data, reason_string, user_properties)| {
            Box::new(AuthProperties { method, data, reason_string, user_properties })
        },
    );
    (reason(PacketType::Auth), properties)
        .prop_map(|(reason, properties)| Packet::Auth(Auth { reason, properties: Some(properties) }))
}

fn either_way(role: Role, version: Version) -> BoxedStrategy<Packet> {
    prop_oneof![
        publish(role, version).prop_map(Packet::Publish),
        ack(PacketType::Puback, version).prop_map(Packet::Puback),
        ack(PacketType::Pubrec, version).prop_map(Packet::Pubrec),
        ack(PacketType::Pubrel, version).prop_map(Packet::Pubrel),
        ack(PacketType::Pubcomp, version).prop_map(Packet::Pubcomp),
    ]
    .boxed()
}

fn v5_only(role: Role) -> BoxedStrategy<Packet> {
    prop_oneof![auth(), disconnect(role, Version::V5)].boxed()
}

/// Any packet but CONNECT that `role` may receive in `version`.
pub(super) fn packet(role: Role, version: Version) -> BoxedStrategy<Packet> {
    let own = match role {
        Role::Server => prop_oneof![
            subscribe(version),
            unsubscribe(version),
            disconnect(role, version),
            Just(Packet::Pingreq)
        ]
        .boxed(),
        Role::Client => {
            prop_oneof![connack(version), suback(version), unsuback(version), Just(Packet::Pingresp)].boxed()
        }
    };
    match version {
        Version::V5 => prop_oneof![2 => either_way(role, version), 2 => own, 1 => v5_only(role)].boxed(),
        Version::V311 => prop_oneof![either_way(role, version), own].boxed(),
    }
}

pub(super) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V311), Just(Version::V5)]
}

pub(super) fn end() -> impl Strategy<Value = (Role, Version)> {
    (prop_oneof![Just(Role::Server), Just(Role::Client)], version())
}

/// A CONNECT of any version.
pub(super) fn any_connect() -> impl Strategy<Value = (Version, Packet)> {
    version().prop_flat_map(|version| (Just(version), connect(version)))
}
