//! Topic aliases from the broker, on the wire.

use std::num::NonZeroU16;

use crate::support::{Broker, Client, clean, persistent};
use fleethaven_mqtt::{Connect, Publish, QoS, Version};
use tempfile::TempDir;

fn takes(aliases: u16, connect: Connect) -> Connect {
    let mut connect = connect;
    connect.properties.topic_alias_maximum = Some(aliases);
    connect
}

fn named(publish: &Publish) -> (String, Option<u16>) {
    let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
    (publish.topic.to_string(), alias.map(NonZeroU16::get))
}

fn next(client: &mut Client) -> (String, Option<u16>) {
    let publish = client.receive_publish();
    if publish.qos == QoS::AtLeastOnce {
        client.acknowledge(&publish);
    }
    named(&publish)
}

#[test]
fn a_client_that_takes_aliases_gets_them_and_no_other_client_does() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut aliased = broker.connect(takes(1, clean(Version::V5, "aliased")));
    let mut plain = broker.connect(clean(Version::V5, "plain"));
    let mut old = broker.connect(clean(Version::V311, "old"));
    for client in [&mut aliased, &mut plain, &mut old] {
        client.subscribe("plant/#", QoS::AtLeastOnce);
    }
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for topic in ["plant/a", "plant/b", "plant/a"] {
        publisher.publish(topic, "x");
    }
    let expected = [("plant/a", Some(1)), ("plant/b", None), ("", Some(1))];
    for (topic, alias) in expected {
        assert_eq!(next(&mut aliased), (topic.to_owned(), alias));
    }
    for client in [&mut plain, &mut old] {
        for topic in ["plant/a", "plant/b", "plant/a"] {
            assert_eq!(next(client), (topic.to_owned(), None));
        }
    }
}

#[test]
fn a_resumed_session_is_told_the_topic_again() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let connect = || takes(10, persistent(Version::V5, "away"));
    let mut away = broker.connect(connect());
    away.subscribe("plant/#", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    (0..2).for_each(|_| publisher.publish("plant/a", "x"));
    assert_eq!(next(&mut away), ("plant/a".to_owned(), Some(1)));
    let unacknowledged = away.receive_publish();
    assert_eq!(named(&unacknowledged), (String::new(), Some(1)));
    away.ping();
    drop(away);
    publisher.publish("plant/a", "y");
    let mut away = broker.connect(connect());
    let again = away.receive_publish();
    assert!(again.dup);
    assert_eq!((named(&again), again.packet_id), (("plant/a".to_owned(), Some(1)), unacknowledged.packet_id));
    away.acknowledge(&again);
    assert_eq!(next(&mut away), (String::new(), Some(1)));
    assert_eq!(away.ping(), []);
}
