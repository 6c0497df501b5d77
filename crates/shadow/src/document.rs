//! Desired and reported state, with the time of each value.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};

use crate::delta::delta;
use crate::merge::merge;
use crate::node::{Members, MetadataOf, Scalar, StateOf, members_of};
use crate::request::{Patch, StatePatch};

/// A shadow's document. A section without members is a section that is not there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    pub(crate) desired: Members,
    pub(crate) reported: Members,
}

/// A section as it is stored: its value, and apart from it the times, so that the metadata's names are not stored
/// twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// The members as a JSON object; empty when there are none.
    pub json: String,
    /// When each leaf was set, in seconds since the epoch: in the order of the text, whose names are sorted.
    pub times: Vec<u64>,
    /// The numbers with a fraction or an exponent, bit by bit, in that order: reading their text again may give a neighbour.
    pub floats: Vec<u64>,
}

/// A stored section is no section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The text is no JSON object.
    #[error("a section is no JSON object: {0}")]
    Json(String),
    /// There are more values than times, or fewer.
    #[error("a section has {0} times, which is not the number of its values")]
    Times(usize),
    /// There are more such numbers in the text than beside it, or fewer.
    #[error("a section has {0} numbers with a fraction beside its text, which is not how many it has in it")]
    Floats(usize),
}

impl Document {
    /// Reads what [`to_sections`](Self::to_sections) has written: desired, then reported.
    ///
    /// # Errors
    /// When the sections were not written so.
    pub fn from_sections(desired: &Section, reported: &Section) -> Result<Self, Damaged> {
        Ok(Self { desired: desired.read()?, reported: reported.read()? })
    }

    /// The document as it is stored: desired, then reported.
    pub fn to_sections(&self) -> [Section; 2] {
        [&self.desired, &self.reported].map(Section::of)
    }

    /// Whether both sections are gone.
    pub fn is_empty(&self) -> bool {
        self.desired.is_empty() && self.reported.is_empty()
    }

    /// Bytes of the state as compact JSON.
    pub fn state_bytes(&self) -> usize {
        json(&State { document: self, with_delta: None }).len()
    }

    /// What of desired is not as reported; empty when nothing is to be done.
    pub(crate) fn delta(&self) -> Members {
        delta(&self.desired, &self.reported)
    }

    pub(crate) fn apply(&mut self, patch: &StatePatch, now: u64) {
        match patch {
            StatePatch::Clear => *self = Self::default(),
            StatePatch::Sections { desired, reported } => {
                for (section, patch) in [(&mut self.desired, desired), (&mut self.reported, reported)] {
                    match patch {
                        Patch::Keep => {}
                        Patch::Clear => section.clear(),
                        Patch::Merge(members) => merge(section, members, now),
                    }
                }
            }
        }
    }
}

impl Section {
    fn of(members: &Members) -> Self {
        if members.is_empty() {
            return Self::default();
        }
        let (mut times, mut floats) = (Vec::new(), Vec::new());
        let mut see = |scalar: &Scalar, at| {
            times.push(at);
            floats.extend(scalar.as_float().map(f64::to_bits));
        };
        members.values().for_each(|member| member.leaves(&mut see));
        Self { json: json(&StateOf(members)), times, floats }
    }

    fn read(&self) -> Result<Members, Damaged> {
        if self.json.is_empty() {
            return Ok(Members::new());
        }
        let mut members = match serde_json::from_str(&self.json) {
            Ok(Value::Object(members)) => members_of(&members, 0),
            Ok(_) => return Err(Damaged::Json("it is something else".to_owned())),
            Err(error) => return Err(Damaged::Json(error.to_string())),
        };
        let (mut times, mut floats) = (self.times.iter(), self.floats.iter());
        let mut few_floats = false;
        let mut set = |scalar: &mut Scalar, at: &mut u64| {
            *at = *times.next()?;
            if scalar.as_float().is_some() {
                let float = floats.next().and_then(|bits| Number::from_f64(f64::from_bits(*bits)));
                few_floats = float.is_none();
                *scalar = Scalar::Number(float?);
            }
            Some(())
        };
        let enough = members.values_mut().try_for_each(|member| member.leaves_mut(&mut set)).is_some();
        if few_floats || (enough && floats.next().is_some()) {
            return Err(Damaged::Floats(self.floats.len()));
        }
        if !enough || times.next().is_some() {
            return Err(Damaged::Times(self.times.len()));
        }
        Ok(members)
    }
}

/// Writes a document's `state`.
pub(crate) struct State<'a> {
    pub(crate) document: &'a Document,
    /// `state.delta`, where it is told and not empty.
    pub(crate) with_delta: Option<&'a Members>,
}

/// Writes a document's `metadata`.
pub(crate) struct Metadata<'a>(pub(crate) &'a Document);

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document { desired, reported } = self.document;
        let mut state = serializer.serialize_map(None)?;
        let sections = [("desired", Some(desired)), ("reported", Some(reported)), ("delta", self.with_delta)];
        for (name, members) in sections {
            if let Some(members) = members.filter(|members| !members.is_empty()) {
                state.serialize_entry(name, &StateOf(members))?;
            }
        }
        state.end()
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut metadata = serializer.serialize_map(None)?;
        for (name, members) in [("desired", &self.0.desired), ("reported", &self.0.reported)] {
            if !members.is_empty() {
                metadata.serialize_entry(name, &MetadataOf(members))?;
            }
        }
        metadata.end()
    }
}

/// Compact JSON. Writing into memory what has only strings for keys does not fail.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
