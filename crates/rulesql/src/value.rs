//! The values an expression can have (AWS page "Data types"), and their numeric normal form.

mod compare;
mod convert;
mod object;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

pub use self::object::Object;
use crate::decimal::{COEFFICIENT_END, Decimal};

/// Unicode text, shared: a slice of the payload where it stands there as it is.
pub type Text = ByteString;

/// A value of the dialect. Cloning is cheap: text and containers are shared.
///
/// `==` compares structure, digit for digit; the `=` of SQL, where `5 = 5.0`, is `Value::equals`.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// Absent member, invalid argument or failed conversion; never an error.
    #[default]
    Undefined,
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of up to 34 digits.
    Int(i128),
    /// A decimal of 34 significant digits.
    Decimal(Decimal),
    /// Unicode text.
    String(Text),
    /// A list; may hold Undefined only where a payload's number is out of range.
    Array(Arc<Vec<Value>>),
    /// An ordered map.
    Object(Arc<Object>),
    /// The bytes of a payload that is not JSON.
    Raw(Bytes),
}

impl Value {
    /// Takes the bytes of the value, roughly, from what is left; stops when nothing is.
    pub(crate) fn weigh(&self, left: &mut usize) {
        let own = match self {
            Self::String(text) => text.len(),
            Self::Raw(bytes) => bytes.len(),
            _ => 0,
        };
        *left = left.saturating_sub(size_of::<Self>() + own);
        if let Self::Array(items) = self {
            for item in items.iter() {
                if *left == 0 {
                    return;
                }
                item.weigh(left);
            }
        }
        if let Self::Object(members) = self {
            for (key, member) in members.iter() {
                *left = left.saturating_sub(size_of::<Text>() + key.len());
                if *left == 0 {
                    return;
                }
                member.weigh(left);
            }
        }
    }

    /// Text.
    pub fn string(text: impl Into<Text>) -> Self {
        Self::String(text.into())
    }

    /// A list.
    #[must_use]
    pub fn array(items: Vec<Self>) -> Self {
        Self::Array(Arc::new(items))
    }

    /// A map.
    #[must_use]
    pub fn object(object: Object) -> Self {
        Self::Object(Arc::new(object))
    }

    /// An integer, a rounded Decimal where it has more than 34 digits (spec section 5).
    #[must_use]
    pub fn whole(whole: i128) -> Self {
        if whole.unsigned_abs() < COEFFICIENT_END {
            return Self::Int(whole);
        }
        Self::decimal(Decimal::new(whole, 0))
    }

    /// A Decimal, Undefined where an operation left the range.
    #[must_use]
    pub fn decimal(decimal: Option<Decimal>) -> Self {
        decimal.map_or(Self::Undefined, Self::Decimal)
    }

    /// The Int this value is if it is a whole Decimal, else the value itself: the normal form of 2016-03-23.
    #[must_use]
    pub fn normalized(self) -> Self {
        match self {
            Self::Decimal(decimal) => decimal.as_whole().map_or(self, Self::Int),
            other => other,
        }
    }

    /// The name of the value's type in AWS's documentation; `Raw` for bytes that are not JSON.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined => "Undefined",
            Self::Null => "Null",
            Self::Boolean(_) => "Boolean",
            Self::Int(_) => "Int",
            Self::Decimal(_) => "Decimal",
            Self::String(_) => "String",
            Self::Array(_) => "Array",
            Self::Object(_) => "Object",
            Self::Raw(_) => "Raw",
        }
    }

    /// Whether the value is Undefined.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    /// The member of an Object; Undefined for anything else.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        match self {
            Self::Object(object) => object.get(name).cloned().unwrap_or_default(),
            _ => Self::Undefined,
        }
    }
}

impl From<Option<Value>> for Value {
    fn from(value: Option<Value>) -> Self {
        value.unwrap_or_default()
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}
