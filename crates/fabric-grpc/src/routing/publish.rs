//! Packed publishes (`PublishFrame.records`) and the answers to them (`AnswerFrame.records`).

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use fleethaven_lanes::frame::{Outcome, Publication, Reply};
use fleethaven_storage::{Error as StoreError, Once, OwnerToken, SessionId};
use fleethaven_topics::Slot;

use super::message;
use super::pack::{Error, Reader, Room, put_blob, put_varint};

const ACKNOWLEDGE: u8 = 1;
const FROM: u8 = 1 << 1;
const RECEIVED: u8 = 1 << 2;
const WILL: u8 = 1 << 3;

/// Writes the publishes of one stream.
#[derive(Debug, Default)]
pub struct Encoder(message::Encoder);

/// Reads the publishes of one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    messages: message::Decoder,
    room: Room,
}

impl Encoder {
    /// Appends one publish to a frame.
    pub fn put(&mut self, out: &mut Vec<u8>, publication: &Publication) {
        let Publication { slot, epoch, run, stamp, skipped, acknowledge, message, from, once } = publication;
        put_varint(out, u64::from(slot.index()));
        for number in [*epoch, u64::from(*run), *stamp, *skipped] {
            put_varint(out, number);
        }
        let once_flag = match once {
            None => 0,
            Some(Once::Received { .. }) => RECEIVED,
            Some(Once::Will(_)) => WILL,
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(flag(*acknowledge, ACKNOWLEDGE) | flag(from.is_some(), FROM) | once_flag);
        if let Some(session) = from {
            put_varint(out, session.0);
        }
        match once {
            None => {}
            Some(Once::Received { session, token, packet_id }) => {
                for number in [session.0, token.incarnation, token.counter, u64::from(packet_id.get())] {
                    put_varint(out, number);
                }
            }
            Some(Once::Will(session)) => put_varint(out, session.0),
        }
        self.0.put(out, message);
    }
}

impl Decoder {
    /// Reads a frame.
    pub fn read(&mut self, records: Bytes) -> Result<Vec<Publication>, Error> {
        let (mut reader, mut publications) = (Reader(records), self.room.list());
        while !reader.is_empty() {
            publications.push(self.publication(&mut reader)?);
        }
        self.room.filled(&publications);
        Ok(publications)
    }

    fn publication(&mut self, reader: &mut Reader) -> Result<Publication, Error> {
        let slot = slot(reader)?;
        let (epoch, run) = (reader.varint()?, reader.number("run")?);
        let (stamp, skipped) = (reader.varint()?, reader.varint()?);
        let flags = reader.byte()?;
        let from = (flags & FROM != 0).then(|| reader.varint().map(SessionId)).transpose()?;
        let once = match flags & !(ACKNOWLEDGE | FROM) {
            0 => None,
            RECEIVED => Some(received(reader)?),
            WILL => Some(Once::Will(SessionId(reader.varint()?))),
            _ => return Err(Error::Value("publish flags")),
        };
        let message = Arc::new(self.messages.get(reader)?);
        let acknowledge = flags & ACKNOWLEDGE != 0;
        Ok(Publication { slot, epoch, run, stamp, skipped, acknowledge, message, from, once })
    }
}

fn slot(reader: &mut Reader) -> Result<Slot, Error> {
    Slot::new(reader.number("slot")?).ok_or(Error::Value("slot"))
}

fn received(reader: &mut Reader) -> Result<Once, Error> {
    let session = SessionId(reader.varint()?);
    let token = OwnerToken { incarnation: reader.varint()?, counter: reader.varint()? };
    let packet_id = NonZeroU16::new(reader.number("packet identifier")?);
    Ok(Once::Received { session, token, packet_id: packet_id.ok_or(Error::Value("packet identifier"))? })
}

const MATCHED: u8 = 0;
const UNMATCHED: u8 = 1;
const TAKEN: u8 = 2;
const NOT_OWNER: u8 = 3;
const NO_SESSION: u8 = 4;
const ALREADY_DONE: u8 = 5;
const UNAVAILABLE: u8 = 6;

/// Appends an answer to a frame; `false` for replies that are messages of their own.
pub fn put_answer(out: &mut Vec<u8>, reply: &Reply) -> bool {
    let (slot, stamp, result) = match reply {
        Reply::Taken { slot, stamp } => (slot, stamp, TAKEN),
        Reply::Answered { slot, stamp, outcome } => (slot, stamp, result_of(outcome)),
        _ => return false,
    };
    put_varint(out, u64::from(slot.index()));
    put_varint(out, *stamp);
    out.put_u8(result);
    match reply {
        Reply::Answered { outcome: Outcome::Failed(StoreError::Unavailable(why)), .. } => {
            put_blob(out, why.as_bytes());
        }
        Reply::Answered { outcome: Outcome::Failed(error @ StoreError::Fenced), .. } => {
            put_blob(out, error.to_string().as_bytes());
        }
        _ => {}
    }
    true
}

fn result_of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Durable { matched: true } => MATCHED,
        Outcome::Durable { matched: false } => UNMATCHED,
        Outcome::Failed(StoreError::NotOwner) => NOT_OWNER,
        Outcome::Failed(StoreError::NoSession) => NO_SESSION,
        Outcome::Failed(StoreError::AlreadyDone) => ALREADY_DONE,
        // A fenced one is refused with its slot's lane.
        Outcome::Failed(StoreError::Unavailable(_) | StoreError::Fenced) => UNAVAILABLE,
    }
}

/// Reads a frame of answers.
pub fn read_answers(records: Bytes) -> Result<Vec<Reply>, Error> {
    let (mut reader, mut replies) = (Reader(records), Vec::new());
    while !reader.is_empty() {
        let (slot, stamp) = (slot(&mut reader)?, reader.varint()?);
        let outcome = match reader.byte()? {
            TAKEN => {
                replies.push(Reply::Taken { slot, stamp });
                continue;
            }
            MATCHED => Outcome::Durable { matched: true },
            UNMATCHED => Outcome::Durable { matched: false },
            NOT_OWNER => Outcome::Failed(StoreError::NotOwner),
            NO_SESSION => Outcome::Failed(StoreError::NoSession),
            ALREADY_DONE => Outcome::Failed(StoreError::AlreadyDone),
            UNAVAILABLE => Outcome::Failed(StoreError::Unavailable(reader.text()?.to_string())),
            _ => return Err(Error::Value("result")),
        };
        replies.push(Reply::Answered { slot, stamp, outcome });
    }
    Ok(replies)
}
