//! An ordered map of members; a repeated key keeps its first place and takes the last value.

use std::{collections::HashMap, sync::Arc};

use super::{Text, Value};

/// Members above which look-ups go through an index, so that a payload of many keys stays linear.
const INDEXED: usize = 16;

/// Members in order of first insertion.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<(Text, Value)>,
    #[expect(clippy::box_collection, reason = "most objects have no index: the box keeps them small")]
    index: Option<Box<HashMap<Text, usize>>>,
}

impl Object {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.members.iter().map(|(key, value)| (key, value))
    }

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.members.iter().position(|(name, _)| &**name == key),
        }
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members.get(self.position(key)?).map(|(_, value)| value)
    }

    /// Sets a member: a new key goes last, a known one keeps its place.
    pub fn insert(&mut self, key: Text, value: Value) {
        if let Some(slot) = self.position(&key).and_then(|at| self.members.get_mut(at)) {
            slot.1 = value;
            return;
        }
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.members.len());
        }
        self.members.push((key, value));
        if self.index.is_none() && self.members.len() > INDEXED {
            let places = self.members.iter().enumerate();
            self.index = Some(Box::new(places.map(|(at, (key, _))| (key.clone(), at)).collect()));
        }
    }

    /// Members of the objects along a path: what [`Self::insert_path`] may have to copy.
    pub(crate) fn members_along(&self, path: &[Text]) -> usize {
        let Some((first, rest)) = path.split_first() else { return 0 };
        match self.get(first) {
            Some(Value::Object(inner)) if !rest.is_empty() => inner.len() + inner.members_along(rest),
            _ => 0,
        }
    }

    /// Sets the member at the end of a dotted alias, making or merging the objects on the way; anything else
    /// in the way is replaced.
    pub(crate) fn insert_path(&mut self, path: &[Text], value: Value) {
        let Some((first, rest)) = path.split_first() else { return };
        if rest.is_empty() {
            return self.insert(first.clone(), value);
        }
        let mut inner = match self.get(first) {
            Some(Value::Object(inner)) => Arc::clone(inner),
            _ => Arc::default(),
        };
        self.insert(first.clone(), Value::Null);
        Arc::make_mut(&mut inner).insert_path(rest, value);
        self.insert(first.clone(), Value::Object(inner));
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl FromIterator<(Text, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (Text, Value)>>(members: I) -> Self {
        let mut object = Self::new();
        for (key, value) in members {
            object.insert(key, value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_keep_order_and_last_value() {
        let mut object = Object::new();
        for n in 0..40 {
            object.insert(format!("k{}", n % 30).into(), Value::Int(n));
        }
        assert_eq!(object.len(), 30);
        assert_eq!(object.get("k3"), Some(&Value::Int(33)));
        assert_eq!(object.iter().next().map(|(key, _)| &**key), Some("k0"));
    }

    #[test]
    fn dotted_paths_merge_and_replace_scalars() {
        let mut object = Object::new();
        let path = |text: &str| text.split('.').map(Text::from).collect::<Vec<Text>>();
        object.insert_path(&path("a.b"), Value::Int(1));
        object.insert_path(&path("a.c"), Value::Int(2));
        object.insert_path(&path("a.b.d"), Value::Int(3));
        let text = crate::json::write(&Value::object(object), false).unwrap();
        assert_eq!(text, r#"{"a":{"b":{"d":3},"c":2}}"#);
    }
}
