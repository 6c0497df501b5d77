//! The rules SQL: a line with a statement, then the payload; JSON alone; protobuf.

use std::sync::LazyLock;

use bytes::Bytes;
use fleethaven_rulesql::protobuf::Descriptors;
use fleethaven_rulesql::{Input, NoExternal, Outcome, Payload, SqlVersion, Statement, Template, json};

use crate::lines;

const VERSIONS: [SqlVersion; 3] = [SqlVersion::V2015_10_08, SqlVersion::V2016_03_23, SqlVersion::Beta];

pub(crate) fn statement(data: &[u8]) {
    let lines = lines(data, 2);
    let Ok(sql) = std::str::from_utf8(lines[0]) else { return };
    let payload = Payload::new(Bytes::copy_from_slice(lines.get(1).copied().unwrap_or_default()));
    let input = input();
    for version in VERSIONS {
        if let Ok(statement) = Statement::parse(sql, version) {
            let topic = statement.matches(input.topic);
            assert!(topic || statement.topic_filter().is_some(), "no filter matches everything");
            if let Outcome::Fired(fired) = statement.evaluate(&input, &payload, &mut NoExternal) {
                assert!(fired.output.into_bytes().len() <= json::MAX_TEXT + 1024);
            }
        }
        let _ = Template::parse(sql, version);
    }
}

/// What was read is written, and read again as the same. A number out of range is undefined, which has no text.
pub(crate) fn json_text(data: &[u8]) {
    let Some(value) = json::read(data).filter(|value| !value.is_undefined()) else { return };
    let Ok(text) = json::write(&value, false) else { return };
    let again = json::read(text.as_bytes()).unwrap_or_else(|| panic!("cannot be read again: {text}"));
    assert_eq!(json::write(&again, false).ok(), Some(text));
}

/// A descriptor set with fields of every kind.
const DESCRIPTORS: &[u8] = include_bytes!("plant.desc");

/// A message of the type `Reading` in `plant.proto`: what is decoded can be written. (Descriptor sets are the operator's.)
pub(crate) fn protobuf(data: &[u8]) {
    static READ: LazyLock<Descriptors> = LazyLock::new(|| Descriptors::read(DESCRIPTORS).unwrap());
    if let Ok(value) = READ.decode("plant.proto", "Reading", data) {
        json::write(&value, true).unwrap();
    }
}

fn input<'a>() -> Input<'a> {
    Input {
        topic: "a/b/c",
        client_id: Some("client"),
        principal: None,
        source_ip: Some("192.0.2.1"),
        trace_id: None,
        account_id: "123456789012",
        rule_name: "rule",
        now_ms: 1_700_000_000_123,
        properties: None,
        random: &|| [7; 16],
    }
}
