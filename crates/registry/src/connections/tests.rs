//! Where rule actions go.

use std::collections::BTreeMap;

use fleethaven_types::AccountId;

use super::{decode, key_of};
use crate::command::Action;
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;
use crate::{View, keys};

fn connection() -> Connection {
    Connection {
        kind: "s3".to_owned(),
        endpoint: Some("https://s3.example.com:9000".to_owned()),
        region: Some("eu-west-1".to_owned()),
        credentials: Some(ConnectionCredentials { id: "AKIA".to_owned(), secret: Secret("hush".to_owned()) }),
        roles: vec!["arn:aws:iam::123456789012:role/iot*".to_owned()],
        rules: vec!["*".to_owned()],
        options: BTreeMap::new(),
        tls: ConnectionTls::default(),
    }
}

fn put(name: &str, connection: Connection) -> Action {
    Action::PutConnection(Box::new(PutConnection { name: name.to_owned(), connection }))
}

fn list(registry: &Registry) -> Vec<ConnectionDescription> {
    match registry.ask(QueryKind::ListConnections(PageRequest::default())).unwrap() {
        QueryReply::Connections(page) => page.items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_is_put_replaced_and_deleted() {
    let mut registry = registry();
    registry.run(put("archive", connection())).unwrap();
    let first = list(&registry);
    assert_eq!((first[0].name.as_str(), &first[0].connection), ("archive", &connection()));
    registry.wait(5);
    let plain = Connection { endpoint: None, region: None, credentials: None, ..connection() };
    registry.run(put("archive", plain.clone())).unwrap();
    let second = list(&registry);
    assert_eq!((&second[0].connection, second[0].created_at), (&plain, first[0].created_at));
    registry.run(Action::DeleteConnection("archive".to_owned())).unwrap();
    assert_eq!(list(&registry), []);
    let again = registry.run(Action::DeleteConnection("archive".to_owned()));
    assert_eq!(refusal(again), (ResourceNotFoundException, 404));
}

#[test]
fn what_cannot_be_a_connection_is_refused() {
    let with = |change: fn(&mut Connection)| {
        let mut changed = connection();
        change(&mut changed);
        refusal(registry().run(put("c", changed)))
    };
    let invalid = (InvalidRequestException, 400);
    assert_eq!(with(|c| c.kind = "smoke".to_owned()), invalid);
    assert_eq!(with(|c| c.endpoint = Some("s3.example.com".to_owned())), invalid);
    assert_eq!(with(|c| c.region = Some("no region".to_owned())), invalid);
    assert_eq!(with(|c| c.roles.clear()), invalid);
    assert_eq!(with(|c| c.rules.clear()), invalid);
    assert_eq!(with(|c| c.rules = vec!["r".to_owned(); 65]), invalid);
    assert_eq!(with(|c| c.rules = vec!["r".repeat(5000)]), invalid);
    assert_eq!(with(|c| c.credentials.iter_mut().for_each(|key| key.secret.0.clear())), invalid);
    assert_eq!(with(|c| _ = c.options.insert("tenant".to_owned(), "a".to_owned())), invalid);
    assert_eq!(refusal(registry().run(put("a b", connection()))), invalid);
}

#[test]
fn what_rules_name_has_an_address_and_no_roles() {
    let redis = || Connection {
        kind: "redis".to_owned(),
        endpoint: Some("rediss://cache.example.com:6380/2".to_owned()),
        region: None,
        roles: Vec::new(),
        ..connection()
    };
    registry().run(put("cache", redis())).unwrap();
    let with = |change: fn(&mut Connection)| {
        let mut changed = redis();
        change(&mut changed);
        refusal(registry().run(put("cache", changed)))
    };
    let invalid = (InvalidRequestException, 400);
    assert_eq!(with(|c| c.endpoint = None), invalid);
    assert_eq!(with(|c| c.endpoint = Some("https://cache.example.com".to_owned())), invalid);
    assert_eq!(with(|c| c.endpoint = Some("redis://user@cache.example.com".to_owned())), invalid);
    assert_eq!(with(|c| c.roles = vec!["*".to_owned()]), invalid);
    assert_eq!(with(|c| c.rules.clear()), invalid);
    let loki = Connection {
        kind: "loki".to_owned(),
        endpoint: Some("https://loki.example.com".to_owned()),
        ..redis()
    };
    let tenant = Connection { options: [("tenant".to_owned(), "a".to_owned())].into(), ..loki };
    registry().run(put("logs", tenant)).unwrap();
    let influx = |version: &str| Connection {
        kind: "influxDB".to_owned(),
        options: [("version".to_owned(), version.to_owned())].into(),
        ..connection()
    };
    registry().run(put("series", influx("V3"))).unwrap();
    assert_eq!(refusal(registry().run(put("series", influx("V4")))), invalid);
    let nowhere = Connection { endpoint: None, ..influx("V2") };
    assert_eq!(refusal(registry().run(put("series", nowhere))), invalid);
}

#[test]
fn certificates_are_for_tls_and_may_stand_for_a_secret() {
    let identity = ConnectionIdentity { certificate: "chain".to_owned(), key: Secret("hush-key".to_owned()) };
    let with = |change: fn(&mut Connection)| {
        let tls = ConnectionTls { authorities: Some("ca".to_owned()), identity: Some(identity.clone()) };
        let mut changed = Connection { tls, ..connection() };
        change(&mut changed);
        registry().run(put("c", changed))
    };
    let mut registry_ = registry();
    let tls = ConnectionTls { authorities: None, identity: Some(identity.clone()) };
    let given = Connection { tls, ..connection() };
    registry_.run(put("c", given.clone())).unwrap();
    let listed = list(&registry_);
    assert_eq!(listed[0].connection, given);
    assert!(!format!("{listed:?}").contains("hush-key"));
    with(|c| c.credentials.iter_mut().for_each(|key| key.secret.0.clear())).unwrap();
    let invalid = (InvalidRequestException, 400);
    assert_eq!(refusal(with(|c| c.endpoint = Some("http://s3.example.com".to_owned()))), invalid);
    assert_eq!(refusal(with(|c| c.tls.authorities = Some(String::new()))), invalid);
    let long = |c: &mut Connection| c.tls.authorities = Some("x".repeat(super::MAX_PEM + 1));
    assert_eq!(refusal(with(long)), invalid);
    let by_address = |c: &mut Connection| (c.kind, c.roles) = ("http".to_owned(), Vec::new());
    with(by_address).unwrap();
    let nowhere = |c: &mut Connection| (c.kind, c.roles, c.endpoint) = ("http".to_owned(), Vec::new(), None);
    assert_eq!(refusal(with(nowhere)), invalid);
}

#[test]
fn the_watched_key_says_whose_it_is_and_nothing_prints_the_secret() {
    let mut registry = registry();
    registry.run(put("archive", connection())).unwrap();
    let account: AccountId = registry.scope.account;
    let pairs = registry.view.scan(&keys::connections_prefix(), None, 10);
    let (key, value) = &pairs[0];
    assert_eq!(key_of(key), Some((account, "archive".to_owned())));
    let (owner, described) = decode(key, value).unwrap();
    assert_eq!((owner, &described.connection), (account, &connection()));
    assert!(!format!("{described:?}").contains("hush"));
    let record: crate::record::Connection = crate::record::decode(value).unwrap();
    assert!(!format!("{record:?}").contains("hush"));
}
