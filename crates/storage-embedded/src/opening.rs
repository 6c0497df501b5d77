//! Rebuilding the tables in memory from disk. One pass over each keyspace; queue entries are not decoded beyond their
//! header, so a million of them take a second or two.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::Slice;
use fleethaven_storage::Fence;

use crate::bodies::Bodies;
use crate::departed::Departed;
use crate::disk::{Disk, meta};
use crate::engine::Engine;
use crate::fences::Fences;
use crate::groups::{Group, Groups};
use crate::queue::Slot;
use crate::recent::Recent;
use crate::record::{
    self, DepartedRow, EntryHeader, GroupRow, SessionRow, SubscriptionRow, decode, decode_rule, encode_rule,
};
use crate::retained::Retained;
use crate::rules::{self, Rules};
use crate::sessions::{Client, Numbered, Session, Sessions};
use crate::space::{Batch, Space};
use crate::wills::{Waiting, Wills};
use crate::witness::Witness;
use crate::write_behind::{Change, Record, WriteBehind};
use crate::{Error, Options, Stats, keys, reading};

/// Reads keyspaces and tells errors with their place.
struct Reader {
    path: PathBuf,
}

impl Reader {
    /// Calls `each` with every key and value in order.
    fn scan(
        &self,
        keyspace: &Space,
        name: &'static str,
        mut each: impl FnMut(&[u8], &Slice) -> Result<(), record::Error>,
    ) -> Result<(), Error> {
        for pair in keyspace.iter() {
            let (key, value) = pair.map_err(|source| self.database(source))?;
            each(&key, &value).map_err(|error| self.damaged(name, &error))?;
        }
        Ok(())
    }

    fn number(&self, keyspace: &Space, key: &str) -> Result<u64, Error> {
        let value = keyspace.get(key).map_err(|source| self.database(source))?;
        Ok(value.and_then(|value| keys::split_number(&value)).unwrap_or(0))
    }

    fn database(&self, source: fjall::Error) -> Error {
        Error::Database { path: self.path.clone(), source }
    }

    fn damaged(&self, keyspace: &'static str, error: &record::Error) -> Error {
        Error::Damaged { path: self.path.clone(), keyspace, reason: error.to_string() }
    }
}

