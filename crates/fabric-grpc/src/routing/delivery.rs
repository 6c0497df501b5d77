//! Packed deliveries (`DeliveryFrame.records`): each message once, however many of the core's connections get it; lists of
//! receivers by number once they are known.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use fleethaven_fabric::delivery::{Address, Origin, Push, Target};
use fleethaven_fabric::routing::{QueuePosition, SharedDelivery};
use fleethaven_storage::{EntryId, GroupId, Held, SessionId, Share};
use fleethaven_types::Message;
use rustc_hash::FxHashMap;

use super::known::{Bounds, Known, Numbered};
use super::message::{self, qos};
use super::pack::{Error, Reader, Room, put_varint};

const MESSAGE: u8 = 0;
const DIRECT: u8 = 1;
const TAIL: u8 = 2;
const QUEUED: u8 = 3;
const SHARED: u8 = 4;

const DEFINES: u8 = 1;
const FROM: u8 = 1 << 1;

const RETAIN: u8 = 1 << 2;
const SHARE: u8 = 1 << 3;
const HELD: u8 = 1 << 3;

const HELD_BY_GROUP: u8 = 1;
const HELD_BY_MEMBER: u8 = 2;

const LISTS: Bounds = Bounds { count: 1 << 12, weight: 1 << 16 };

/// Writes the deliveries of one stream.
#[derive(Debug)]
pub struct Encoder {
    messages: message::Encoder,
    lists: Numbered<[Target]>,
    /// Messages of the frame that is being written, by address.
    positions: FxHashMap<usize, u32>,
    /// Pushes of the frame that is being written: a message is known by its address.
    written: Vec<Push>,
    room: Room,
}

/// Reads the deliveries of one stream.
#[derive(Debug)]
pub struct Decoder {
    messages: message::Decoder,
    lists: Known<Arc<[Target]>>,
    core: u16,
    room: Room,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            messages: message::Encoder::default(),
            lists: Numbered::new(LISTS),
            positions: FxHashMap::default(),
            written: Vec::new(),
            room: Room::default(),
        }
    }
}

impl Encoder {
    /// Takes pushes from the front and writes them into a frame, as many as begin before it has `bytes`.
    pub fn frame(&mut self, pushes: &mut VecDeque<Push>, bytes: usize) -> Bytes {
        let mut out = self.room.list();
        while out.len() < bytes
            && let Some(push) = pushes.pop_front()
        {
            self.put(&mut out, &push);
            self.written.push(push);
        }
        self.positions.clear();
        self.written.clear();
        self.room.filled(&out);
        out.into()
    }

    fn put(&mut self, out: &mut Vec<u8>, push: &Push) {
        match push {
            Push::Direct { message, targets, from } => {
                let message = self.message(out, message);
                let (list, defines) = self.lists.number(targets, targets.len());
                out.put_u8(DIRECT);
                put_varint(out, u64::from(message));
                put_varint(out, u64::from(list));
                let flag = |set: bool, flag: u8| if set { flag } else { 0 };
                out.put_u8(flag(defines, DEFINES) | flag(from.is_some(), FROM));
                if defines {
                    put_varint(out, targets.len() as u64);
                    targets.iter().for_each(|target| put_target(out, target));
                }
                if let Some(session) = from {
                    put_varint(out, session.0);
                }
            }
            Push::Tail { address, session, tail } => {
                out.put_u8(TAIL);
                put_address(out, *address);
                put_varint(out, session.0);
                put_varint(out, tail.0);
            }
            Push::Queued { message, address, session, qos, retain, identifiers, share, position } => {
                let message = self.message(out, message);
                out.put_u8(QUEUED);
                put_varint(out, u64::from(message));
                put_address(out, *address);
                put_varint(out, session.0);
                let share_flag = if share.is_some() { SHARE } else { 0 };
                out.put_u8(*qos as u8 | if *retain { RETAIN } else { 0 } | share_flag);
                put_identifiers(out, identifiers);
                if let Some(share) = share {
                    put_share(out, share);
                }
                put_varint(out, position.entry.0);
                put_varint(out, position.previous.0);
            }
            Push::Shared { message, address, session, qos, retain, identifiers, share, held } => {
                let message = self.message(out, message);
                out.put_u8(SHARED);
                put_varint(out, u64::from(message));
                put_address(out, *address);
                put_varint(out, session.0);
                let held_flag = if held.is_some() { HELD } else { 0 };
                out.put_u8(*qos as u8 | if *retain { RETAIN } else { 0 } | held_flag);
                put_identifiers(out, identifiers);
                put_share(out, share);
                if let Some(entry) = held {
                    put_varint(out, entry.0);
                }
            }
        }
    }

