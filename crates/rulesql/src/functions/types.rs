//! Type tests, casts, access, base64 (spec section 8.3).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use crate::{
    ast::CastType,
    decimal::Decimal,
    evaluate::{Context, Failure},
    json,
    value::Value,
};

/// Largest result of `transform`, in bytes of JSON.
const MAX_TRANSFORMED: usize = 128 * 1024;
/// Standard alphabet; padding may be left away, as in Java.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Answer = Result<Option<Value>, Failure>;

/// `cast(x AS type)`: the conversions of section 5, and numbers ↔ Boolean.
pub(crate) fn cast(context: &Context<'_>, operand: &Value, target: CastType) -> Answer {
    let number = match operand {
        Value::Null | Value::Undefined => return Ok(None),
        Value::Boolean(truth) => Value::Int(i128::from(*truth)),
        other => other.clone(),
    };
    Ok(match target {
        CastType::String => match context.text(operand)? {
            Some(text) => context.made(text.into_owned())?,
            None => None,
        },
        CastType::Int => Some(number.to_int()),
        CastType::Decimal => number.to_decimal().map(Value::Decimal),
        CastType::Double => number
            .to_decimal()
            .and_then(|decimal| Decimal::from_double(decimal.to_double()))
            .map(Value::Decimal),
        CastType::Boolean => match operand {
            Value::Int(whole) => Some(Value::Boolean(*whole != 0)),
            Value::Decimal(decimal) => Some(Value::Boolean(!decimal.is_zero())),
            other => other.to_boolean().map(Value::Boolean),
        },
    })
}

/// `isNull(x)`
pub(super) fn is_null(arguments: &[Value]) -> Option<Value> {
    let [value] = arguments else { return None };
    Some(Value::Boolean(matches!(value, Value::Null)))
}

/// `isUndefined(x)`
pub(super) fn is_undefined(arguments: &[Value]) -> Option<Value> {
    let [value] = arguments else { return None };
    Some(Value::Boolean(value.is_undefined()))
}

/// `get(c, k)`
pub(super) fn get(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [container, key] = arguments else { return Ok(None) };
    item(context, container, key)
}

/// The item of an Array, the character of a String, the member of an Object; 0-based.
pub(crate) fn item(context: &Context<'_>, container: &Value, key: &Value) -> Answer {
    let index = || key.to_index().and_then(|index| usize::try_from(index).ok());
    Ok(match (container, key) {
        (Value::Object(object), Value::String(key)) => object.get(key).cloned(),
        (Value::Array(items), _) => index().and_then(|index| items.get(index).cloned()),
        (Value::String(text), _) => {
            context.spend_bytes(text.len())?;
            let character = index().and_then(|index| text.chars().nth(index));
            character.map(|character| Value::string(character.to_string()))
        }
        _ => None,
    })
}

/// `transform('enrichArray', obj, arr)`: each element of the array with the members of the object, which win.
pub(super) fn transform(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [Value::String(mode), Value::Object(extra), Value::Array(elements)] = arguments else {
        return Ok(None);
    };
    if &**mode != "enrichArray" {
        return Ok(None);
    }
    let mut enriched = Vec::with_capacity(elements.len());
    for element in elements.iter() {
        let Value::Object(element) = element else { return Ok(None) };
        context.spend(u64::try_from(element.len() + extra.len()).unwrap_or(u64::MAX))?;
        let mut object = element.as_ref().clone();
        for (key, value) in extra.iter() {
            object.insert(key.clone(), value.clone());
        }
        enriched.push(Value::object(object));
    }
    let result = Value::array(enriched);
    let mut writer = json::Writer::new(context.version.is_second(), MAX_TRANSFORMED);
    Ok(writer.value(&result).is_ok().then_some(result))
}

/// `encode(x, 'base64')`: `*` gives the bytes of the payload, anything else its String form.
pub(super) fn encode(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [value, Value::String(scheme)] = arguments else { return Ok(None) };
    if &**scheme != "base64" {
        return Ok(None);
    }
    if let Value::Raw(bytes) = value {
        return context.made(STANDARD.encode(bytes));
    }
    match context.text(value)? {
        Some(text) => context.made(STANDARD.encode(text.as_bytes())),
        None => Ok(None),
    }
}

/// `decode(x, 'base64')`: the JSON value the bytes spell, else their text; Null for what is no base64 or no
/// text.
pub(crate) fn decode(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [value, Value::String(scheme)] = arguments else { return Ok(None) };
    if &**scheme != "base64" {
        return Ok(None);
    }
    let Some(text) = context.text(value)? else { return Ok(None) };
    let Ok(bytes) = LENIENT.decode(text.as_bytes()) else { return Ok(Some(Value::Null)) };
    if let Some(document) = json::read(&bytes) {
        return Ok(Some(document));
    }
    match String::from_utf8(bytes) {
        Ok(text) => context.made(text),
        Err(_) => Ok(Some(Value::Null)),
    }
}