/// The note of what was durable, if the database, whose last durable commit is number `last`, has all of it.
fn witness(dir: &Path, last: u64) -> Result<Witness, Error> {
    let (witness, noted) = Witness::open(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    match last < noted {
        true => Err(Error::Missing {
            path: dir.to_owned(),
            first: last + 1,
            last: noted,
            note: Witness::path(dir),
        }),
        false => Ok(witness),
    }
}

const KEY: record::Error = record::Error::Field("key");

impl Engine {
    /// The engine of what is on disk, with the rules queue filled.
    pub(crate) fn open(
        dir: &Path,
        disk: Disk,
        options: Options,
        stats: Arc<Stats>,
        (retained, rules): (Arc<Retained>, Arc<Rules>),
    ) -> Result<Self, Error> {
        let reader = Reader { path: dir.to_owned() };
        let reserved = reader.number(&disk.meta, meta::SESSION_IDS)?;
        let last_durable = reader.number(&disk.meta, meta::DURABLE)?;
        let witness = witness(dir, last_durable)?;
        let mut engine = Self {
            batch: Batch::of(&disk.database),
            behind: WriteBehind::default(),
            durable: false,
            last_durable,
            witness,
            now: (options.clock)(),
            sessions: Sessions::default(),
            groups: Groups::default(),
            wills: Wills::default(),
            fences: Fences::default(),
            bodies: Bodies::default(),
            recent: Recent::new(options.queue_cache_bytes),
            marks: Vec::new(),
            retained,
            rules,
            staged: Vec::new(),
            last_rule: 0,
            dead_letters: std::collections::VecDeque::new(),
            last_session: reserved,
            reserved_sessions: reserved,
            disk,
            options,
            stats,
        };
        engine.read_sessions(&reader)?;
        engine.read_departed(&reader)?;
        engine.read_groups(&reader)?;
        engine.read_queues(&reader)?;
        engine.read_received(&reader)?;
        engine.read_wills(&reader)?;
        engine.read_fences(&reader)?;
        engine.read_retained_index(&reader)?;
        engine.read_rules(&reader)?;
        Ok(engine)
    }

    fn read_sessions(&mut self, reader: &Reader) -> Result<(), Error> {
        let sessions = &mut self.sessions;
        reader.scan(&self.disk.sessions, "sessions", |key, value| {
            let (scope, id) = keys::split_scoped(key).ok_or(KEY)?;
            sessions.insert(Session::from_row(id, scope, decode::<SessionRow>(value)?)?);
            Ok(())
        })?;
        reader.scan(&self.disk.subscriptions, "subscriptions", |key, value| {
            let (id, number) = keys::split_of_session(key).ok_or(KEY)?;
            let subscription: fleethaven_storage::Subscription =
                decode::<SubscriptionRow>(value)?.try_into()?;
            let session = sessions.get_mut(id).ok_or(KEY)?;
            session.subscriptions.insert(subscription.filter.clone(), Numbered { number, subscription });
            Ok(())
        })
    }

    fn read_departed(&mut self, reader: &Reader) -> Result<(), Error> {
        let mut found = Vec::new();
        reader.scan(&self.disk.departed, "departed", |key, value| {
            let (scope, session) = keys::split_scoped(key).ok_or(KEY)?;
            let (id, departed) = Departed::from_row(session, decode::<DepartedRow>(value)?)?;
            found.push((Client { scope, id }, departed));
            Ok(())
        })?;
        // As they went: those that went first are forgotten first.
        found.sort_by_key(|(_, departed)| departed.at);
        for (client, departed) in found {
            let behind = &mut self.behind;
            let forget = |client, session| behind.note(&client, Record::Departed(session), Change::Remove);
            self.sessions.departures.remember(&client, departed, forget);
        }
        Ok(())
    }

    fn read_groups(&mut self, reader: &Reader) -> Result<(), Error> {
        let groups = &mut self.groups;
        reader.scan(&self.disk.groups, "groups", |key, value| {
            let (scope, id) = keys::split_scoped(key).ok_or(KEY)?;
            groups.insert(Group::from_row(id, scope, decode::<GroupRow>(value)?)?);
            Ok(())
        })
    }

    fn read_queues(&mut self, reader: &Reader) -> Result<(), Error> {
        let (sessions, groups, bodies) = (&mut self.sessions, &mut self.groups, &mut self.bodies);
        reader.scan(&self.disk.queues, "queues", |key, value| {
            let (id, entry) = keys::split_of_session(key).ok_or(KEY)?;
            if entry == 0 {
                let session = sessions.get_mut(id).ok_or(KEY)?;
                session.queue.raise_tail(keys::split_number(value).ok_or(KEY)?);
                return Ok(());
            }
            let EntryHeader { cost, body, group } = EntryHeader::read(value)?;
            if let Some(body) = EntryHeader::shared(body) {
                bodies.retain(body);
            }
            let slot = Slot { entry, body, cost, group, gone: false, cached: None };
            match sessions.get_mut(id) {
                Some(session) => session.queue.push(slot),
                None => groups.get_mut(id).ok_or(KEY)?.queue.insert(slot),
            }
            Ok(())
        })
    }

    fn read_received(&mut self, reader: &Reader) -> Result<(), Error> {
        let sessions = &mut self.sessions;
        reader.scan(&self.disk.received, "received", |key, _| {
            let (id, packet_id) = keys::split_of_session(key).ok_or(KEY)?;
            let packet_id = u16::try_from(packet_id).ok().and_then(NonZeroU16::new).ok_or(KEY)?;
            sessions.get_mut(id).ok_or(KEY)?.received.insert(packet_id);
            Ok(())
        })
    }

    fn read_wills(&mut self, reader: &Reader) -> Result<(), Error> {
        let wills = &mut self.wills;
        reader.scan(&self.disk.wills, "wills", |key, value| {
            let number = keys::split_number(key).ok_or(KEY)?;
            wills.insert(number, Waiting::read(number, decode(value)?)?);
            Ok(())
        })
    }

    fn read_fences(&mut self, reader: &Reader) -> Result<(), Error> {
        let fences = &mut self.fences;
        reader.scan(&self.disk.fences, "fences", |key, value| {
            let slot = keys::split_number(key).and_then(|slot| u16::try_from(slot).ok()).ok_or(KEY)?;
            let epoch = keys::split_number(value).ok_or(record::Error::Field("epoch"))?;
            fences.raise(Fence { slot, epoch }).map_err(|_| KEY)
        })
    }

    fn read_retained_index(&self, reader: &Reader) -> Result<(), Error> {
        reader.scan(&self.disk.retained, "retained", |key, value| {
            let (scope, number) = keys::split_scoped(key).ok_or(KEY)?;
            self.retained.found(scope, number, &*reading::message(value)?);
            Ok(())
        })
    }

    /// Entries that the last process had claimed count as delivered once more. Their new counts and the cleared claim
    /// mark are the first writes of the first batch.
    fn read_rules(&mut self, reader: &Reader) -> Result<(), Error> {
        let claimed = reader.number(&self.disk.meta, meta::RULES_CLAIMED)?;
        let mut last = reader.number(&self.disk.meta, meta::RULES_TAIL)?.max(claimed);
        let (batch, staged, rules) = (&mut self.batch, &mut self.staged, &self.disk.rules);
        reader.scan(rules, "rules", |key, value| {
            let id = keys::split_number(key).ok_or(KEY)?;
            if id <= claimed {
                let (row, deliveries) = decode_rule(value)?;
                batch.insert(rules, keys::number(id), encode_rule(&row, deliveries.saturating_add(1)));
            }
            staged.push(rules::Waiting { id, durable: true, content: None });
            last = last.max(id);
            Ok(())
        })?;
        let dead_letters = &mut self.dead_letters;
        reader.scan(&self.disk.dead_letters, "dead-letters", |key, _| {
            dead_letters.push_back(keys::split_number(key).ok_or(KEY)?);
            Ok(())
        })?;
        last = last.max(self.dead_letters.back().copied().unwrap_or(0));
        self.last_rule = last;
        self.batch.insert(&self.disk.meta, meta::RULES_TAIL, keys::number(last));
        self.batch.insert(&self.disk.meta, meta::RULES_CLAIMED, keys::number(0));
        Ok(())
    }
}
