//! Text (spec section 8.2). Indexes and lengths count Unicode code points.

use std::borrow::Cow;

use crate::{
    evaluate::{Context, Failure},
    json::{MAX_TEXT, TooLarge},
    value::Value,
};

/// Most spaces `lpad` and `rpad` add.
const MAX_PADDING: i128 = 1000;

type Answer = Result<Option<Value>, Failure>;
/// Two texts, if both arguments have one.
type Pair<'v> = Option<(Cow<'v, str>, Cow<'v, str>)>;

/// `concat(…)`: Arrays splice, Strings join, one argument stays itself, numbers alone give Undefined.
pub(super) fn concat(context: &Context<'_>, arguments: &[Value]) -> Answer {
    if let [only] = arguments {
        return Ok(Some(only.clone()));
    }
    if arguments.iter().any(|argument| matches!(argument, Value::Array(_))) {
        return splice(context, arguments).map(Some);
    }
    if arguments.iter().any(|argument| matches!(argument, Value::String(_))) {
        return join(context, arguments);
    }
    Ok(None)
}

fn splice(context: &Context<'_>, arguments: &[Value]) -> Result<Value, Failure> {
    let mut items = Vec::new();
    for argument in arguments {
        match argument {
            Value::Array(inner) => {
                context.spend(u64::try_from(inner.len()).unwrap_or(u64::MAX))?;
                items.extend(inner.iter().cloned());
            }
            Value::Undefined => {}
            other => items.push(other.clone()),
        }
    }
    Ok(Value::array(items))
}

fn join(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let mut joined = String::new();
    for argument in arguments {
        let Some(text) = context.text(argument)? else { return Ok(None) };
        joined.push_str(&text);
    }
    context.made(joined)
}

/// The String made of the one argument's text.
fn mapped(context: &Context<'_>, arguments: &[Value], map: fn(&str) -> String) -> Answer {
    let [argument] = arguments else { return Ok(None) };
    let Some(text) = context.text(argument)? else { return Ok(None) };
    context.made(map(&text))
}

/// `upper(str)`; on containers it works on the JSON text.
pub(super) fn upper(context: &Context<'_>, arguments: &[Value]) -> Answer {
    mapped(context, arguments, str::to_uppercase)
}

/// `lower(str)`; on containers it works on the JSON text.
pub(super) fn lower(context: &Context<'_>, arguments: &[Value]) -> Answer {
    mapped(context, arguments, str::to_lowercase)
}

/// `trim(str)`: all white space.
pub(super) fn trim(context: &Context<'_>, arguments: &[Value]) -> Answer {
    mapped(context, arguments, |text| text.trim().to_owned())
}

/// `ltrim(str)`: spaces and tabs.
pub(super) fn ltrim(context: &Context<'_>, arguments: &[Value]) -> Answer {
    mapped(context, arguments, |text| text.trim_start_matches([' ', '\t']).to_owned())
}

/// `rtrim(str)`: spaces and tabs.
pub(super) fn rtrim(context: &Context<'_>, arguments: &[Value]) -> Answer {
    mapped(context, arguments, |text| text.trim_end_matches([' ', '\t']).to_owned())
}

/// Text and as many spaces as the second argument says.
fn padding<'v>(
    context: &Context<'_>,
    arguments: &'v [Value],
) -> Result<Option<(Cow<'v, str>, String)>, Failure> {
    let [text, count] = arguments else { return Ok(None) };
    let (Some(text), Some(count)) = (context.text(text)?, count.to_index()) else { return Ok(None) };
    let count = usize::try_from(count.clamp(0, MAX_PADDING)).unwrap_or(0);
    Ok(Some((text, " ".repeat(count))))
}

/// `lpad(str, n)`: n spaces before, not up to width n.
pub(super) fn lpad(context: &Context<'_>, arguments: &[Value]) -> Answer {
    match padding(context, arguments)? {
        Some((text, spaces)) => context.made(spaces + &text),
        None => Ok(None),
    }
}

