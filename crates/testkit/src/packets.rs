//! The table of malformed and borderline packets: `packets/v311.txt` and `packets/v5.txt`, one row a line.
//!
//! `statement | what is wrong | state | packets | reaction`. The state says what went before ([`State`]), the packets are in
//! the notation of [`crate::notation`], and the reaction lists everything the broker sends, in order: packets as
//! [`shown`] writes them, then `close` or `open` (the connection still answers a PINGREQ).
//!
//! A row is [played](Row::play) against anything that takes bytes and gives packets: the codec and the session without any
//! I/O, or a broker behind a socket.

use fleethaven_mqtt::{Ack, Packet, Version};

use crate::notation;

/// What happened on the connection before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing: it was just opened.
    New,
    /// CONNECT of client `row`, clean, without keep-alive; CONNACK 0.
    Connected,
    /// … and a subscription to `own` at QoS 1.
    Subscribed,
    /// … and a message at QoS 1 that came back with packet id 1 and is not acknowledged.
    Delivered,
    /// A subscription to `own` at QoS 2, and a message at QoS 2 that came back with packet id 1; PUBREC is to come. The
    /// client's own side of it is complete.
    Delivered2,
    /// A message at QoS 2 to `nobody` under packet id 1; PUBREL is to come.
    Received,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    /// Line in its file.
    pub line: usize,
    /// The version of the connection.
    pub version: Version,
    /// The normative statement, or the section where the text numbers none.
    pub statement: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// What went before.
    pub state: State,
    /// What is sent.
    pub sent: Vec<u8>,
    /// What must come back.
    pub reaction: Vec<&'static str>,
}

/// The client's side of a connection to a broker.
pub trait Connection {
    /// Sends bytes.
    fn send(&mut self, bytes: &[u8]);
    /// The next packet; `None` when the broker closed the connection.
    fn next(&mut self) -> Option<Packet>;
}

/// All rows of a version.
///
/// # Errors
/// A line that is no row.
pub fn rows(version: Version) -> Result<Vec<Row>, String> {
    let table = match version {
        Version::V311 => include_str!("../packets/v311.txt"),
        Version::V5 => include_str!("../packets/v5.txt"),
    };
    let lines = table.lines().enumerate();
    let rows = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    rows.map(|(at, line)| row(version, at + 1, line).map_err(|error| format!("line {}: {error}", at + 1)))
        .collect()
}

fn row(version: Version, line: usize, text: &'static str) -> Result<Row, String> {
    let columns: Vec<_> = text.split(" | ").map(str::trim).collect();
    let [statement, what, state, sent, reaction] = columns[..] else {
        return Err(format!("{} columns", columns.len()));
    };
    let state = match state {
        "new" => State::New,
        "connected" => State::Connected,
        "subscribed" => State::Subscribed,
        "delivered" => State::Delivered,
        "delivered2" => State::Delivered2,
        "received" => State::Received,
        other => return Err(format!("unknown state {other}")),
    };
    let reaction = reaction.split(", ").collect();
    Ok(Row { line, version, statement, what, state, sent: notation::bytes(sent)?, reaction })
}

impl Row {
    /// Brings the connection into its state, sends the packets and compares the reaction.
    ///
    /// # Errors
    /// What happened instead.
    pub fn play(&self, connection: &mut impl Connection) -> Result<(), String> {
        self.prepare(connection)?;
        connection.send(&self.sent);
        for (at, expected) in self.reaction.iter().enumerate() {
            let found = match *expected {
                "open" => {
                    connection.send(&[0xC0, 0x00]);
                    (connection.next() == Some(Packet::Pingresp)).then(|| "open".to_owned())
                }
                _ => {
                    Some(connection.next().map_or("close".to_owned(), |packet| shown(&packet, self.version)))
                }
            };
            if found.as_deref() != Some(*expected) {
                return Err(format!("{self}: reaction {at} must be {expected}, is {found:?}"));
            }
        }
        Ok(())
    }

    fn prepare(&self, connection: &mut impl Connection) -> Result<(), String> {
        if self.state == State::New {
            return Ok(());
        }
        self.step(
            connection,
            "10 [\"MQTT\" 04 02 0000 \"row\"]",
            "10 [\"MQTT\" 05 02 0000 [] \"row\"]",
            &["CONNACK 00"],
        )?;
        match self.state {
            State::New | State::Connected => Ok(()),
            State::Subscribed => self.subscribe(connection, 1),
            State::Delivered => self.deliver(connection),
            State::Delivered2 => self.deliver2(connection),
            State::Received => {
                let pubrec = if self.version == Version::V5 { "PUBREC 1 10" } else { "PUBREC 1" };
                let publish = ("34 [\"nobody\" 0001 'x']", "34 [\"nobody\" 0001 [] 'x']");
                self.step(connection, publish.0, publish.1, &[pubrec])
            }
        }
    }

