//! The rules SQL: a line with a statement, then the payload; JSON alone; protobuf.

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

/// Two bytes with a length, so many bytes of a descriptor set, and a message of the type `Reading` in `plant.proto`. What is decoded
/// can be written.
pub(crate) fn protobuf(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let Some((set, message)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
        return;
    };
    let Ok(descriptors) = Descriptors::read(set) else { return };
    if let Ok(value) = descriptors.decode("plant.proto", "Reading", message) {
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