    /// The message's position in the frame; written at its first use.
    fn message(&mut self, out: &mut Vec<u8>, message: &Arc<Message>) -> u32 {
        let address = Arc::as_ptr(message) as usize;
        if let Some(position) = self.positions.get(&address) {
            return *position;
        }
        let position = self.positions.len() as u32;
        self.positions.insert(address, position);
        out.put_u8(MESSAGE);
        self.messages.put(out, message);
        position
    }
}

impl Decoder {
    /// Of a lane of this core of the gateway.
    pub fn new(core: u16) -> Self {
        let (messages, lists) = (message::Decoder::default(), Known::new(LISTS, "list of receivers"));
        Self { messages, lists, core, room: Room::default() }
    }

    /// Reads a frame.
    pub fn read(&mut self, records: Bytes) -> Result<Vec<Push>, Error> {
        let mut reader = Reader(records);
        let (mut messages, mut pushes) = (self.room.list(), self.room.list());
        while !reader.is_empty() {
            match reader.byte()? {
                MESSAGE => messages.push(Arc::new(self.messages.get(&mut reader)?)),
                kind => pushes.push(self.push(kind, &messages, &mut reader)?),
            }
        }
        self.room.filled(&pushes);
        Ok(pushes)
    }

    fn push(&mut self, kind: u8, messages: &[Arc<Message>], reader: &mut Reader) -> Result<Push, Error> {
        let message = |reader: &mut Reader| {
            let position: usize = reader.number("message")?;
            messages.get(position).cloned().ok_or(Error::Value("message"))
        };
        match kind {
            DIRECT => {
                let message = message(reader)?;
                let list = reader.number("list of receivers")?;
                let flags = flags(reader, DEFINES | FROM)?;
                if flags & DEFINES != 0 {
                    let targets = reader.list(|reader| target(reader, self.core))?;
                    self.lists.define(list, targets.into())?;
                }
                let from = (flags & FROM != 0).then(|| reader.varint().map(SessionId)).transpose()?;
                Ok(Push::Direct { message, targets: self.lists.get(list)?, from })
            }
            TAIL => {
                let (address, session) = (address(reader, self.core)?, SessionId(reader.varint()?));
                Ok(Push::Tail { address, session, tail: EntryId(reader.varint()?) })
            }
            QUEUED => {
                let message = message(reader)?;
                let (address, session) = (address(reader, self.core)?, SessionId(reader.varint()?));
                let flags = flags(reader, 0b11 | RETAIN | SHARE)?;
                let (qos, retain) = (qos(flags)?, flags & RETAIN != 0);
                let identifiers = identifiers(reader)?;
                let share = (flags & SHARE != 0).then(|| share(reader)).transpose()?;
                let (entry, previous) = (EntryId(reader.varint()?), EntryId(reader.varint()?));
                let position = QueuePosition { entry, previous };
                Ok(Push::Queued { message, address, session, qos, retain, identifiers, share, position })
            }
            SHARED => {
                let message = message(reader)?;
                let (address, session) = (address(reader, self.core)?, SessionId(reader.varint()?));
                let flags = flags(reader, 0b11 | RETAIN | HELD)?;
                let (qos, retain) = (qos(flags)?, flags & RETAIN != 0);
                let identifiers = identifiers(reader)?;
                let share = share(reader)?;
                let held = (flags & HELD != 0).then(|| reader.varint().map(EntryId)).transpose()?;
                Ok(Push::Shared { message, address, session, qos, retain, identifiers, share, held })
            }
            _ => Err(Error::Value("kind of record")),
        }
    }
}