    fn subscribe(&self, connection: &mut impl Connection, qos: u8) -> Result<(), String> {
        let (v311, v5) = (format!("82 [0001 \"own\" 0{qos}]"), format!("82 [0001 [] \"own\" 0{qos}]"));
        self.step(connection, &v311, &v5, &[&format!("SUBACK 1 0{qos}")])
    }

    fn deliver2(&self, connection: &mut impl Connection) -> Result<(), String> {
        self.subscribe(connection, 2)?;
        let publish = ("34 [\"own\" 0009 'x']", "34 [\"own\" 0009 [] 'x']");
        let v5 = self.version == Version::V5;
        let (pubrec, pubcomp) = if v5 { ("PUBREC 9 00", "PUBCOMP 9 00") } else { ("PUBREC 9", "PUBCOMP 9") };
        self.step(connection, publish.0, publish.1, &[pubrec, "PUBLISH own 1"])?;
        self.step(connection, "62 [0009]", "62 [0009]", &[pubcomp])
    }

    fn deliver(&self, connection: &mut impl Connection) -> Result<(), String> {
        self.subscribe(connection, 1)?;
        let puback = if self.version == Version::V5 { "PUBACK 1 00" } else { "PUBACK 1" };
        let publish = ("32 [\"own\" 0001 'x']", "32 [\"own\" 0001 [] 'x']");
        self.step(connection, publish.0, publish.1, &[puback, "PUBLISH own 1"])
    }

    /// Sends the form of this row's version; the answers may come in any order.
    fn step(
        &self,
        connection: &mut impl Connection,
        v311: &str,
        v5: &str,
        answers: &[&str],
    ) -> Result<(), String> {
        let sent = if self.version == Version::V5 { v5 } else { v311 };
        connection.send(&notation::bytes(sent)?);
        let mut found = Vec::new();
        for _ in answers {
            let packet = connection.next().ok_or_else(|| format!("{self}: closed after {sent}"))?;
            found.push(shown(&packet, self.version));
        }
        let mut expected: Vec<_> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        found.sort();
        expected.sort();
        if found == expected { Ok(()) } else { Err(format!("{self}: {sent} was answered with {found:?}")) }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} line {} ({}, {})", self.version, self.line, self.statement, self.what)
    }
}

/// A packet of the broker as the table writes it: its name, its packet id, its reason codes in hexadecimal.
pub fn shown(packet: &Packet, version: Version) -> String {
    let v5 = version == Version::V5;
    let ack = |name: &str, ack: &Ack| match v5 {
        true => format!("{name} {} {:02x}", ack.packet_id, ack.reason.value()),
        false => format!("{name} {}", ack.packet_id),
    };
    let codes = |codes: &[fleethaven_mqtt::ReasonCode]| -> String {
        codes.iter().map(|code| format!(" {:02x}", code.value())).collect()
    };
    match packet {
        Packet::Connack(connack) => {
            let code = if v5 { Some(connack.reason.value()) } else { connack.reason.v311_return_code() };
            format!("CONNACK {:02x}", code.unwrap_or(u8::MAX))
        }
        Packet::Publish(publish) => {
            let id = publish.packet_id.map_or(0, std::num::NonZero::get);
            format!("PUBLISH {} {id}", publish.topic.as_str())
        }
        Packet::Puback(puback) => ack("PUBACK", puback),
        Packet::Pubrec(pubrec) => ack("PUBREC", pubrec),
        Packet::Pubrel(pubrel) => ack("PUBREL", pubrel),
        Packet::Pubcomp(pubcomp) => ack("PUBCOMP", pubcomp),
        Packet::Suback(suback) => format!("SUBACK {}{}", suback.packet_id, codes(&suback.reason_codes)),
        Packet::Unsuback(unsuback) => {
            format!("UNSUBACK {}{}", unsuback.packet_id, codes(&unsuback.reason_codes))
        }
        Packet::Disconnect(disconnect) => format!("DISCONNECT {:02x}", disconnect.reason.value()),
        Packet::Pingresp => "PINGRESP".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_can_be_read_and_are_long() {
        let count = |version| rows(version).unwrap_or_else(|error| panic!("{version:?} {error}")).len();
        let (v311, v5) = (count(Version::V311), count(Version::V5));
        assert!(v311 + v5 >= 200, "{v311} + {v5} rows");
    }

    #[test]
    fn every_row_ends_with_the_state_of_the_connection() {
        for row in [Version::V311, Version::V5].into_iter().flat_map(|version| rows(version).unwrap()) {
            assert!(matches!(row.reaction.last(), Some(&"close" | &"open")), "{row}");
        }
    }
}
