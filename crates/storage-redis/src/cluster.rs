//! Redis Cluster: which node has which slots.
//!
//! A partition is one slot, so it moves from one node to another as a whole. While it does (MIGRATING), its calls are answered
//! with ASK, as the key that they name is never there, and wait until the move is over: no script runs on half of a partition.

use redis::Value;

use crate::connection::{Failure, accepted};
use crate::options::Options;
use crate::{address, reply};

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// Nodes, and the one of each slot.
pub(crate) struct SlotMap {
    nodes: Vec<(String, u16)>,
    /// First and last slot with the node's index.
    ranges: Vec<(u16, u16, usize)>,
}

impl SlotMap {
    /// Asks the nodes of `options`, and those that were known last, until one answers.
    pub(crate) fn ask(options: &Options, seeds: &[String], known: &[(String, u16)]) -> Result<Self, Failure> {
        let mut failure = Failure::Never("a cluster needs the address of a node".to_owned());
        let seed = seeds.iter().map(|seed| address::seed(options, seed));
        let known = known.iter().map(|node| address::node(options, seeds, node));
        for client in seed.chain(known) {
            let asked = client.and_then(|client| {
                let host = address::host(&client);
                let mut connection = client.get_connection_with_timeout(options.connect_timeout)?;
                connection.set_read_timeout(Some(options.answer_timeout))?;
                let slots = redis::cmd("CLUSTER").arg("SLOTS").query::<Value>(&mut connection)?;
                Self::read(accepted(slots)?, &host)
            });
            match asked {
                Ok(map) => return Ok(map),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Reads the answer to CLUSTER SLOTS of the node at `host`, which may leave out its own name.
    fn read(answer: Value, host: &str) -> Result<Self, Failure> {
        let mut map = Self { nodes: Vec::new(), ranges: Vec::new() };
        let unreadable = |error: fleethaven_storage::Error| Failure::Broken(error.to_string());
        for range in reply::array(answer).map_err(unreadable)? {
            map.add(range, host).map_err(unreadable)?;
        }
        Ok(map)
    }

    fn add(&mut self, range: Value, host: &str) -> Result<(), fleethaven_storage::Error> {
        let mut range = reply::array(range)?;
        let mut slot = || {
            let number = reply::number(reply::next(&mut range)?)?;
            let slot = u16::try_from(number).ok().filter(|slot| *slot < SLOTS);
            slot.ok_or_else(|| reply::malformed("no slot"))
        };
        let (first, last) = (slot()?, slot()?);
        let mut primary = reply::array(reply::next(&mut range)?)?;
        let name = match reply::next(&mut primary)? {
            Value::Nil => String::new(),
            name => reply::text(name)?,
        };
        let port = reply::number(reply::next(&mut primary)?)?;
        let port = u16::try_from(port).map_err(|_| reply::malformed("no port"))?;
        let node = (if name.is_empty() { host.to_owned() } else { name }, port);
        let known = self.nodes.iter().position(|known| *known == node);
        let index = known.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        self.ranges.push((first, last, index));
        Ok(())
    }

    /// All nodes that have slots.
    pub(crate) fn nodes(&self) -> &[(String, u16)] {
        &self.nodes
    }

    /// The node of the slot of `key`.
    pub(crate) fn node_of(&self, key: &str) -> Result<usize, Failure> {
        let slot = slot_of(key);
        let range = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        range.map(|(.., node)| *node).ok_or_else(|| Failure::Broken(format!("no node has slot {slot}")))
    }
}

/// The slot of a key: that of its hash tag, if it has one.
fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the cluster's specification says.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("fleethaven:{17}:rules"), slot_of("17"));
        // As the documentation of CLUSTER KEYSLOT has them.
        assert_eq!((slot_of("somekey"), slot_of("foo{hash_tag}")), (11058, 2515));
        assert_eq!(slot_of("foo{}bar"), crc16(b"foo{}bar") % SLOTS, "an empty tag is none");
    }

    #[test]
    fn a_node_that_leaves_out_its_name_is_the_one_that_was_asked() {
        let node = |name: &str, port| {
            let name = if name.is_empty() { Value::Nil } else { Value::BulkString(name.into()) };
            Value::Array(vec![name, Value::Int(port), Value::BulkString("id".into())])
        };
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let answer = vec![range(0, 8000, node("", 7001)), range(8001, 16383, node("other", 7002))];
        let map = SlotMap::read(Value::Array(answer), "asked").ok().unwrap();
        assert_eq!(map.nodes(), [("asked".to_owned(), 7001), ("other".to_owned(), 7002)]);
        assert_eq!(map.node_of("somekey").ok(), Some(1));
        assert!(SlotMap::read(Value::Array(vec![Value::Int(1)]), "asked").is_err());
        let half = Value::Array(vec![range(0, 8000, node("a", 1))]);
        assert!(SlotMap::read(half, "asked").ok().unwrap().node_of("somekey").is_err());
    }
}