/// `rpad(str, n)`: n spaces behind.
pub(super) fn rpad(context: &Context<'_>, arguments: &[Value]) -> Answer {
    match padding(context, arguments)? {
        Some((text, spaces)) => context.made(text.into_owned() + &spaces),
        None => Ok(None),
    }
}

fn counted(context: &Context<'_>, arguments: &[Value], count: fn(&str) -> usize) -> Answer {
    let [argument] = arguments else { return Ok(None) };
    let text = context.text(argument)?;
    Ok(text.and_then(|text| i128::try_from(count(&text)).ok()).map(Value::Int))
}

/// `length(str)`: characters.
pub(super) fn length(context: &Context<'_>, arguments: &[Value]) -> Answer {
    counted(context, arguments, |text| text.chars().count())
}

/// `numbytes(str)`: UTF-8 bytes.
pub(super) fn numbytes(context: &Context<'_>, arguments: &[Value]) -> Answer {
    counted(context, arguments, str::len)
}

/// `substring(str, from[, to])`: both dropped to whole numbers and clamped to the text.
pub(super) fn substring(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let (text, from, to) = match arguments {
        [text, from] => (text, from.to_index(), Some(i128::MAX)),
        [text, from, to] => (text, from.to_index(), to.to_index()),
        _ => return Ok(None),
    };
    let (Some(text), Some(from), Some(to)) = (context.text(text)?, from, to) else { return Ok(None) };
    let place = |index: i128| usize::try_from(index.max(0)).unwrap_or(usize::MAX);
    let (from, to) = (place(from), place(to));
    let part: String = text.chars().skip(from).take(to.saturating_sub(from)).collect();
    context.made(part)
}

/// Both arguments as text.
fn pair<'v>(context: &Context<'_>, arguments: &'v [Value]) -> Result<Pair<'v>, Failure> {
    let [a, b] = arguments else { return Ok(None) };
    Ok(context.text(a)?.zip(context.text(b)?))
}

/// `indexof(str, str)`: 0-based, -1 if absent; never searches an Array.
pub(super) fn indexof(context: &Context<'_>, arguments: &[Value]) -> Answer {
    if let Some(Value::Array(_)) = arguments.first() {
        return Ok(None);
    }
    let Some((text, part)) = pair(context, arguments)? else { return Ok(None) };
    let before = text.find(&*part).and_then(|at| text.get(..at));
    let place = before.map_or(-1, |before| i128::try_from(before.chars().count()).unwrap_or(-1));
    Ok(Some(Value::Int(place)))
}

/// `startswith(str, str)`
pub(super) fn startswith(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let pair = pair(context, arguments)?;
    Ok(pair.map(|(text, start)| Value::Boolean(text.starts_with(&*start))))
}

/// `endswith(str, str)`
pub(super) fn endswith(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let pair = pair(context, arguments)?;
    Ok(pair.map(|(text, end)| Value::Boolean(text.ends_with(&*end))))
}

/// `replace(str, find, with)`: every literal occurrence. The size is known before the text is made.
pub(super) fn replace(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [text, find, with] = arguments else { return Ok(None) };
    let (Some(text), Some(find), Some(with)) =
        (context.text(text)?, context.text(find)?, context.text(with)?)
    else {
        return Ok(None);
    };
    let grown = text.matches(&*find).count().saturating_mul(with.len());
    if grown > MAX_TEXT {
        return Err(TooLarge.into());
    }
    context.made(text.replace(&*find, &with))
}

/// `chr(int)`: ASCII only.
pub(super) fn chr(arguments: &[Value]) -> Option<Value> {
    let [code] = arguments else { return None };
    let code = u8::try_from(code.to_index()?).ok().filter(u8::is_ascii)?;
    Some(Value::string(char::from(code).to_string()))
}
