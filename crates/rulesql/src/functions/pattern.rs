//! Regular expressions (spec section 8.2): Java's syntax on a linear-time engine. Look-around and
//! back-references are refused, which makes the result Undefined.

use std::{
    borrow::Cow,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use regex::{Captures, Regex, RegexBuilder};

use super::{Body, Function};
use crate::{
    ast::Expr,
    evaluate::{Context, Failure},
    json::{MAX_TEXT, TooLarge},
    value::{Text, Value},
};

/// Bound of a compiled expression, in bytes.
const MAX_COMPILED: usize = 256 * 1024;
/// Bound of the cache an expression may fill while it searches, in bytes.
const MAX_CACHE: usize = 1024 * 1024;
/// Longest expression, in bytes.
const MAX_SOURCE: usize = 4096;
/// Deepest nesting of groups.
const MAX_NESTING: u32 = 50;
/// Part of the rest of a text that every match is charged for.
const LOOKED_AHEAD: usize = 64;
/// Price of compiling an expression, in steps.
const COMPILING: u64 = 5000;

type Answer = Result<Option<Value>, Failure>;

/// The compiled second argument of a function.
#[derive(Debug)]
pub(crate) enum CompiledPattern {
    /// The function takes none.
    None,
    /// A literal, compiled when the statement was parsed; `None` if it is no expression.
    Constant(Option<Regex>),
    /// Anything else: the last one seen is kept.
    Dynamic(Mutex<Option<Seen>>),
}

/// An expression and what became of it.
#[derive(Debug)]
pub(crate) struct Seen {
    source: Text,
    regex: Option<Arc<Regex>>,
}

/// An expression to search with. It is not cloned: a clone would have to make the memory that it searches in anew.
pub(crate) enum Pattern<'p> {
    Constant(&'p Regex),
    Dynamic(Arc<Regex>),
}

impl Deref for Pattern<'_> {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        match self {
            Self::Constant(regex) => regex,
            Self::Dynamic(regex) => regex,
        }
    }
}

impl CompiledPattern {
    pub(crate) fn of(function: &Function, argument: Option<&Expr>) -> Self {
        match (&function.body, argument) {
            (Body::Pattern(_), Some(Expr::Literal(Value::String(source)))) => Self::Constant(compile(source)),
            (Body::Pattern(_), _) => Self::Dynamic(Mutex::new(None)),
            _ => Self::None,
        }
    }

    /// The expression to search with; `None` if `argument` is none.
    pub(crate) fn regex(
        &self,
        context: &Context<'_>,
        argument: &Value,
    ) -> Result<Option<Pattern<'_>>, Failure> {
        let last = match self {
            Self::None => return Ok(None),
            Self::Constant(regex) => return Ok(regex.as_ref().map(Pattern::Constant)),
            Self::Dynamic(last) => last,
        };
        let Some(source) = context.text(argument)? else { return Ok(None) };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = last.as_ref().filter(|seen| *seen.source == *source) {
            return Ok(seen.regex.clone().map(Pattern::Dynamic));
        }
        context.spend(COMPILING)?;
        let regex = compile(&source).map(Arc::new);
        *last = Some(Seen { source: Text::from(source.into_owned()), regex: regex.clone() });
        Ok(regex.map(Pattern::Dynamic))
    }
}

fn compile(source: &str) -> Option<Regex> {
    if source.len() > MAX_SOURCE {
        return None;
    }
    RegexBuilder::new(&translate(source))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_CACHE)
        .nest_limit(MAX_NESTING)
        .build()
        .ok()
}

/// Java's reading where it differs: `\d \w \s` and `\p{Lower}` and its like are ASCII, `\Q…\E` quotes.
fn translate(source: &str) -> String {
    let mut translated = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        translated.push_str(plain);
        let mut characters = escaped.chars();
        match characters.next() {
            Some('Q') => {
                let (quoted, after) =
                    characters.as_str().split_once("\\E").unwrap_or((characters.as_str(), ""));
                translated.push_str(&regex::escape(quoted));
                rest = after;
                continue;
            }
            Some('d') => translated.push_str("[0-9]"),
            Some('D') => translated.push_str("[^0-9]"),
            Some('w') => translated.push_str("[0-9A-Za-z_]"),
            Some('W') => translated.push_str("[^0-9A-Za-z_]"),
            Some('s') => translated.push_str(r"[ \t\n\x0B\f\r]"),
            Some('S') => translated.push_str(r"[^ \t\n\x0B\f\r]"),
            Some(sign @ ('p' | 'P')) => {
                if let Some((class, after)) = posix(characters.as_str()) {
                    let not = if sign == 'P' { "^" } else { "" };
                    translated.extend(["[[:", not, class, ":]]"]);
                    rest = after;
                    continue;
                }
                translated.extend(['\\', sign]);
            }
            Some(other) => translated.extend(['\\', other]),
            None => translated.push('\\'),
        }
        rest = characters.as_str();
    }
    translated.push_str(rest);
    translated
}

