//! A value of which each leaf knows when it was set.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};

/// The members of an object, by name.
pub(crate) type Members = BTreeMap<String, Node>;

/// A value in a section. There is no null: in a request it means removal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Set at this second since the epoch.
    Leaf(Scalar, u64),
    /// Replaced as a whole; its elements' leaves have times of their own in metadata.
    Array(Vec<Node>),
    /// Merged member by member. Empty only inside an array.
    Object(Members),
}

/// A value without parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Node {
    /// `value` as set at second `now`, without nulls and objects that hold nothing; `None` when nothing is left.
    pub(crate) fn of(value: &Value, now: u64) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Object(members) => {
                let members = members_of(members, now);
                (!members.is_empty()).then_some(Self::Object(members))
            }
            other => Some(Self::element(other, now)),
        }
    }

    /// The same inside an array, where nothing is left out. (A null there has been refused.)
    fn element(value: &Value, now: u64) -> Self {
        let scalar = match value {
            Value::Array(elements) => {
                return Self::Array(elements.iter().map(|element| Self::element(element, now)).collect());
            }
            Value::Object(members) => {
                let pair = |(name, member): (&String, &Value)| (name.clone(), Self::element(member, now));
                return Self::Object(members.iter().map(pair).collect());
            }
            Value::Null => return Self::Object(Members::new()),
            Value::Bool(value) => Scalar::Bool(*value),
            Value::Number(number) => Scalar::Number(number.clone()),
            Value::String(text) => Scalar::Text(text.clone()),
        };
        Self::Leaf(scalar, now)
    }

    /// Whether the values are equal, whenever they were set. Numbers are equal by value: 1 is 1.0.
    pub(crate) fn has_value_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a, _), Self::Leaf(b, _)) => a.equals(b),
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.has_value_of(b))
            }
            (Self::Object(a), Self::Object(b)) => {
                let equal = |((name, a), (other, b)): ((&String, &Self), (&String, &Self))| {
                    name == other && a.has_value_of(b)
                };
                a.len() == b.len() && a.iter().zip(b).all(equal)
            }
            _ => false,
        }
    }

    /// Shows all leaves with their times, in the order in which the value is written.
    pub(crate) fn leaves(&self, see: &mut impl FnMut(&Scalar, u64)) {
        match self {
            Self::Leaf(scalar, at) => see(scalar, *at),
            Self::Array(elements) => elements.iter().for_each(|element| element.leaves(see)),
            Self::Object(members) => members.values().for_each(|member| member.leaves(see)),
        }
    }

    /// Lets all leaves be changed, in that order, until one cannot be.
    pub(crate) fn leaves_mut(
        &mut self,
        change: &mut impl FnMut(&mut Scalar, &mut u64) -> Option<()>,
    ) -> Option<()> {
        match self {
            Self::Leaf(scalar, at) => change(scalar, at),
            Self::Array(elements) => elements.iter_mut().try_for_each(|element| element.leaves_mut(change)),
            Self::Object(members) => members.values_mut().try_for_each(|member| member.leaves_mut(change)),
        }
    }
}

/// The members of an object of a request, as [`Node::of`] takes them.
pub(crate) fn members_of(members: &Map<String, Value>, now: u64) -> Members {
    let node = |(name, value): (&String, &Value)| Some((name.clone(), Node::of(value, now)?));
    members.iter().filter_map(node).collect()
}

impl Scalar {
    /// A number that is not kept as a whole one.
    pub(crate) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Number(number) if number.is_f64() => number.as_f64(),
            _ => None,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a == b || is_equal_by_value(a, b),
            _ => self == other,
        }
    }
}

/// Whether a whole number and one with a fraction are the same number, or two of the latter.
#[expect(clippy::float_cmp, reason = "equal numbers are meant, not near ones")]
fn is_equal_by_value(a: &Number, b: &Number) -> bool {
    let whole = |number: &Number| number.as_i128();
    match (whole(a), whole(b), a.as_f64(), b.as_f64()) {
        (Some(a), Some(b), ..) => a == b,
        (Some(whole), None, _, Some(float)) | (None, Some(whole), Some(float), _) => is_whole(float, whole),
        (None, None, Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Whether `float` is exactly `whole`: both ways, as a float above 2^53 stands for many whole numbers.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "what is lost one way is noticed the other way; a cast from a float saturates"
)]
fn is_whole(float: f64, whole: i128) -> bool {
    float == whole as f64 && float as i128 == whole
}

/// Writes the value.
pub(crate) struct StateOf<'a, T>(pub(crate) &'a T);

/// Writes the times in the value's shape: `{"timestamp": …}` for each leaf.
pub(crate) struct MetadataOf<'a, T>(pub(crate) &'a T);

impl Serialize for StateOf<'_, Node> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Node::Leaf(Scalar::Bool(value), _) => serializer.serialize_bool(*value),
            Node::Leaf(Scalar::Number(number), _) => number.serialize(serializer),
            Node::Leaf(Scalar::Text(text), _) => serializer.serialize_str(text),
            Node::Array(elements) => serializer.collect_seq(elements.iter().map(StateOf)),
            Node::Object(members) => StateOf(members).serialize(serializer),
        }
    }
}

impl Serialize for StateOf<'_, Members> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, node)| (name, StateOf(node))))
    }
}

impl Serialize for MetadataOf<'_, Node> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Node::Leaf(_, at) => {
                let mut leaf = serializer.serialize_map(Some(1))?;
                leaf.serialize_entry("timestamp", at)?;
                leaf.end()
            }
            Node::Array(elements) => {
                let mut array = serializer.serialize_seq(Some(elements.len()))?;
                elements.iter().try_for_each(|element| array.serialize_element(&MetadataOf(element)))?;
                array.end()
            }
            Node::Object(members) => MetadataOf(members).serialize(serializer),
        }
    }
}

impl Serialize for MetadataOf<'_, Members> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, node)| (name, MetadataOf(node))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn equal(a: &str, b: &str) -> bool {
        let node = |text| Node::of(&serde_json::from_str(text).unwrap(), 0).unwrap();
        node(a).has_value_of(&node(b))
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b) in [("1", "1.0"), ("-1", "-1.0"), ("0", "-0.0"), ("1e3", "1000"), ("[1]", "[1.0]")] {
            assert!(equal(a, b) && equal(b, a), "{a} {b}");
        }
        let near = [
            ("9007199254740993", "9007199254740992.0"),
            ("18446744073709551615", "18446744073709551616.0"),
            ("1", "1.5"),
            ("1", "\"1\""),
            ("1", "true"),
        ];
        for (a, b) in near {
            assert!(!equal(a, b) && !equal(b, a), "{a} {b}");
        }
    }

    #[test]
    fn what_holds_nothing_is_left_out_except_in_arrays() {
        assert_eq!(Node::of(&json!({"a": null, "b": {"c": {}}}), 1), None);
        let kept = Node::of(&json!({"a": [{}, []], "b": null}), 1).unwrap();
        assert_eq!(serde_json::to_value(StateOf(&kept)).unwrap(), json!({"a": [{}, []]}));
        assert_eq!(serde_json::to_value(MetadataOf(&kept)).unwrap(), json!({"a": [{}, []]}));
    }
}
