//! A node on a temporary directory, and commands in short.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::metadata::{Error, Executed, Metadata};
use fleethaven_registry::shapes::{
    AttributePayload, CreateThing, DeleteThing, ThingDescription, UpdateThing,
};
use fleethaven_registry::{Action, Command, Limits, Query, QueryKind, QueryReply};
use fleethaven_types::{AccountId, Profile, Region, Scope, Timestamp};
use tokio::time::Instant;

use crate::{Config, Metastore, NoPeers};

/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn scope() -> Scope {
    Scope {
        account: "000000000042".parse::<AccountId>().unwrap(),
        region: "eu-central-1".parse::<Region>().unwrap(),
    }
}

pub(crate) fn clock() -> Timestamp {
    Timestamp(1_700_000_000_000)
}

pub(crate) fn config(dir: &Path) -> Config {
    Config::new(dir, clock, Limits::of(Profile::Standard))
}

/// Opens a node; waits until the previous one in this process has let go of the directory.
pub(crate) async fn open(config: Config) -> Arc<Metastore> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match Metastore::open(config.clone(), Arc::new(NoPeers)).await {
            Ok(node) => return node,
            Err(crate::Error::Locked(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn command(action: Action) -> Command {
    Command::new(scope(), action)
}

pub(crate) fn create(name: &str) -> Command {
    create_with(name, BTreeMap::new())
}

pub(crate) fn create_with(name: &str, attributes: BTreeMap<String, String>) -> Command {
    let args = CreateThing { thing_name: name.into(), attributes, ..CreateThing::default() };
    command(Action::CreateThing(Box::new(args)))
}

/// Sets the thing's attribute `n`, provided that its version is `expected`.
pub(crate) fn update(name: &str, expected: u64) -> Command {
    let attributes = BTreeMap::from([("n".to_owned(), expected.to_string())]);
    let args = UpdateThing {
        thing_name: name.into(),
        attribute_payload: Some(AttributePayload { attributes, merge: true }),
        expected_version: Some(expected),
        ..UpdateThing::default()
    };
    command(Action::UpdateThing(Box::new(args)))
}

pub(crate) fn delete(name: &str) -> Command {
    let args = DeleteThing { thing_name: name.into(), expected_version: None };
    command(Action::DeleteThing(Box::new(args)))
}

fn describe(name: &str) -> Query {
    Query::new(scope(), QueryKind::DescribeThing(name.into()))
}

fn thing(reply: QueryReply) -> ThingDescription {
    match reply {
        QueryReply::Thing(thing) => *thing,
        other => panic!("not a thing: {other:?}"),
    }
}

pub(crate) async fn read(node: &Metastore, name: &str) -> Result<ThingDescription, Error> {
    node.query(describe(name)).await.map(thing)
}

pub(crate) fn read_local(node: &Metastore, name: &str) -> Result<ThingDescription, Error> {
    node.query_local(describe(name)).map(thing)
}

/// Runs `commands` with `width` of them in flight; all must succeed.
pub(crate) async fn run_all(node: &Arc<Metastore>, width: usize, commands: Vec<Command>) -> Vec<Executed> {
    use futures_util::{StreamExt, TryStreamExt, stream};
    let answers = stream::iter(commands).map(|command| node.execute(command)).buffered(width);
    answers.try_collect().await.unwrap()
}
