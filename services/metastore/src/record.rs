//! What is stored, as protobuf: log entries, the applied state's record, the node's own record.

use std::io;

use bytes::Bytes;
use fleethaven_registry::{Effects, Emit, Write};
use openraft::EntryPayload;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::error::damaged;
use crate::types::{Entry, LogId, Membership, Vote, log_id};

/// One key's change.
#[derive(Clone, PartialEq, Message)]
pub struct Change {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The new value; absent when the key is removed.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
}

impl From<Write> for Change {
    fn from(write: Write) -> Self {
        match write {
            Write::Put { key, value } => Self { key, value: Some(value) },
            Write::Delete { key } => Self { key, value: None },
        }
    }
}

/// A message to publish once the entry is committed.
#[derive(Clone, PartialEq, Message)]
pub struct Emitted {
    /// Topic name.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// Payload.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
    /// Account, 12 digits.
    #[prost(string, tag = "3")]
    pub account: String,
    /// Region.
    #[prost(string, tag = "4")]
    pub region: String,
    /// Quality of Service, 0 to 2.
    #[prost(uint32, tag = "5")]
    pub qos: u32,
    /// User properties: name, value, name, value …
    #[prost(string, repeated, tag = "6")]
    pub user_properties: Vec<String>,
}

impl From<Emit> for Emitted {
    fn from(emit: Emit) -> Self {
        Self {
            topic: emit.topic,
            payload: emit.payload,
            account: emit.scope.account.to_string(),
            region: emit.scope.region.to_string(),
            qos: u32::from(emit.qos as u8),
            user_properties: emit.user_properties.into_iter().flat_map(<[String; 2]>::from).collect(),
        }
    }
}

/// An entry's messages as the state holds them until they are published.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Emits {
    /// In their order.
    #[prost(message, repeated, tag = "1")]
    pub(crate) messages: Vec<Emitted>,
}

/// What Raft replicates for one command: its effects, and on which earlier proposal they were computed.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(into = "Vec<u8>", try_from = "Vec<u8>")]
pub struct Proposal {
    /// Key changes, applied together.
    #[prost(message, repeated, tag = "1")]
    pub writes: Vec<Change>,
    /// Messages to publish, in order.
    #[prost(message, repeated, tag = "2")]
    pub emits: Vec<Emitted>,
    /// Term of the leader whose evaluator made this.
    #[prost(uint64, tag = "3")]
    pub term: u64,
    /// The evaluator's number for this proposal: 1, 2, … within the term.
    #[prost(uint64, tag = "4")]
    pub sequence: u64,
    /// The proposal that must have been applied last for these effects to hold; 0 for the first of a term.
    #[prost(uint64, tag = "5")]
    pub predecessor: u64,
    /// Entries whose messages are published, by index.
    #[prost(uint64, repeated, tag = "6")]
    pub published: Vec<u64>,
}

impl Proposal {
    /// The proposal that carries `effects`.
    pub(crate) fn new(effects: Effects, term: u64, sequence: u64, predecessor: u64) -> Self {
        Self {
            writes: effects.writes.into_iter().map(Change::from).collect(),
            emits: effects.emits.into_iter().map(Emitted::from).collect(),
            term,
            sequence,
            predecessor,
            published: Vec::new(),
        }
    }
}

impl From<Proposal> for Vec<u8> {
    fn from(proposal: Proposal) -> Self {
        proposal.encode_to_vec()
    }
}

impl TryFrom<Vec<u8>> for Proposal {
    type Error = prost::DecodeError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        Self::decode(Bytes::from(bytes))
    }
}

/// A log id on disk.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        log_id(record.term, record.index)
    }
}

/// A vote on disk.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(bool, tag = "3")]
    pub(crate) committed: bool,
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        if record.committed {
            Self::new_committed(record.term, record.node)
        } else {
            Self::new(record.term, record.node)
        }
    }
}

/// A log entry on disk.
#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(message, required, tag = "1")]
    id: LogIdRecord,
    #[prost(oneof = "Content", tags = "2, 3")]
    content: Option<Content>,
}

/// What an entry holds; a blank entry holds nothing.
#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(message, tag = "2")]
    Proposal(Proposal),
    /// openraft's own membership type, as JSON.
    #[prost(bytes = "bytes", tag = "3")]
    Membership(Bytes),
}

/// Encodes a log entry.
pub(crate) fn encode_entry(entry: &Entry) -> io::Result<Vec<u8>> {
    let content = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(proposal) => Some(Content::Proposal(proposal.clone())),
        EntryPayload::Membership(membership) => {
            Some(Content::Membership(serde_json::to_vec(membership)?.into()))
        }
    };
    Ok(EntryRecord { id: entry.log_id.into(), content }.encode_to_vec())
}

