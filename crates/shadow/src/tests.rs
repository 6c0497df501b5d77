//! The edge cases that shadow.md lists (their numbers stand in front), and what holds for any updates.

mod edges;
mod properties;

use fleethaven_types::Timestamp;
use serde_json::Value;

use crate::error::{Error, Rejection};
use crate::shadow::{Entry, Shadow, Update, delete, update};
use crate::{Limits, Request, ShadowName, answer};

/// A thing's classic shadow under a clock that a test moves.
struct Bench {
    entry: Option<Entry>,
    now: Timestamp,
    limits: Limits,
    name: ShadowName,
}

impl Bench {
    fn new() -> Self {
        Self {
            entry: None,
            now: Timestamp(1_700_000_000_000),
            limits: Limits::default(),
            name: ShadowName::new("t", None).unwrap(),
        }
    }

    /// With updates done.
    fn after(bodies: &[&str]) -> Self {
        let mut bench = Self::new();
        for body in bodies {
            bench.update(body).unwrap();
        }
        bench
    }

    fn wait(&mut self, seconds: u64) {
        self.now = Timestamp(self.now.as_millis() + seconds * 1000);
    }

    fn read(&self, body: &str) -> Result<Request, Rejection> {
        Request::read(body.as_bytes(), &self.limits)
    }

    fn update(&mut self, body: &str) -> Result<Update, Error> {
        let request = self.read(body).map_err(|rejection| rejection.error)?;
        let updated = update(self.entry.clone(), &request, self.now, &self.limits)?;
        self.entry = Some(Entry::Live(updated.current.clone()));
        Ok(updated)
    }

    /// The messages of an update that is accepted: accepted, delta (null when there is none), documents.
    fn messages(&mut self, body: &str) -> [Value; 3] {
        let request = self.read(body).unwrap();
        let updated = self.update(body).unwrap();
        let token = request.client_token();
        let delta = updated.delta(token).map_or(Value::Null, |text| parse(&text));
        [parse(&updated.accepted(&request)), delta, parse(&updated.documents(token))]
    }

    /// What `get` answers.
    fn get(&self) -> Result<Value, Error> {
        let shadow = crate::shadow::live(self.entry.as_ref(), &self.name)?;
        Ok(parse(&answer::document(shadow, self.now, None)))
    }

    fn state(&self) -> Value {
        self.get().unwrap()["state"].take()
    }

    fn delete(&mut self) -> Result<u64, Error> {
        let deleted = delete(self.entry.as_ref(), &self.name, self.now)?;
        let Entry::Deleted { version, .. } = deleted else { unreachable!("{deleted:?}") };
        self.entry = Some(deleted);
        Ok(version)
    }

    fn shadow(&self) -> &Shadow {
        self.entry.as_ref().and_then(Entry::live).unwrap()
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
