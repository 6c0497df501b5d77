//! What clients asked and were told of one cell, and whether it is linearizable (stateright's tester).
//!
//! A cell is a thing with an attribute, in the control group, or a thing's shadow, in a state group. Every value is written once.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// What is asked of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Makes the thing with this value.
    Create(u64),
    /// Sets the value, if the version is the one expected.
    Set { value: u64, expected: Option<u64> },
    /// Reads version and value.
    Read,
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is done; the version, where that is told.
    Done(Option<u64>),
    /// There is another one of that name.
    Exists,
    /// There is none.
    Missing,
    /// The version is not the one expected.
    Conflict,
    /// Version and value.
    State(u64, u64),
}

/// What a cell is, in sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// A shadow begins with its first update; a thing is created.
    pub(super) is_shadow: bool,
    /// Version and value.
    state: Option<(u64, u64)>,
}

impl Cell {
    pub(super) fn new(is_shadow: bool) -> Self {
        Self { is_shadow, state: None }
    }

    fn set(&mut self, value: u64) -> Told {
        let version = self.state.map_or(1, |(version, _)| version + 1);
        self.state = Some((version, value));
        Told::Done(Some(version))
    }
}

impl SequentialSpec for Cell {
    type Op = Op;
    type Ret = Told;

    fn invoke(&mut self, op: &Op) -> Told {
        match (*op, self.state) {
            (Op::Create(value), None) => self.set(value),
            (Op::Create(value), Some((_, now))) if value == now => Told::Done(None),
            (Op::Create(_), Some(_)) => Told::Exists,
            (Op::Set { .. } | Op::Read, None) if !self.is_shadow => Told::Missing,
            (Op::Read, None) => Told::Missing,
            (Op::Set { expected: Some(expected), .. }, state)
                if state.map_or(0, |(version, _)| version) != expected =>
            {
                Told::Conflict
            }
            (Op::Set { value, .. }, _) => self.set(value),
            (Op::Read, Some((version, value))) => Told::State(version, value),
        }
    }

    fn is_valid_step(&mut self, op: &Op, told: &Told) -> bool {
        match (self.invoke(op), told) {
            (Told::Done(_), Told::Done(None)) => true,
            (done, told) => done == *told,
        }
    }
}

/// An event of a cell's history, in the order in which they happened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// A client asks; its number is used for this once.
    Asks(u64, Op),
    /// It is told. A client that is never told may or may not have been heard.
    IsTold(u64, Told),
    /// It is told that nothing was done.
    IsDenied(u64),
}

/// All that happened to one cell.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) name: String,
    pub(super) is_shadow: bool,
    pub(super) events: Vec<Event>,
    /// Operations that were asked, and those that nobody knows the outcome of.
    pub(super) asked: usize,
    pub(super) unknown: usize,
}

impl History {
    pub(super) fn new(name: String, is_shadow: bool) -> Self {
        Self { name, is_shadow, events: Vec::new(), asked: 0, unknown: 0 }
    }

    /// Why the history is not one of a cell that does one thing after another.
    pub(super) fn check(&self) -> Result<(), String> {
        let denied: Vec<u64> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::IsDenied(client) => Some(*client),
                _ => None,
            })
            .collect();
        let told: Vec<u64> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::IsTold(client, _) => Some(*client),
                _ => None,
            })
            .collect();
        // Those without an outcome come last in the search, which tries them where nothing else fits.
        let place = |client: u64| (!told.contains(&client), client);
        let mut tester = LinearizabilityTester::new(Cell::new(self.is_shadow));
        for event in &self.events {
            let noted = match *event {
                Event::Asks(client, _) if denied.contains(&client) => continue,
                Event::Asks(client, Op::Read) if !told.contains(&client) => continue,
                Event::Asks(client, op) => tester.on_invoke(place(client), op).map(drop),
                Event::IsTold(client, told) => tester.on_return(place(client), told).map(drop),
                Event::IsDenied(_) => continue,
            };
            noted?;
        }
        match tester.is_consistent() {
            true => Ok(()),
            false => Err(format!("the history of {} is not linearizable: {:?}", self.name, self.events)),
        }
    }
}

mod tests {
    use super::*;

    fn history(events: &[Event]) -> Result<(), String> {
        let mut history = History::new("cell".into(), true);
        history.events.extend_from_slice(events);
        history.check()
    }

    const SET: Op = Op::Set { value: 7, expected: None };

    #[test]
    fn a_read_after_a_write_tells_it() {
        use Event::*;
        let written = [Asks(1, SET), IsTold(1, Told::Done(Some(1))), Asks(2, Op::Read)];
        let then = |told| history(&[&written[..], &[IsTold(2, told)]].concat());
        assert!(then(Told::State(1, 7)).is_ok());
        assert!(then(Told::Missing).is_err());
    }

    #[test]
    fn what_nobody_knows_may_have_happened_at_any_time_or_never() {
        use Event::*;
        let read = |client, told| [Asks(client, Op::Read), IsTold(client, told)];
        let (before, after) = (read(2, Told::Missing), read(3, Told::State(1, 7)));
        assert!(history(&[&[Asks(1, SET)][..], &before].concat()).is_ok());
        assert!(history(&[&[Asks(1, SET)][..], &before, &after].concat()).is_ok());
        assert!(history(&[&[Asks(1, SET)][..], &after, &before].concat()).is_err());
        assert!(history(&[&[Asks(1, SET), IsDenied(1)][..], &after].concat()).is_err());
    }
}
