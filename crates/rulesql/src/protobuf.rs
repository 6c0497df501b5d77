//! Protobuf messages as values, by descriptor sets (spec section 7): what answers `decode(…, 'proto', …)`.
//!
//! Names are those of protobuf's JSON mapping, and what is not set is left out. Numbers stay numbers, 64-bit ones too; bytes
//! are base64, and a value of an enumeration is its name, or its number where it has none.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, Value as Field};

use crate::{
    decimal::Decimal,
    json::Writer,
    value::{Object, Value},
};

/// Largest descriptor set, in bytes.
pub const MAX_DESCRIPTORS: usize = 500 * 1024;
/// Syntaxes that are known; an empty one is proto2.
const SYNTAXES: [&str; 3] = ["", "proto2", "proto3"];
/// Largest message, and largest JSON of one, in bytes.
const MAX_MESSAGE: usize = 128 * 1024;

/// A `FileDescriptorSet`, read.
#[derive(Clone, Debug)]
pub struct Descriptors(DescriptorPool);

/// Why a message cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// No descriptors come of the file.
    #[error("not a FileDescriptorSet: {0}")]
    Descriptors(String),
    /// The file names no such file or message.
    #[error("the descriptors have no message '{message}' in '{file}'")]
    Unknown {
        /// The `.proto` file.
        file: String,
        /// The message type.
        message: String,
    },
    /// The bytes are no such message.
    #[error("not a message of this type: {0}")]
    Message(String),
    /// The message, its JSON or the descriptors are beyond their bound.
    #[error("{0} is larger than {1} bytes")]
    TooLarge(&'static str, usize),
}

impl Descriptors {
    /// Reads a serialised `FileDescriptorSet`, as `protoc --include_imports --descriptor_set_out` writes it.
    ///
    /// # Errors
    /// What is none, or is larger than [`MAX_DESCRIPTORS`].
    pub fn read(bytes: &[u8]) -> Result<Self, ProtobufError> {
        if bytes.len() > MAX_DESCRIPTORS {
            return Err(ProtobufError::TooLarge("the descriptor set", MAX_DESCRIPTORS));
        }
        let refused = |reason: &dyn std::fmt::Display| ProtobufError::Descriptors(reason.to_string());
        let set = FileDescriptorSet::decode(bytes).map_err(|error| refused(&error))?;
        if let Some(syntax) =
            set.file.iter().map(FileDescriptorProto::syntax).find(|syntax| !SYNTAXES.contains(syntax))
        {
            return Err(refused(&format!("the syntax '{syntax}' is neither proto2 nor proto3")));
        }
        // Files come from whoever operates rules, messages from anybody: the library is careful about the latter, and panics over
        // some files that `protoc` would never write.
        let pool = std::panic::catch_unwind(|| DescriptorPool::decode(bytes));
        let pool = pool.map_err(|_| refused(&"it contradicts itself"))?;
        pool.map(Self).map_err(|error| refused(&error))
    }

    /// The value of a message of the type `message`, with or without its package, of the file `file`.
    ///
    /// # Errors
    /// An unknown type, or bytes that are no message of it.
    pub fn decode(&self, file: &str, message: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ProtobufError::TooLarge("the message", MAX_MESSAGE));
        }
        let descriptor = self
            .message(file, message)
            .ok_or_else(|| ProtobufError::Unknown { file: file.to_owned(), message: message.to_owned() })?;
        let decoded = DynamicMessage::decode(descriptor, bytes)
            .map_err(|error| ProtobufError::Message(error.to_string()))?;
        let value = object(&decoded);
        let mut writer = Writer::new(false, MAX_MESSAGE);
        writer.value(&value).map_err(|_| ProtobufError::TooLarge("the decoded message", MAX_MESSAGE))?;
        Ok(value)
    }

    fn message(&self, file: &str, message: &str) -> Option<MessageDescriptor> {
        let file = self.0.get_file_by_name(file)?;
        let in_package = format!("{}.{message}", file.package_name());
        [message, &in_package].iter().find_map(|name| {
            let found = self.0.get_message_by_name(name)?;
            (found.parent_file() == file).then_some(found)
        })
    }
}

fn object(message: &DynamicMessage) -> Value {
    let members =
        message.fields().map(|(field, value)| (field.json_name().into(), convert(value, &field.kind())));
    Value::object(members.collect::<Object>())
}

