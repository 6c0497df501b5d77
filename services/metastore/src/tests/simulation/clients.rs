//! Clients that write and read cells through any node, and what the broker got of what the metastore published.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use fleethaven_fabric::Publish;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed, Metadata};
use fleethaven_registry::shapes::{AttributePayload, UpdateThing, UpdateThingShadow};
use fleethaven_registry::{
    Action, Command, ErrorCode, IdempotencyKey, Placement, Query, QueryKind, QueryReply, Reply,
};
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::Value;

use super::Mistake;
use super::history::{Event, History, Op, Told};
use crate::Metastore;
use crate::tests::fixture::{command, create_with, scope};

/// Operations on a cell, and operations of unknown outcome, after which another cell takes its place: what it costs to find that
/// a history is not linearizable grows exponentially with both.
const OPERATIONS: usize = 12;
const UNKNOWN: usize = 2;
/// Cells of each kind that are used at a time.
const CELLS: usize = 2;

/// How a client's question ended.
pub(super) enum Ended {
    /// Answered, and with which revision of which group, where the command was carried out at that revision.
    Told(Told, Option<u64>),
    /// Certainly without effect.
    Denied,
    Unknown,
    /// Answered with what nobody asked for.
    Wrong(String),
}

/// An operation on its way; unknown when it is dropped.
pub(super) struct Asking {
    client: u64,
    ended: Arc<Mutex<Vec<(u64, Ended)>>>,
}

impl Asking {
    fn ends(&mut self, ended: Ended) {
        self.ended.lock().push((self.client, ended));
        self.client = 0;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.client != 0 {
            self.ends(Ended::Unknown);
        }
    }
}

/// Clients, their cells, and what came of it all.
pub(super) struct Clients {
    /// Which of them wait, for what operation on what cell.
    busy: BTreeMap<u64, (usize, Op)>,
    cells: Vec<History>,
    /// What was last known of a cell's version.
    versions: BTreeMap<usize, u64>,
    next: u64,
    ended: Arc<Mutex<Vec<(u64, Ended)>>>,
    state_groups: NonZeroU32,
    mistake: Option<Mistake>,
    /// Groups, and revisions at which a command was carried out there.
    pub(super) revisions: BTreeSet<(u32, u64)>,
    /// Shadows that were set, to these versions: the broker must hear of each.
    pub(super) set: BTreeSet<(String, u64)>,
    pub(super) acknowledged: usize,
}

impl Clients {
    pub(super) fn new(state_groups: NonZeroU32, mistake: Option<Mistake>) -> Self {
        Self {
            busy: BTreeMap::new(),
            cells: Vec::new(),
            versions: BTreeMap::new(),
            next: 1,
            ended: Arc::default(),
            state_groups,
            mistake,
            revisions: BTreeSet::new(),
            set: BTreeSet::new(),
            acknowledged: 0,
        }
    }

    fn add_cell(&mut self, is_shadow: bool) {
        let kind = if is_shadow { "shadow" } else { "thing" };
        self.cells.push(History::new(format!("{kind}{}", self.cells.len()), is_shadow));
    }

    pub(super) fn waiting(&self) -> usize {
        self.busy.len()
    }

    pub(super) fn asked(&self) -> u64 {
        self.next - 1
    }

