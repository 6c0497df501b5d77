use fleethaven_types::QoS;
use serde_json::{Value, json};

use super::*;
use crate::command::{Action, Command, evaluate};
use crate::query::QueryKind;
use crate::requests::registry;
use crate::testing::Registry;

fn updating(thing: &str, shadow: Option<&str>, payload: &str) -> Action {
    Action::UpdateThingShadow(Box::new(UpdateThingShadow {
        thing_name: thing.to_owned(),
        shadow_name: shadow.map(str::to_owned),
        payload: payload.to_owned(),
        answer: true,
    }))
}

fn deleting(thing: &str, shadow: Option<&str>) -> Action {
    Action::DeleteThingShadow(Box::new(DeleteThingShadow {
        thing_name: thing.to_owned(),
        shadow_name: shadow.map(str::to_owned),
        client_token: Some("d".to_owned()),
    }))
}

fn told(registry: &mut Registry, action: Action) -> Result<Value, Error> {
    match registry.run(action)? {
        Reply::ThingShadow(text) => Ok(serde_json::from_str(&text).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn get(registry: &Registry, thing: &str, shadow: Option<&str>) -> Result<Value, Error> {
    let (thing_name, shadow_name) = (thing.to_owned(), shadow.map(str::to_owned));
    match registry.ask(QueryKind::GetThingShadow { thing_name, shadow_name, client_token: None })? {
        QueryReply::ThingShadow(text) => Ok(serde_json::from_str(&text).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn names(registry: &Registry, thing: &str, page: PageRequest) -> Result<Listed<String>, Error> {
    match registry.ask(QueryKind::ListNamedShadowsForThing { thing_name: thing.to_owned(), page })? {
        QueryReply::Names(names) => Ok(names),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_writes_once_and_tells_three_times() {
    let registry = registry();
    let payload = r#"{"state":{"desired":{"a":1}},"clientToken":"c"}"#;
    let command = Command::new(registry.scope, updating("t", Some("n"), payload));
    let context = Context { now: registry.now, random: [0; 32], limits: registry.limits.clone() };
    let (reply, effects) = evaluate(&registry.view, &command, &context).unwrap();
    assert_eq!(effects.writes.len(), 2, "the shadow and its name in the listing");
    let topics: Vec<_> = effects.emits.iter().map(|emit| emit.topic.as_str()).collect();
    let base = "$aws/things/t/shadow/name/n/update";
    assert_eq!(topics, [format!("{base}/accepted"), format!("{base}/delta"), format!("{base}/documents")]);
    for emit in &effects.emits {
        assert_eq!((emit.scope, emit.qos), (registry.scope, QoS::AtLeastOnce));
        let payload: Value = serde_json::from_slice(&emit.payload).unwrap();
        assert_eq!(payload["clientToken"], "c");
    }
    let accepted = String::from_utf8(effects.emits[0].payload.to_vec()).unwrap();
    assert_eq!(reply, Reply::ThingShadow(accepted));
}

#[test]
fn classic_and_named_shadows_have_lives_of_their_own() {
    let mut registry = registry();
    let set = |value: u32| format!(r#"{{"state":{{"reported":{{"v":{value}}}}}}}"#);
    assert_eq!(told(&mut registry, updating("t", None, &set(1))).unwrap()["version"], 1);
    assert_eq!(told(&mut registry, updating("t", None, &set(2))).unwrap()["version"], 2);
    assert_eq!(told(&mut registry, updating("t", Some("n"), &set(3))).unwrap()["version"], 1);
    assert_eq!(get(&registry, "t", None).unwrap()["state"], json!({"reported": {"v": 2}}));
    assert_eq!(get(&registry, "t", Some("n")).unwrap()["state"], json!({"reported": {"v": 3}}));
    let deleted = told(&mut registry, deleting("t", None)).unwrap();
    assert_eq!(deleted, json!({"version": 2, "timestamp": registry.now.as_secs(), "clientToken": "d"}));
    let gone = get(&registry, "t", None).unwrap_err();
    assert_eq!(
        (gone.code, gone.message.as_str()),
        (ErrorCode::ResourceNotFoundException, "No shadow exists with name: 't'")
    );
    assert_eq!(
        told(&mut registry, deleting("t", None)).unwrap_err().code,
        ErrorCode::ResourceNotFoundException
    );
    assert!(get(&registry, "t", Some("n")).is_ok());
    assert_eq!(told(&mut registry, updating("t", None, &set(4))).unwrap()["version"], 3);
}

#[test]
fn refusals_have_awss_names() {
    let mut registry = registry();
    for (action, code) in [
        (updating("t", None, "{"), ErrorCode::InvalidRequestException),
        (updating("t", None, r#"{"state":{},"version":5}"#), ErrorCode::ConflictException),
        (updating("t", Some("a/b"), r#"{"state":{}}"#), ErrorCode::InvalidRequestException),
        (updating("", None, r#"{"state":{}}"#), ErrorCode::InvalidRequestException),
        (
            updating("t", None, &format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, "x".repeat(8192))),
            ErrorCode::RequestEntityTooLargeException,
        ),
        (deleting("t", None), ErrorCode::ResourceNotFoundException),
    ] {
        assert_eq!(told(&mut registry, action.clone()).unwrap_err().code, code, "{action:?}");
    }
}

#[test]
fn named_shadows_are_listed_in_pages_that_changes_do_not_disturb() {
    let mut registry = registry();
    let set = r#"{"state":{}}"#;
    told(&mut registry, updating("t", None, set)).unwrap();
    told(&mut registry, updating("t2", Some("other"), set)).unwrap();
    for number in 0..250 {
        told(&mut registry, updating("t", Some(&format!("n{number:03}")), set)).unwrap();
    }
    let page = |token: Option<String>, limit| PageRequest { token, limit };
    let (mut seen, mut sizes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let listed = names(&registry, "t", page(token, Some(100))).unwrap();
        // What comes and goes on pages that were read already changes nothing.
        told(&mut registry, deleting("t", Some(&listed.items[0]))).unwrap();
        told(&mut registry, updating("t", Some(&format!("a{}", sizes.len())), set)).unwrap();
        sizes.push(listed.items.len());
        seen.extend(listed.items);
        token = listed.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(seen, (0..250).map(|number| format!("n{number:03}")).collect::<Vec<_>>());
    assert_eq!(names(&registry, "unknown", page(None, None)).unwrap(), Listed { items: vec![], next: None });
    let first = names(&registry, "t", page(None, None)).unwrap();
    assert_eq!(first.items.len(), 25);
    let bad = [
        page(first.next.clone(), Some(0)),
        page(first.next.clone(), Some(101)),
        page(Some("x".into()), None),
    ];
    for page in bad {
        assert_eq!(names(&registry, "t", page).unwrap_err().code, ErrorCode::InvalidRequestException);
    }
    assert!(names(&registry, "t2", page(first.next.clone(), None)).is_err(), "another thing's");
    registry.wait(TOKEN_SECS + 1);
    assert!(names(&registry, "t", page(first.next, None)).is_err(), "too old");
}

#[test]
fn deleted_shadows_are_forgotten_in_time() {
    let mut registry = registry();
    let set = r#"{"state":{"desired":{"a":1}}}"#;
    let kept = |registry: &Registry| {
        let entries = registry.view.entries();
        entries.keys().filter(|key| String::from_utf8_lossy(key).contains("shadow")).count()
    };
    for number in 0..6 {
        told(&mut registry, updating(&format!("t{number}"), Some("n"), set)).unwrap();
        told(&mut registry, deleting(&format!("t{number}"), Some("n"))).unwrap();
    }
    assert_eq!(kept(&registry), 12, "what is remembered, and when it was deleted");
    told(&mut registry, updating("t0", Some("n"), set)).unwrap();
    assert_eq!(kept(&registry), 12, "it is there again: with its name, without the date");
    registry.wait(49 * 3600);
    for number in 0..2 {
        told(&mut registry, updating(&format!("u{number}"), None, set)).unwrap();
        told(&mut registry, deleting(&format!("u{number}"), None)).unwrap();
    }
    assert_eq!(kept(&registry), 2 + 4, "t0, and the two that were deleted just now");
    assert_eq!(told(&mut registry, updating("t1", Some("n"), set)).unwrap()["version"], 1);
}