/// Decodes a log entry that must stand at `index`.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let record = EntryRecord::decode(bytes).map_err(|e| damaged(&format!("log entry {index}"), e))?;
    if record.id.index != index {
        return Err(damaged(
            &format!("log entry {index}"),
            format!("it says it is entry {}", record.id.index),
        ));
    }
    let payload = match record.content {
        None => EntryPayload::Blank,
        Some(Content::Proposal(proposal)) => EntryPayload::Normal(proposal),
        Some(Content::Membership(json)) => EntryPayload::Membership(serde_json::from_slice(&json)?),
    };
    Ok(Entry { log_id: record.id.into(), payload })
}

/// How far a group's state has come: written in the same batch as the changes it covers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StateRecord {
    /// Which keyspace generation holds the state (a snapshot install starts a new one).
    #[prost(uint64, tag = "1")]
    pub(crate) generation: u64,
    /// The last entry applied.
    #[prost(message, optional, tag = "2")]
    pub(crate) applied: Option<LogIdRecord>,
    /// openraft's stored membership, as JSON; empty before the first one.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) membership: Vec<u8>,
    /// Term of the proposal applied last.
    #[prost(uint64, tag = "4")]
    pub(crate) term: u64,
    /// Evaluator sequence of the proposal applied last.
    #[prost(uint64, tag = "5")]
    pub(crate) sequence: u64,
}

/// In memory, what a [`StateRecord`] says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) generation: u64,
    pub(crate) last: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) term: u64,
    pub(crate) sequence: u64,
}

impl Applied {
    /// The revision of the state: the raft index of the last entry applied, 0 before the first.
    pub(crate) fn revision(&self) -> u64 {
        self.last.map_or(0, |id| id.index)
    }

    /// Whether a proposal's effects hold on this state; if so, it counts as the one applied last.
    pub(crate) fn admit(&mut self, proposal: &Proposal) -> bool {
        let last = if proposal.term == self.term { self.sequence } else { 0 };
        if proposal.term < self.term || proposal.predecessor != last {
            return false;
        }
        self.term = proposal.term;
        self.sequence = proposal.sequence;
        true
    }

    /// The record to store.
    pub(crate) fn to_record(&self) -> io::Result<StateRecord> {
        Ok(StateRecord {
            generation: self.generation,
            applied: self.last.map(LogIdRecord::from),
            membership: serde_json::to_vec(&self.membership)?,
            term: self.term,
            sequence: self.sequence,
        })
    }
}

impl TryFrom<StateRecord> for Applied {
    type Error = io::Error;

    fn try_from(record: StateRecord) -> io::Result<Self> {
        let membership = match record.membership.is_empty() {
            true => Membership::default(),
            false => serde_json::from_slice(&record.membership)?,
        };
        Ok(Self {
            generation: record.generation,
            last: record.applied.map(LogId::from),
            membership,
            term: record.term,
            sequence: record.sequence,
        })
    }
}

/// Who this node is; written at bootstrap, and when an older format is brought up to date.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct NodeRecord {
    /// Layout of the keyspaces and records.
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// Raft node id.
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    /// Incarnation of the cluster's data: random, new after a restore.
    #[prost(uint64, tag = "3")]
    pub(crate) incarnation: u64,
    /// How many state groups there are; 0 in format 1, which knew none.
    #[prost(uint32, tag = "4")]
    pub(crate) state_groups: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(term: u64, sequence: u64, predecessor: u64) -> Proposal {
        Proposal { term, sequence, predecessor, ..Proposal::default() }
    }

    #[test]
    fn an_entry_survives_the_disk() {
        let mut effects = Effects::default();
        effects.put("a", "1");
        effects.delete("b");
        let entry =
            Entry { log_id: log_id(3, 9), payload: EntryPayload::Normal(Proposal::new(effects, 3, 7, 6)) };
        let bytes = encode_entry(&entry).unwrap();
        assert_eq!(decode_entry(9, &bytes).unwrap(), entry);
        assert_eq!(decode_entry(8, &bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(decode_entry(9, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn an_empty_value_is_not_an_absent_one() {
        let change = Change { key: "k".into(), value: Some(Bytes::new()) };
        assert_eq!(Change::decode(change.encode_to_vec().as_slice()).unwrap(), change);
    }

    #[test]
    fn only_the_successor_of_the_last_proposal_is_admitted() {
        let mut applied = Applied::default();
        assert!(!applied.admit(&proposal(1, 2, 1)));
        assert!(applied.admit(&proposal(1, 1, 0)));
        assert!(!applied.admit(&proposal(1, 3, 2)));
        assert!(applied.admit(&proposal(1, 4, 1)));
        assert!(!applied.admit(&proposal(2, 2, 1)));
        assert!(applied.admit(&proposal(2, 1, 0)));
        assert!(!applied.admit(&proposal(1, 5, 4)));
    }
}