    /// The next question of a client: to be asked of whatever node.
    pub(super) fn asks(
        &mut self,
        chance: &mut SmallRng,
    ) -> impl FnOnce(Arc<Metastore>) -> BoxFuture<'static, ()> + use<> {
        let is_shadow = chance.random_bool(0.5);
        while self.open(is_shadow).len() < CELLS {
            self.add_cell(is_shadow);
        }
        let open: Vec<usize> = self.open(is_shadow);
        let cell = open.get(chance.random_range(0..CELLS)).copied().unwrap_or_default();
        let client = self.next;
        self.next += 1;
        let known = self.versions.get(&cell).copied();
        let history = &mut self.cells[cell];
        let op = match chance.random_range(0..100) {
            _ if history.asked == 0 && !is_shadow => Op::Create(client),
            0..40 => Op::Read,
            40..60 if known.is_some() => Op::Set { value: client, expected: known },
            _ => Op::Set { value: client, expected: None },
        };
        history.asked += 1;
        history.events.push(Event::Asks(client, op));
        self.busy.insert(client, (cell, op));
        let is_keyed = chance.random_bool(0.5);
        let (name, mistake) = (history.name.clone(), self.mistake);
        let mut asking = Asking { client, ended: self.ended.clone() };
        move |node| {
            Box::pin(async move {
                let ended = ask(&node, (&name, is_shadow), op, is_keyed, mistake).await;
                asking.ends(ended);
            })
        }
    }

    /// The cells of a kind that are in use.
    fn open(&self, is_shadow: bool) -> Vec<usize> {
        let of_kind = |(number, cell): (usize, &History)| (cell.is_shadow == is_shadow).then_some(number);
        let open = self.cells.iter().enumerate().filter(|(_, cell)| !is_worn(cell));
        open.filter_map(of_kind).collect()
    }

    /// Notes what has ended since; digests of it are for `note`.
    pub(super) fn settle(&mut self, mut note: impl FnMut(u64, u64)) -> Result<(), String> {
        let ended = std::mem::take(&mut *self.ended.lock());
        for (client, ended) in ended {
            let Some((cell, op)) = self.busy.remove(&client) else { continue };
            let history = &mut self.cells[cell];
            let name = history.name.clone();
            match ended {
                Ended::Told(told, revision) => {
                    history.events.push(Event::IsTold(client, told));
                    match told {
                        Told::State(version, _) => drop(self.versions.insert(cell, version)),
                        Told::Done(Some(version)) if history.is_shadow => {
                            self.versions.insert(cell, version);
                            self.set.insert((name, version));
                        }
                        _ => {}
                    }
                    if matches!(told, Told::Done(_)) && op != Op::Read {
                        self.acknowledged += 1;
                        let placement = match history.is_shadow {
                            true => Placement::thing(scope().account, &history.name),
                            false => Placement::Control,
                        };
                        let group = placement.group(self.state_groups);
                        self.revisions.extend(revision.map(|revision| (group, revision)));
                    }
                    note(client, 1);
                }
                Ended::Denied => {
                    history.events.push(Event::IsDenied(client));
                    note(client, 2);
                }
                Ended::Unknown => {
                    history.unknown += usize::from(op != Op::Read);
                    note(client, 3);
                }
                Ended::Wrong(what) => return Err(format!("{op:?} of {name} was answered with {what}")),
            }
        }
        Ok(())
    }

    /// Whether what was told is true of cells that do one thing after another.
    pub(super) fn check(&self) -> Result<(), String> {
        self.cells.iter().try_for_each(History::check)
    }
}

fn is_worn(cell: &History) -> bool {
    cell.asked >= OPERATIONS || cell.unknown >= UNKNOWN
}

async fn ask(
    node: &Metastore,
    (name, is_shadow): (&str, bool),
    op: Op,
    is_keyed: bool,
    mistake: Option<Mistake>,
) -> Ended {
    let key = |op: Command| match is_keyed {
        true => Command { key: Some(IdempotencyKey::of(&[name, &format!("{:?}", op.action)])), ..op },
        false => op,
    };
    match op {
        Op::Read => {
            let query = if is_shadow { shadow_of(name) } else { thing_of(name) };
            let answer = match mistake {
                Some(Mistake::ReadWithoutQuorum) => node.query_local(query),
                _ => node.query(query).await,
            };
            read(answer)
        }
        Op::Create(value) => {
            done(node.execute(key(create_with(name, attributes(value)))).await, is_keyed, mistake)
        }
        Op::Set { value, expected } => {
            let command =
                if is_shadow { set_shadow(name, value, expected) } else { set_thing(name, value, expected) };
            done(node.execute(key(command)).await, is_keyed, mistake)
        }
    }
}

fn attributes(value: u64) -> BTreeMap<String, String> {
    BTreeMap::from([("n".to_owned(), value.to_string())])
}

fn set_thing(name: &str, value: u64, expected: Option<u64>) -> Command {
    let args = UpdateThing {
        thing_name: name.into(),
        attribute_payload: Some(AttributePayload { attributes: attributes(value), merge: true }),
        expected_version: expected,
        ..UpdateThing::default()
    };
    command(Action::UpdateThing(Box::new(args)))
}

fn set_shadow(name: &str, value: u64, expected: Option<u64>) -> Command {
    let mut payload = serde_json::json!({ "state": { "reported": { "n": value } } });
    if let Some(version) = expected {
        payload["version"] = version.into();
    }
    let args = UpdateThingShadow {
        thing_name: name.into(),
        shadow_name: None,
        payload: payload.to_string(),
        answer: true,
    };
    command(Action::UpdateThingShadow(Box::new(args)))
}

