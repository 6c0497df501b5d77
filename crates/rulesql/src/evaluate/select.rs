//! SELECT: the object of the items, for the message and for each element of a nested query's source.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Evaluation, Failure, Scope};
use crate::{
    ast::{Name, Query, Select},
    value::{Object, Value},
};

/// Member that carries a payload which has no members of its own, beside other items.
const PAYLOAD: &str = "payload";

impl Evaluation<'_> {
    /// Result of a SELECT in a scope.
    pub(crate) fn select(&mut self, select: &Select, scope: Scope<'_>) -> Result<Value, Failure> {
        if select.is_everything() {
            return Ok(self.star(scope));
        }
        match select.items.as_slice() {
            [only] if select.value => self.value(&only.expr, scope),
            _ => self.object(select, scope).map(Value::object),
        }
    }

    fn object(&mut self, select: &Select, scope: Scope<'_>) -> Result<Object, Failure> {
        let mut object = Object::new();
        for item in &select.items {
            match &item.name {
                Name::Splice => self.splice(&mut object, scope)?,
                Name::Path(path) => {
                    let value = self.value(&item.expr, scope)?;
                    if !value.is_undefined() {
                        let copied = object.members_along(path);
                        self.context.spend(u64::try_from(copied).unwrap_or(u64::MAX))?;
                        object.insert_path(path, value);
                    }
                }
            }
        }
        Ok(object)
    }

    /// `*` beside other items: the members are copied. A payload without members goes under `payload`, bytes
    /// in base64; an empty payload and an element without members contribute nothing (spec section 4.4).
    fn splice(&self, object: &mut Object, scope: Scope<'_>) -> Result<(), Failure> {
        let whole = match self.star(scope) {
            Value::Object(members) => {
                self.context.spend(u64::try_from(members.len()).unwrap_or(u64::MAX))?;
                for (key, value) in members.iter() {
                    object.insert(key.clone(), value.clone());
                }
                return Ok(());
            }
            Value::Raw(bytes) => Value::string(STANDARD.encode(bytes)),
            other => other,
        };
        let message = matches!(scope, Scope::Message);
        if message && !whole.is_undefined() && object.get(PAYLOAD).is_none() {
            object.insert(PAYLOAD.into(), whole);
        }
        Ok(())
    }

    /// A nested SELECT: an Array for an Array, one projection for an Object, else Undefined (spec section
    /// 4.6).
    pub(super) fn query(&mut self, query: &Query, scope: Scope<'_>) -> Result<Value, Failure> {
        match self.value(&query.source, scope)? {
            Value::Array(elements) => {
                let mut results = Vec::new();
                for element in elements.iter() {
                    let result = self.project(query, element)?;
                    results.extend(result.filter(|value| !value.is_undefined()));
                }
                Ok(Value::array(results))
            }
            element @ Value::Object(_) => Ok(self.project(query, &element)?.into()),
            _ => Ok(Value::Undefined),
        }
    }

    pub(super) fn exists(&mut self, query: &Query, scope: Scope<'_>) -> Result<Value, Failure> {
        let found = match self.query(query, scope)? {
            Value::Array(results) => !results.is_empty(),
            result => !result.is_undefined(),
        };
        Ok(Value::Boolean(found))
    }

    /// The projection of one element; `None` if it does not pass WHERE.
    fn project(&mut self, query: &Query, element: &Value) -> Result<Option<Value>, Failure> {
        self.context.spend(1)?;
        let scope = Scope::Element { value: element, alias: query.alias.as_deref() };
        if let Some(condition) = &query.condition
            && self.value(condition, scope)?.to_boolean() != Some(true)
        {
            return Ok(None);
        }
        self.select(&query.select, scope).map(Some)
    }
}
