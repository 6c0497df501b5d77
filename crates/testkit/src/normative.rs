//! Which test shows what of the MQTT texts: `normative/v5.txt` and `normative/v311.txt`, a line for every numbered statement
//! of MQTT 5.0 and 3.1.1, and `normative/reasons.txt`, a line for every reason code that a server may send.
//!
//! `statement | what it asks, in short | how it is shown`, the last one of
//! - tests, separated by commas: `packets` (rows of the [table of packets](crate::packets) under this statement), or
//!   `where:file::test`, with the places of [`Test::file`];
//! - `client: …`: it binds clients only, and why we have nothing to show;
//! - `not applicable: …`: and why.

use crate::packets;
use fleethaven_mqtt::Version;

/// How a statement is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// By these tests.
    By(Vec<Test>),
    /// It binds clients, or not us, for this reason.
    Not(&'static str),
}

/// A test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Rows of the table of packets.
    Packets,
    /// A test function: where, file and name.
    Function(&'static str, &'static str, &'static str),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `MQTT-3.1.0-1`, or `CONNACK 81`.
    pub statement: &'static str,
    /// What it asks.
    pub asks: &'static str,
    /// How it is shown.
    pub shown: Shown,
}

/// The statements of a version of MQTT.
///
/// # Errors
/// A line that is none.
pub fn statements(version: Version) -> Result<Vec<Line>, String> {
    lines(match version {
        Version::V311 => include_str!("../normative/v311.txt"),
        Version::V5 => include_str!("../normative/v5.txt"),
    })
}

/// The reason codes that a server may send, by packet.
///
/// # Errors
/// A line that is none.
pub fn reasons() -> Result<Vec<Line>, String> {
    lines(include_str!("../normative/reasons.txt"))
}

fn lines(table: &'static str) -> Result<Vec<Line>, String> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|text| line(text).ok_or_else(|| format!("no line of a table: {text}"))).collect()
}

fn line(text: &'static str) -> Option<Line> {
    let mut columns = text.split(" | ");
    let (statement, asks, shown) = (columns.next()?, columns.next()?, columns.next()?);
    let reason = shown.strip_prefix("client: ").or_else(|| shown.strip_prefix("not applicable: "));
    let shown = match reason {
        Some(reason) => Shown::Not(reason),
        None => Shown::By(shown.split(", ").map(test).collect::<Option<_>>()?),
    };
    columns.next().is_none().then_some(Line { statement, asks, shown })
}

fn test(text: &'static str) -> Option<Test> {
    if text == "packets" {
        return Some(Test::Packets);
    }
    let (place, rest) = text.split_once(':')?;
    let (file, name) = rest.split_once("::")?;
    Some(Test::Function(place, file, name))
}

impl Test {
    /// The file that a test function is in, relative to the repository.
    pub fn file(self) -> Option<String> {
        let Self::Function(place, file, _) = self else { return None };
        Some(match place {
            "mqtt" => format!("crates/mqtt/src/{file}.rs"),
            "session" => format!("crates/session/src/tests/{file}.rs"),
            "topics" => format!("crates/topics/src/{file}.rs"),
            "net" => format!("crates/net/src/{file}.rs"),
            "store" => format!("crates/storage/src/suite/{file}.rs"),
            "router" => format!("services/router/src/{file}.rs"),
            "live" => format!("services/fleethaven/tests/live/{file}.rs"),
            "e2e" => format!("services/fleethaven/tests/e2e/{file}.py"),
            _ => return None,
        })
    }

    /// Whether the test is there. `read` gives the contents of a file of the repository.
    pub fn exists(self, version: Version, statement: &str, read: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Packets => {
                packets::rows(version).is_ok_and(|rows| rows.iter().any(|row| row.statement == statement))
            }
            Self::Function(_, _, name) => {
                let source = self.file().and_then(|file| read(&file)).unwrap_or_default();
                source.contains(&format!("fn {name}(")) || source.contains(&format!("def {name}("))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(file: &str) -> Option<String> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::read_to_string(root.join(file)).ok()
    }

    fn missing(version: Version, lines: &[Line]) -> Vec<String> {
        let tests = lines.iter().flat_map(|line| match &line.shown {
            Shown::By(tests) => tests.iter().map(|test| (line.statement, *test)).collect::<Vec<_>>(),
            Shown::Not(_) => Vec::new(),
        });
        let missing = tests.filter(|(statement, test)| !test.exists(version, statement, read));
        missing.map(|(statement, test)| format!("{statement}: {test:?}")).collect()
    }

    #[test]
    fn every_statement_has_a_line_whose_tests_exist() {
        // As many as appendix B of each text lists.
        for (version, count) in [(Version::V5, 251), (Version::V311, 141)] {
            let lines = statements(version).unwrap();
            let statements: BTreeSet<_> = lines.iter().map(|line| line.statement).collect();
            assert_eq!((lines.len(), statements.len()), (count, count), "{version:?}");
            assert_eq!(missing(version, &lines), [""; 0], "{version:?}");
        }
    }

    #[test]
    fn every_statement_that_the_packets_break_has_a_line_that_says_so() {
        for version in [Version::V5, Version::V311] {
            // Before CONNECT nobody knows the version: some rows of 3.1.1 name statements of 5.
            let known: Vec<_> = [Version::V5, version].map(|version| statements(version).unwrap()).concat();
            for row in packets::rows(version).unwrap() {
                let line = known.iter().find(|line| line.statement == row.statement);
                let numbered = row.statement.starts_with("MQTT-");
                assert!(line.is_some() || !numbered, "line {} of {version:?}: {}", row.line, row.statement);
            }
        }
    }

    #[test]
    fn every_reason_code_of_a_servers_packet_has_a_line_whose_tests_exist() {
        use fleethaven_mqtt::PacketType::{
            Connack, Disconnect, Puback, Pubcomp, Pubrec, Pubrel, Suback, Unsuback,
        };
        let lines = reasons().unwrap();
        assert_eq!(missing(Version::V5, &lines), [""; 0]);
        let listed: BTreeSet<_> = lines.iter().map(|line| line.statement.to_owned()).collect();
        assert_eq!(listed.len(), lines.len());
        let packets = [Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect];
        let codes = packets.iter().flat_map(|packet| {
            let codes = fleethaven_mqtt::ReasonCode::ALL.iter();
            let fitting = codes.filter(|code| code.may_stand_in(*packet));
            let name = format!("{packet:?}").to_uppercase();
            fitting.map(move |code| format!("{name} {:02X}", code.value()))
        });
        // What only clients send.
        let clients = BTreeSet::from(["DISCONNECT 04".to_owned()]);
        let codes: BTreeSet<_> = codes.filter(|code| !clients.contains(code)).collect();
        assert_eq!(listed, codes);
    }
}