fn thing_of(name: &str) -> Query {
    Query::new(scope(), QueryKind::DescribeThing(name.into()))
}

fn shadow_of(name: &str) -> Query {
    let (thing_name, shadow_name, client_token) = (name.to_owned(), None, None);
    Query::new(scope(), QueryKind::GetThingShadow { thing_name, shadow_name, client_token })
}

fn read(answer: Result<QueryReply, Error>) -> Ended {
    match answer {
        Ok(QueryReply::Thing(thing)) => match thing.attributes.get("n").and_then(|n| n.parse().ok()) {
            Some(value) => Ended::Told(Told::State(thing.version, value), None),
            None => Ended::Wrong(format!("{thing:?}")),
        },
        Ok(QueryReply::ThingShadow(document)) => {
            let found = serde_json::from_str::<Value>(&document).ok().and_then(|document| {
                Some((document["version"].as_u64()?, document["state"]["reported"]["n"].as_u64()?))
            });
            match found {
                Some((version, value)) => Ended::Told(Told::State(version, value), None),
                None => Ended::Wrong(document),
            }
        }
        Ok(other) => Ended::Wrong(format!("{other:?}")),
        Err(error) => failed(error),
    }
}

fn done(answer: Result<Executed, Error>, is_keyed: bool, mistake: Option<Mistake>) -> Ended {
    match answer {
        Ok(Executed { reply, revision }) => {
            let version = match &reply {
                Reply::ThingShadow(accepted) => serde_json::from_str::<Value>(accepted)
                    .ok()
                    .and_then(|accepted| accepted["version"].as_u64()),
                _ => None,
            };
            // What is told of a command that was carried out before is a later revision.
            Ended::Told(Told::Done(version), (!is_keyed && revision > 0).then_some(revision))
        }
        Err(Error::Unknown) if mistake == Some(Mistake::AnsweredBeforeCommit) => {
            Ended::Told(Told::Done(None), None)
        }
        Err(error) => failed(error),
    }
}

fn failed(error: Error) -> Ended {
    match error {
        Error::Unavailable(_) => Ended::Denied,
        Error::Unknown => Ended::Unknown,
        Error::Refused(refusal) => match refusal.code {
            ErrorCode::ResourceNotFoundException => Ended::Told(Told::Missing, None),
            ErrorCode::ResourceAlreadyExistsException => Ended::Told(Told::Exists, None),
            ErrorCode::VersionConflictException | ErrorCode::ConflictException => {
                Ended::Told(Told::Conflict, None)
            }
            _ => Ended::Wrong(refusal.to_string()),
        },
    }
}

/// The broker that the metastore publishes through.
#[derive(Default)]
pub(super) struct Broker {
    /// Shadows and their versions whose acceptance was published.
    accepted: Mutex<BTreeSet<(String, u64)>>,
    /// What was published first of each shadow must come in the order of its versions.
    disorder: Mutex<Option<String>>,
    mistake: Option<Mistake>,
}

impl Publish for Broker {
    fn publish(
        &self,
        message: Arc<fleethaven_types::Message>,
    ) -> BoxFuture<'_, Result<bool, fleethaven_storage::Error>> {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            let mut levels = message.topic.split('/').skip(2);
            let name = levels.next().unwrap_or_default().to_owned();
            let document: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            let Some(version) =
                document["version"].as_u64().filter(|_| message.topic.ends_with("update/accepted"))
            else {
                return Ok(true);
            };
            if self.mistake == Some(Mistake::EmitLeftOut) && version % 7 == 0 {
                return Ok(true);
            }
            let mut accepted = self.accepted.lock();
            let last = accepted.range((name.clone(), 0)..=(name.clone(), u64::MAX)).next_back().cloned();
            if accepted.insert((name.clone(), version)) && last.is_some_and(|(_, last)| last > version) {
                *self.disorder.lock() = Some(format!("version {version} of {name} was published late"));
            }
            Ok(true)
        })
    }
}

impl Broker {
    pub(super) fn new(mistake: Option<Mistake>) -> Self {
        Self { mistake, ..Self::default() }
    }

    /// Whether all of `set` was published, in order.
    pub(super) fn check(&self, set: &BTreeSet<(String, u64)>) -> Result<(), String> {
        if let Some(disorder) = self.disorder.lock().clone() {
            return Err(disorder);
        }
        let accepted = self.accepted.lock();
        match set.iter().find(|told| !accepted.contains(told)) {
            Some((name, version)) => Err(format!("version {version} of {name} was never published")),
            None => Ok(()),
        }
    }
}
