//! The connections of one client: to the primary, or to each primary of a cluster that it needs.

use std::time::Duration;

use redis::Value;

use crate::client::Shared;
use crate::cluster::SlotMap;
use crate::connection::{Connection, Failure};
use crate::options::Server;
use crate::script::Call;
use crate::{Stats, address};

/// How often a cluster's streams are looked at: a command that blocks can wait for the keys of one slot only.
const POLL: Duration = Duration::from_millis(20);

/// Connections that were made after the same look at where things are.
pub(crate) struct Links {
    /// In a cluster.
    map: Option<SlotMap>,
    /// By the node's index in the map; one without a cluster.
    nodes: Vec<Option<Connection>>,
}

/// A batch on its way to one node.
struct Part<'a> {
    node: usize,
    /// Calls with their indexes in the batch.
    calls: Vec<(usize, &'a Call)>,
}

/// What a batch was answered.
pub(crate) struct Answered {
    /// One for each call.
    pub(crate) calls: Vec<Value>,
    /// What each node says of durability.
    pub(crate) confirmations: Vec<Value>,
}

impl Links {
    /// Connects; to a cluster only as far as to know where its slots are.
    pub(crate) fn open(shared: &Shared) -> Result<Self, Failure> {
        let options = &shared.options;
        let Server::Cluster(seeds) = &options.server else {
            let mut links = Self { map: None, nodes: vec![None] };
            links.connection(0, shared)?;
            return Ok(links);
        };
        let map = SlotMap::ask(options, seeds, &shared.known_nodes())?;
        shared.note_nodes(map.nodes());
        let nodes = map.nodes().iter().map(|_| None).collect();
        Ok(Self { map: Some(map), nodes })
    }

    fn node_of(&self, key: &str) -> Result<usize, Failure> {
        self.map.as_ref().map_or(Ok(0), |map| map.node_of(key))
    }

    fn connection(&mut self, node: usize, shared: &Shared) -> Result<&mut Connection, Failure> {
        let options = &shared.options;
        let known = self.map.as_ref().and_then(|map| map.nodes().get(node));
        let place = self.nodes.get_mut(node).ok_or_else(|| Failure::Broken("no such node".to_owned()))?;
        if place.is_none() {
            let client = match (&options.server, known) {
                (Server::Cluster(seeds), Some(known)) => address::node(options, seeds, known)?,
                _ => address::primary(options)?,
            };
            *place = Some(Connection::open(&client, options)?);
            Stats::add(&shared.stats.connections, 1);
        }
        place.as_mut().ok_or_else(|| Failure::Broken("not connected".to_owned()))
    }

    /// The connection to where `key` is.
    pub(crate) fn to(&mut self, key: &str, shared: &Shared) -> Result<&mut Connection, Failure> {
        self.connection(self.node_of(key)?, shared)
    }

    /// Sends `calls` and, behind them on each node, the command that waits for durability; then reads the answers.
    pub(crate) fn calls(
        &mut self,
        shared: &Shared,
        calls: &[Call],
        of: (&str, u64, &str),
        confirmation: Option<&[String]>,
    ) -> Result<Answered, Failure> {
        let parts = self.parts(shared, calls)?;
        for part in &parts {
            let calls = part.calls.iter().map(|(_, call)| (*call, shared.keys.root(call.partition)));
            self.connection(part.node, shared)?.send(calls, of, confirmation)?;
        }
        let mut answers: Vec<(usize, Value)> = Vec::with_capacity(calls.len());
        let mut confirmations = Vec::new();
        for part in &parts {
            let connection = self.connection(part.node, shared)?;
            for (at, _) in &part.calls {
                answers.push((*at, connection.receive()?));
            }
            if confirmation.is_some() {
                confirmations.push(connection.receive()?);
            }
        }
        answers.sort_by_key(|(at, _)| *at);
        Ok(Answered { calls: answers.into_iter().map(|(_, answer)| answer).collect(), confirmations })
    }

    fn parts<'a>(&self, shared: &Shared, calls: &'a [Call]) -> Result<Vec<Part<'a>>, Failure> {
        let mut parts: Vec<Part<'a>> = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            let node = self.node_of(&shared.keys.root(call.partition))?;
            match parts.iter_mut().find(|part| part.node == node) {
                Some(part) => part.calls.push((at, call)),
                None => parts.push(Part { node, calls: vec![(at, call)] }),
            }
        }
        Ok(parts)
    }

    /// Carries out commands, each where the key in its second word is, and reads their answers; refusals among them are values.
    pub(crate) fn commands(&mut self, shared: &Shared, commands: &[&[&str]]) -> Result<Vec<Value>, Failure> {
        let key = |words: &&[&str]| words.get(1).copied().unwrap_or_default().to_owned();
        let nodes: Vec<usize> =
            commands.iter().map(|words| self.node_of(&key(words))).collect::<Result<_, _>>()?;
        let mut answers = vec![Value::Nil; commands.len()];
        for node in 0..self.nodes.len() {
            let here = || nodes.iter().enumerate().filter(|(_, of)| **of == node).map(|(at, _)| at);
            let words: Vec<&[&str]> = here().filter_map(|at| commands.get(at).copied()).collect();
            if words.is_empty() {
                continue;
            }
            let answered = self.connection(node, shared)?.commands(&words)?;
            for (at, answer) in here().zip(answered) {
                answers.get_mut(at).into_iter().for_each(|place| place.clone_from(&answer));
            }
        }
        Ok(answers)
    }

    /// Waits until something is added to one of the streams behind the ids given, for at most `limit`; the keys of those where
    /// it was.
    pub(crate) fn wait_for_entries(
        &mut self,
        shared: &Shared,
        streams: &[(String, String)],
        limit: Duration,
    ) -> Result<Vec<String>, Failure> {
        if self.map.is_none() {
            return self.connection(0, shared)?.wait_for_entries(streams, limit);
        }
        let began = tokio::time::Instant::now();
        loop {
            let mut arrived = Vec::new();
            for node in 0..self.nodes.len() {
                let mut here = Vec::new();
                for stream in streams {
                    if self.node_of(&stream.0)? == node {
                        here.push(stream.clone());
                    }
                }
                if !here.is_empty() {
                    arrived.extend(self.connection(node, shared)?.look_for_entries(&here)?);
                }
            }
            if !arrived.is_empty() || began.elapsed() + POLL >= limit {
                return Ok(arrived);
            }
            std::thread::sleep(POLL);
        }
    }
}