/// The ASCII class at the start of `{Lower}…`, by its name in brackets, and what follows it.
fn posix(text: &str) -> Option<(&'static str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let class = match name {
        "Lower" => "lower",
        "Upper" => "upper",
        "ASCII" => "ascii",
        "Alpha" => "alpha",
        "Digit" => "digit",
        "Alnum" => "alnum",
        "Punct" => "punct",
        "Graph" => "graph",
        "Print" => "print",
        "Blank" => "blank",
        "Cntrl" => "cntrl",
        "XDigit" => "xdigit",
        "Space" => "space",
        _ => return None,
    };
    Some((class, after))
}

/// The text to search, paid for by the byte: searching is linear, but no copying.
fn subject<'v>(context: &Context<'_>, argument: &'v Value) -> Result<Option<Cow<'v, str>>, Failure> {
    let text = context.text(argument)?;
    context.spend(text.as_ref().map_or(0, |text| u64::try_from(text.len()).unwrap_or(u64::MAX)))?;
    Ok(text)
}

/// `regexp_matches(str, re)`: whether some part matches.
pub(super) fn matches(context: &Context<'_>, regex: &Regex, arguments: &[Value]) -> Answer {
    let [text, _] = arguments else { return Ok(None) };
    let text = subject(context, text)?;
    Ok(text.map(|text| Value::Boolean(regex.is_match(&text))))
}

/// `regexp_substr(str, re)`: the first match; Undefined without.
pub(super) fn substr(context: &Context<'_>, regex: &Regex, arguments: &[Value]) -> Answer {
    let [text, _] = arguments else { return Ok(None) };
    let Some(text) = subject(context, text)? else { return Ok(None) };
    Ok(regex.find(&text).map(|found| Value::string(found.as_str())))
}

/// `regexp_replace(str, re, with)`: all matches, with `$1` and `${name}` as in Java; a group that does not
/// exist makes it Undefined. As in Java, too, nothing may be found right behind a match, and is one more.
pub(super) fn replace(context: &Context<'_>, regex: &Regex, arguments: &[Value]) -> Answer {
    let [text, _, with] = arguments else { return Ok(None) };
    let (Some(text), Some(with)) = (subject(context, text)?, context.text(with)?) else { return Ok(None) };
    let mut replaced = String::new();
    let (mut copied, mut from) = (0, 0);
    while from <= text.len() {
        let Some(captures) = regex.captures_at(&text, from) else { break };
        let Some(whole) = captures.get(0) else { break };
        // Some expressions look at the whole rest of the text to find one short match.
        context.spend_bytes(with.len() + (text.len() - whole.end()) / LOOKED_AHEAD)?;
        replaced.push_str(text.get(copied..whole.start()).unwrap_or(""));
        if expand(&mut replaced, &with, &captures).is_none() {
            return Ok(None);
        }
        copied = whole.end();
        let behind =
            || text.get(whole.end()..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        from = whole.end() + if whole.is_empty() { behind() } else { 0 };
        if replaced.len() > MAX_TEXT {
            return Err(TooLarge.into());
        }
    }
    replaced.push_str(text.get(copied..).unwrap_or(""));
    context.made(replaced)
}

/// Appends the replacement of one match; `None` for a reference to no group, as Java refuses it.
fn expand(replaced: &mut String, with: &str, captures: &Captures<'_>) -> Option<()> {
    let mut rest = with;
    while let Some(at) = rest.find(['\\', '$']) {
        let (plain, special) = rest.split_at_checked(at)?;
        replaced.push_str(plain);
        if let Some(escaped) = special.strip_prefix('\\') {
            let mut characters = escaped.chars();
            replaced.push(characters.next()?);
            rest = characters.as_str();
        } else {
            let (group, after) = reference(special.get(1..)?, captures)?;
            replaced.push_str(group);
            rest = after;
        }
    }
    replaced.push_str(rest);
    Some(())
}

/// The text of the group named at the start of `reference`, and what follows it. Further digits belong to the
/// number as long as such a group exists.
fn reference<'c>(reference: &'c str, captures: &'c Captures<'_>) -> Option<(&'c str, &'c str)> {
    if let Some(named) = reference.strip_prefix('{') {
        let (name, after) = named.split_once('}')?;
        return Some((captures.name(name).map_or("", |group| group.as_str()), after));
    }
    let mut digits = reference.char_indices().map_while(|(at, c)| Some((at, c.to_digit(10)?)));
    let (_, first) = digits.next()?;
    let (mut number, mut length) = (usize::try_from(first).ok()?, 1);
    for (at, digit) in digits {
        let longer = number * 10 + usize::try_from(digit).ok()?;
        if longer >= captures.len() {
            break;
        }
        (number, length) = (longer, at + 1);
    }
    if number >= captures.len() {
        return None;
    }
    Some((captures.get(number).map_or("", |group| group.as_str()), reference.get(length..)?))
}
