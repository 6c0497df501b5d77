//! What is known of the message (spec section 8.5).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    evaluate::{Context, Failure},
    value::{Object, Text, Value},
};

type Answer = Result<Option<Value>, Failure>;

/// Text of the context, for a function without arguments.
fn known(arguments: &[Value], text: Option<&str>) -> Answer {
    Ok(text.filter(|_| arguments.is_empty()).map(Value::from))
}

/// `topic()` and `topic(n)`: the topic, or its n-th level from 1.
pub(super) fn topic(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let topic = context.input.topic;
    let [level] = arguments else { return known(arguments, Some(topic)) };
    let before = level.to_index().and_then(|level| usize::try_from(level.checked_sub(1)?).ok());
    Ok(before.and_then(|before| topic.split('/').nth(before)).map(Value::from))
}

/// `clientid()`
pub(super) fn clientid(context: &Context<'_>, arguments: &[Value]) -> Answer {
    known(arguments, Some(context.input.client_id.unwrap_or("n/a")))
}

/// `principal()`
pub(super) fn principal(context: &Context<'_>, arguments: &[Value]) -> Answer {
    known(arguments, context.input.principal)
}

/// `accountid()`
pub(super) fn accountid(context: &Context<'_>, arguments: &[Value]) -> Answer {
    known(arguments, Some(context.input.account_id))
}

/// `traceid()`
pub(super) fn traceid(context: &Context<'_>, arguments: &[Value]) -> Answer {
    known(arguments, context.input.trace_id)
}

/// `sourceip()`
pub(super) fn sourceip(context: &Context<'_>, arguments: &[Value]) -> Answer {
    known(arguments, context.input.source_ip)
}

/// `sql_version()`
pub(super) fn sql_version(context: &Context<'_>, arguments: &[Value]) -> Answer {
    known(arguments, Some(context.version.as_str()))
}

/// `newuuid()`: version 4 of sixteen random bytes (RFC 9562 section 5.4).
pub(super) fn newuuid(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let random = u128::from_be_bytes(context.input.random.bytes());
    let version_and_variant = (random & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = format!("{version_and_variant:032x}");
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    known(arguments, Some(&text))
}

/// `get_mqtt_property(name)`
pub(super) fn get_mqtt_property(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [Value::String(name)] = arguments else { return Ok(None) };
    let properties = context.input.properties;
    Ok(match &**name {
        "content_type" => properties.and_then(|all| all.content_type.as_deref()).map(Value::from),
        "response_topic" => properties.and_then(|all| all.response_topic.as_deref()).map(Value::from),
        "correlation_data" => {
            let data = properties.and_then(|all| all.correlation_data.as_ref());
            data.map(|data| Value::string(STANDARD.encode(data)))
        }
        "format_indicator" if properties.is_some_and(|all| all.utf8_payload) => Some("UTF8_DATA".into()),
        "format_indicator" => Some("UNSPECIFIED_BYTES".into()),
        _ => None,
    })
}

/// `get_user_properties(key)`: all values of the key; without argument every property as an object of one
/// member.
pub(super) fn get_user_properties(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let all = context.input.properties.map_or(&[][..], |all| all.user_properties.as_slice());
    context.spend(u64::try_from(all.len()).unwrap_or(u64::MAX))?;
    let values: Vec<Value> = match arguments {
        [] => all.iter().map(|(key, value)| one_member(key, value)).collect(),
        [Value::String(wanted)] => {
            let found = all.iter().filter(|(key, _)| **key == **wanted);
            found.map(|(_, value)| Value::from(value.as_str())).collect()
        }
        _ => Vec::new(),
    };
    Ok((!values.is_empty()).then(|| Value::array(values)))
}

fn one_member(key: &str, value: &str) -> Value {
    Value::object(Object::from_iter([(Text::from(key), Value::from(value))]))
}
