//! One connection to the primary. It never reconnects by itself: WAIT covers what its own connection wrote, and a
//! connection that broke leaves open what became of its last batch.

use std::time::Duration;

use redis::{Client, Value};

use crate::durability::{SETTINGS, Server as Observed};
use crate::options::Options;
use crate::reply;
use crate::script::{self, Call, Head};

/// Why a batch has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more; what was sent may have been carried out.
    Broken(String),
    /// The server cannot now; the connection is good, and the batch may be sent again on it.
    Later(String),
    /// The server cannot at all.
    Never(String),
}

impl Failure {
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Broken(reason) | Self::Later(reason) | Self::Never(reason) => reason,
        }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A connection that has passed the checks, with the script loaded.
pub(crate) struct Connection {
    inner: redis::Connection,
    sha: String,
    replication_id: String,
    output: Vec<u8>,
}

impl Connection {
    /// Connects to a primary and checks that it can keep the promise of `options.durability`.
    pub(crate) fn open(client: &Client, options: &Options) -> Result<Self, Failure> {
        let inner = client.get_connection_with_timeout(options.connect_timeout)?;
        inner.set_read_timeout(Some(options.answer_timeout))?;
        inner.set_write_timeout(Some(options.answer_timeout))?;
        let (sha, replication_id, output) = (String::new(), String::new(), Vec::new());
        let mut connection = Self { inner, sha, replication_id, output };
        connection.introduce(options)?;
        Ok(connection)
    }

    fn introduce(&mut self, options: &Options) -> Result<(), Failure> {
        let mut config = vec!["CONFIG", "GET"];
        config.extend(SETTINGS);
        self.output.clear();
        script::command(&mut self.output, &["INFO", "server"]);
        script::command(&mut self.output, &["INFO", "replication"]);
        script::command(&mut self.output, &config);
        script::command(&mut self.output, &["SCRIPT", "LOAD", script::SOURCE]);
        let mut answers = self.exchange(4)?.into_iter();
        let mut answer = || answers.next().unwrap_or_default();
        let (server, replication, config, sha) = (answer(), answer(), answer(), answer());
        let (server, replication) = (info(server)?, info(replication)?);
        let field = |info: &str, name: &str| field(info, name).unwrap_or_default().to_owned();
        if field(&replication, "role") != "master" {
            return Err(Failure::Broken("it is a replica, not the primary".to_owned()));
        }
        let observed = Observed { version: field(&server, "redis_version"), settings: settings(config)? };
        observed.check(options.durability).map_err(Failure::Never)?;
        self.replication_id = field(&replication, "master_replid");
        self.sha = reply::text(accepted(sha)?).map_err(|error| Failure::Never(error.to_string()))?;
        Ok(())
    }

    /// Sends commands and reads their answers, one each; refusals among them are values.
    pub(crate) fn commands(&mut self, commands: &[&[&str]]) -> Result<Vec<Value>, Failure> {
        self.output.clear();
        commands.iter().for_each(|words| script::command(&mut self.output, words));
        self.exchange(commands.len())
    }

    /// Sends `calls` and, behind them, the command that waits for durability; one answer of each is to be received.
    pub(crate) fn send<'a>(
        &mut self,
        calls: impl ExactSizeIterator<Item = (&'a Call, String)>,
        (producer, batch, now): (&str, u64, &str),
        confirmation: Option<&[String]>,
    ) -> Result<(), Failure> {
        self.output.clear();
        for (call, root) in calls {
            let (sha, replication_id) = (self.sha.as_str(), self.replication_id.as_str());
            call.write(&mut self.output, &Head { sha, root: &root, replication_id, producer, batch, now });
        }
        if let Some(words) = confirmation {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            script::command(&mut self.output, &words);
        }
        self.flush()
    }

    /// The next answer.
    pub(crate) fn receive(&mut self) -> Result<Value, Failure> {
        Ok(self.inner.recv_response()?)
    }

    /// Waits until something is added to one of the streams behind the ids given, for at most `limit`; the keys of
    /// those where it was.
    pub(crate) fn wait_for_entries(
        &mut self,
        streams: &[(String, String)],
        limit: Duration,
    ) -> Result<Vec<String>, Failure> {
        let limit = limit.as_millis().max(1).to_string();
        let mut words = vec!["XREAD", "COUNT", "1", "BLOCK", &limit, "STREAMS"];
        words.extend(streams.iter().map(|(key, _)| key.as_str()));
        words.extend(streams.iter().map(|(_, after)| after.as_str()));
        arrived(self.commands(&[&words])?)
    }

    /// The same without waiting, for streams that are in several slots.
    pub(crate) fn look_for_entries(&mut self, streams: &[(String, String)]) -> Result<Vec<String>, Failure> {
        let looks: Vec<[&str; 6]> =
            streams.iter().map(|(key, after)| ["XREAD", "COUNT", "1", "STREAMS", key, after]).collect();
        let looks: Vec<&[&str]> = looks.iter().map(|words| &words[..]).collect();
        arrived(self.commands(&looks)?)
    }

    fn exchange(&mut self, count: usize) -> Result<Vec<Value>, Failure> {
        self.flush()?;
        (0..count).map(|_| self.receive()).collect()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.inner.send_packed_command(&self.output)?;
        // Of a large batch's buffer no more is kept than a usual one needs.
        self.output.clear();
        self.output.shrink_to(1 << 20);
        Ok(())
    }
}

/// Keys of the streams that XREADs answered.
fn arrived(answers: Vec<Value>) -> Result<Vec<String>, Failure> {
    let key = |stream| reply::array(stream).and_then(|mut parts| reply::text(reply::next(&mut parts)?));
    let mut keys = Vec::new();
    for answer in answers {
        let found = reply::array(accepted(answer)?).and_then(|streams| streams.map(key).collect());
        let found: Vec<String> = found.map_err(|error| Failure::Broken(error.to_string()))?;
        keys.extend(found);
    }
    Ok(keys)
}

/// The value, unless the server refused.
pub(crate) fn accepted(value: Value) -> Result<Value, Failure> {
    let Value::ServerError(error) = value else { return Ok(value) };
    let reason = format!("{} {}", error.code(), error.details().unwrap_or_default());
    Err(match error.code() {
        // Another server is the primary now, or this one has forgotten the script.
        "READONLY" | "MOVED" | "NOSCRIPT" | "STALE" | "UNBLOCKED" => Failure::Broken(reason),
        // It will pass, or an operator will see to it. ASK: the partition is on its way to another node.
        "ASK" | "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" | "OOM"
        | "MISCONF" => Failure::Later(reason),
        _ => Failure::Never(reason),
    })
}

fn info(value: Value) -> Result<String, Failure> {
    reply::text(accepted(value)?).map_err(|error| Failure::Broken(error.to_string()))
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn settings(value: Value) -> Result<std::collections::HashMap<String, String>, Failure> {
    let denied = |reason| {
        let needed = format!("its settings cannot be read ({reason}): allow this user CONFIG GET and INFO");
        Failure::Never(needed)
    };
    let value = match accepted(value) {
        Err(Failure::Never(reason)) => return Err(denied(reason)),
        other => other?,
    };
    let words = reply::array(value).and_then(|values| values.map(reply::text).collect::<Result<Vec<_>, _>>());
    let words = words.map_err(|error| denied(error.to_string()))?;
    let pair = |pair: &[String]| match pair {
        [name, value] => Some((name.clone(), value.clone())),
        _ => None,
    };
    Ok(words.chunks(2).filter_map(pair).collect())
}