fn convert(field: &Field, kind: &Kind) -> Value {
    match field {
        Field::Bool(truth) => Value::Boolean(*truth),
        Field::I32(number) => Value::Int((*number).into()),
        Field::I64(number) => Value::Int((*number).into()),
        Field::U32(number) => Value::Int((*number).into()),
        Field::U64(number) => Value::Int((*number).into()),
        // The shortest decimal that is this float, not the double next to it.
        Field::F32(number) => Value::decimal(Decimal::parse(&format!("{number:?}"), false)),
        Field::F64(number) => Value::decimal(Decimal::from_double(*number)),
        Field::String(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::string(STANDARD.encode(bytes)),
        Field::EnumNumber(number) => name_of(*number, kind),
        Field::Message(message) => object(message),
        Field::List(items) => Value::array(items.iter().map(|item| convert(item, kind)).collect()),
        Field::Map(entries) => map(entries, kind),
    }
}

fn name_of(number: i32, kind: &Kind) -> Value {
    let named = match kind {
        Kind::Enum(all) => all.get_value(number),
        _ => None,
    };
    named.map_or(Value::Int(number.into()), |named| Value::from(named.name()))
}

/// A map's entries, in the order of their keys: protobuf promises none.
fn map(entries: &std::collections::HashMap<MapKey, Field>, kind: &Kind) -> Value {
    let value_kind = match kind {
        Kind::Message(entry) => entry.map_entry_value_field().kind(),
        other => other.clone(),
    };
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|(key, _)| *key);
    let members = sorted.into_iter().map(|(key, value)| {
        let key = match key {
            MapKey::Bool(key) => key.to_string(),
            MapKey::I32(key) => key.to_string(),
            MapKey::I64(key) => key.to_string(),
            MapKey::U32(key) => key.to_string(),
            MapKey::U64(key) => key.to_string(),
            MapKey::String(key) => key.clone(),
        };
        (key.into(), convert(value, &value_kind))
    });
    Value::object(members.collect::<Object>())
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
        FileDescriptorProto, FileDescriptorSet,
        field_descriptor_proto::{Label, Type},
    };

    use super::*;

    fn field(
        name: &str,
        number: i32,
        kind: Type,
        type_name: Option<&str>,
        label: Label,
    ) -> FieldDescriptorProto {
        FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(label.into()),
            r#type: Some(kind.into()),
            type_name: type_name.map(str::to_owned),
            ..Default::default()
        }
    }

    /// `message Reading { uint64 big_count = 1; float t = 2; State state = 3; bytes raw = 4; repeated Reading parts = 5;
    /// string note = 6; }` and `enum State { OFF = 0; ON = 1; }`
    fn descriptors() -> Vec<u8> {
        let one = Label::Optional;
        let reading = DescriptorProto {
            name: Some("Reading".to_owned()),
            field: vec![
                field("big_count", 1, Type::Uint64, None, one),
                field("t", 2, Type::Float, None, one),
                field("state", 3, Type::Enum, Some(".plant.State"), one),
                field("raw", 4, Type::Bytes, None, one),
                field("parts", 5, Type::Message, Some(".plant.Reading"), Label::Repeated),
                field("note", 6, Type::String, None, one),
            ],
            ..Default::default()
        };
        let value = |name: &str, number: i32| EnumValueDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            ..Default::default()
        };
        let state = EnumDescriptorProto {
            name: Some("State".to_owned()),
            value: vec![value("OFF", 0), value("ON", 1)],
            ..Default::default()
        };
        let file = FileDescriptorProto {
            name: Some("plant.proto".to_owned()),
            package: Some("plant".to_owned()),
            message_type: vec![reading],
            enum_type: vec![state],
            syntax: Some("proto3".to_owned()),
            ..Default::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    /// count 2^64 - 1, t 0.1, state ON, raw FF, a part with state 7.
    const MESSAGE: &[u8] = &[
        0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0x15, 0xCD, 0xCC, 0xCC, 0x3D, 0x18,
        0x01, 0x22, 0x01, 0xFF, 0x2A, 0x02, 0x18, 0x07,
    ];

    #[test]
    fn messages_become_objects() {
        let descriptors = Descriptors::read(&descriptors()).unwrap();
        for name in ["Reading", "plant.Reading"] {
            let value = descriptors.decode("plant.proto", name, MESSAGE).unwrap();
            assert_eq!(
                crate::json::write(&value, true).unwrap(),
                r#"{"bigCount":18446744073709551615,"t":0.1,"state":"ON","raw":"/w==","parts":[{"state":7}]}"#
            );
        }
        assert_eq!(descriptors.decode("plant.proto", "Reading", b"").unwrap(), Value::object(Object::new()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let descriptors = Descriptors::read(&descriptors()).unwrap();
        let refused =
            |file: &str, name: &str, bytes: &[u8]| descriptors.decode(file, name, bytes).unwrap_err();
        assert!(matches!(refused("other.proto", "Reading", b""), ProtobufError::Unknown { .. }));
        assert!(matches!(refused("plant.proto", "State", b""), ProtobufError::Unknown { .. }));
        assert!(matches!(refused("plant.proto", "Reading", &[0x08]), ProtobufError::Message(_)));
        let large = vec![0; MAX_MESSAGE + 1];
        assert!(matches!(refused("plant.proto", "Reading", &large), ProtobufError::TooLarge(..)));
        // Nested as deep as a message may be, and deeper.
        let nested = |depth: usize| {
            (0..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
                let mut outer = vec![0x2A];
                prost_reflect::prost::encoding::encode_varint(inner.len() as u64, &mut outer);
                outer.extend(inner);
                outer
            })
        };
        assert!(descriptors.decode("plant.proto", "Reading", &nested(50)).is_ok());
        assert!(matches!(refused("plant.proto", "Reading", &nested(200)), ProtobufError::Message(_)));
        assert!(matches!(Descriptors::read(&[1, 2, 3]), Err(ProtobufError::Descriptors(_))));
        let edition = FileDescriptorProto { syntax: Some("editions".to_owned()), ..Default::default() };
        let edition = FileDescriptorSet { file: vec![edition] }.encode_to_vec();
        let refused = Descriptors::read(&edition).unwrap_err();
        assert!(refused.to_string().contains("'editions' is neither"), "{refused}");
        let many = vec![0; MAX_DESCRIPTORS + 1];
        assert!(matches!(Descriptors::read(&many), Err(ProtobufError::TooLarge(..))));
    }
}