/// Shares that a member gives back, packed (`Return.shares`). A frame of its own: nothing in it is known from before.
pub fn pack_shares(shares: &[SharedDelivery]) -> Bytes {
    let (mut messages, mut out) = (message::Encoder::default(), Vec::new());
    for SharedDelivery { message, share, held } in shares {
        messages.put(&mut out, message);
        put_share(&mut out, share);
        match held {
            None => out.put_u8(0),
            Some(Held::Group(entry)) => {
                out.put_u8(HELD_BY_GROUP);
                put_varint(&mut out, entry.0);
            }
            Some(Held::Member(session, entry)) => {
                out.put_u8(HELD_BY_MEMBER);
                put_varint(&mut out, session.0);
                put_varint(&mut out, entry.0);
            }
        }
    }
    out.into()
}

/// Reads such a frame.
pub fn read_shares(records: Bytes) -> Result<Vec<SharedDelivery>, Error> {
    let (mut reader, mut messages) = (Reader(records), message::Decoder::default());
    let mut shares = Vec::new();
    while !reader.is_empty() {
        let message = Arc::new(messages.get(&mut reader)?);
        let share = share(&mut reader)?;
        let held = match reader.byte()? {
            0 => None,
            HELD_BY_GROUP => Some(Held::Group(EntryId(reader.varint()?))),
            HELD_BY_MEMBER => Some(Held::Member(SessionId(reader.varint()?), EntryId(reader.varint()?))),
            _ => return Err(Error::Value("holder of a share")),
        };
        shares.push(SharedDelivery { message, share, held });
    }
    Ok(shares)
}

fn flags(reader: &mut Reader, known: u8) -> Result<u8, Error> {
    let flags = reader.byte()?;
    if flags & !known == 0 { Ok(flags) } else { Err(Error::Value("flags")) }
}

/// The core is the lane's.
fn put_address(out: &mut Vec<u8>, address: Address) {
    put_varint(out, u64::from(address.slot()));
    put_varint(out, u64::from(address.generation()));
}

fn address(reader: &mut Reader, core: u16) -> Result<Address, Error> {
    Ok(Address::new(core, reader.number("slot")?, reader.number("generation")?))
}

fn put_identifiers(out: &mut Vec<u8>, identifiers: &[u32]) {
    put_varint(out, identifiers.len() as u64);
    identifiers.iter().for_each(|identifier| put_varint(out, u64::from(*identifier)));
}

fn identifiers(reader: &mut Reader) -> Result<Vec<u32>, Error> {
    reader.list(|reader| reader.number("Subscription Identifier"))
}

const RETAIN_AS_PUBLISHED: u8 = 1 << 2;
const OTHERS: u8 = 1 << 3;
const OWN: u8 = 1 << 4;

fn put_target(out: &mut Vec<u8>, target: &Target) {
    let Target { address, session, qos, retain_as_published, origin, identifiers } = target;
    put_address(out, *address);
    put_varint(out, session.0);
    let origin = match origin {
        Origin::Any => 0,
        Origin::Others => OTHERS,
        Origin::Own => OWN,
    };
    out.put_u8(*qos as u8 | if *retain_as_published { RETAIN_AS_PUBLISHED } else { 0 } | origin);
    put_identifiers(out, identifiers);
}

fn target(reader: &mut Reader, core: u16) -> Result<Target, Error> {
    let (address, session) = (address(reader, core)?, SessionId(reader.varint()?));
    let flags = reader.byte()?;
    let origin = match flags & !(0b11 | RETAIN_AS_PUBLISHED) {
        0 => Origin::Any,
        OTHERS => Origin::Others,
        OWN => Origin::Own,
        _ => return Err(Error::Value("origin")),
    };
    Ok(Target {
        address,
        session,
        qos: qos(flags)?,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        origin,
        identifiers: identifiers(reader)?.into(),
    })
}

fn put_share(out: &mut Vec<u8>, share: &Share) {
    put_varint(out, share.group.0);
    let refused = share.refused.as_deref().unwrap_or_default();
    put_varint(out, refused.len() as u64);
    refused.iter().for_each(|session| put_varint(out, session.0));
}

fn share(reader: &mut Reader) -> Result<Share, Error> {
    let group = GroupId(reader.varint()?);
    let refused = reader.list(|reader| reader.varint().map(SessionId))?;
    Ok(Share { group, refused: (!refused.is_empty()).then(|| refused.into()) })
}
