//! The functions of the dialect (spec section 8): one table, one file per family.

mod context;
mod doubles;
mod hashing;
mod numbers;
mod pattern;
mod strings;
mod time;
pub(crate) mod types;

use regex::Regex;

pub(crate) use self::pattern::CompiledPattern;
use crate::{
    evaluate::{Context, Failure},
    value::Value,
};

/// Most `decode(…, 'proto', …)` calls of a statement.
pub(crate) const MAX_PROTOBUF_CALLS: usize = 2;
/// Arguments of a protobuf `decode`.
pub(crate) const PROTOBUF_ARGUMENTS: usize = 6;

/// A function: wrong argument counts and types give Undefined, here `None`, never an error.
#[derive(Debug)]
pub(crate) struct Function {
    /// Name in lower case; calls may use any case.
    pub(crate) name: &'static str,
    /// 1: in every dialect, 2: from 2016-03-23.
    pub(crate) since: u8,
    pub(crate) body: Body,
}

type PureBody = fn(&[Value]) -> Option<Value>;
type ContextBody = fn(&Context<'_>, &[Value]) -> Result<Option<Value>, Failure>;
type PatternBody = fn(&Context<'_>, &Regex, &[Value]) -> Result<Option<Value>, Failure>;

/// How a function is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// From its arguments alone.
    Pure(PureBody),
    /// From its arguments, the message and the budget.
    Context(ContextBody),
    /// With the regular expression that is its second argument.
    Pattern(PatternBody),
    /// `get_or_default`, which catches failures of its first argument.
    GetOrDefault,
    /// `decode`, which is external where it decodes protobuf.
    Decode,
    /// By [`crate::External`], with one of these counts of arguments.
    External(&'static [usize]),
}

impl Function {
    pub(crate) fn is_external(&self) -> bool {
        matches!(self.body, Body::External(_))
    }

    /// Arguments that no variable may stand in: `roleArn` and mode arguments (spec section 4.5).
    pub(crate) fn constant_places(&self, count: usize) -> Vec<usize> {
        let last = count.saturating_sub(1);
        match self.name {
            "transform" => vec![0],
            "get_registry_data" => vec![0, last],
            "machinelearning_predict" => vec![1],
            "get_dynamodb" | "get_thing_shadow" | "get_secret" => vec![last],
            _ => Vec::new(),
        }
    }
}

/// The function called `name`, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// The functions that [`crate::External`] may be asked for, in lower case.
pub fn external_functions() -> impl Iterator<Item = &'static str> {
    let asks = |function: &&Function| matches!(function.body, Body::External(_) | Body::Decode);
    FUNCTIONS.iter().filter(asks).map(|function| function.name)
}

const fn pure(name: &'static str, since: u8, body: PureBody) -> Function {
    Function { name, since, body: Body::Pure(body) }
}

const fn context(name: &'static str, since: u8, body: ContextBody) -> Function {
    Function { name, since, body: Body::Context(body) }
}

const fn pattern(name: &'static str, since: u8, body: PatternBody) -> Function {
    Function { name, since, body: Body::Pattern(body) }
}

const fn external(name: &'static str, since: u8, counts: &'static [usize]) -> Function {
    Function { name, since, body: Body::External(counts) }
}

/// Every function AWS documents. The external ones, and `decode` with scheme `proto`, need an [`crate::External`] that
/// answers them.
static FUNCTIONS: [Function; 81] = [
    pure("abs", 1, numbers::abs),
    pure("ceil", 1, numbers::ceil),
    pure("floor", 1, numbers::floor),
    pure("round", 1, numbers::round),
    pure("trunc", 1, numbers::trunc),
    pure("sign", 1, numbers::sign),
    context("mod", 1, numbers::remainder),
    context("remainder", 1, numbers::remainder),
    pure("nanvl", 1, numbers::nanvl),
    pure("bitand", 1, numbers::bitand),
    pure("bitor", 1, numbers::bitor),
    pure("bitxor", 1, numbers::bitxor),
    pure("bitnot", 1, numbers::bitnot),
    context("rand", 1, numbers::rand),
    pure("sqrt", 1, doubles::sqrt),
    pure("power", 1, doubles::power),
    pure("exp", 1, doubles::exp),
    pure("ln", 1, doubles::ln),
    pure("log", 1, doubles::log),
    pure("sin", 1, doubles::sin),
    pure("cos", 1, doubles::cos),
    pure("tan", 1, doubles::tan),
    pure("asin", 1, doubles::asin),
    pure("acos", 1, doubles::acos),
    pure("atan", 1, doubles::atan),
    pure("sinh", 1, doubles::sinh),
    pure("cosh", 1, doubles::cosh),
    pure("tanh", 1, doubles::tanh),
    pure("atan2", 1, doubles::atan2),
    context("concat", 1, strings::concat),
    context("upper", 1, strings::upper),
    context("lower", 1, strings::lower),
    context("trim", 1, strings::trim),
    context("ltrim", 1, strings::ltrim),
    context("rtrim", 1, strings::rtrim),
    context("lpad", 1, strings::lpad),
    context("rpad", 1, strings::rpad),
    context("length", 2, strings::length),
    context("numbytes", 2, strings::numbytes),
    context("substring", 1, strings::substring),
    context("indexof", 2, strings::indexof),
    context("startswith", 1, strings::startswith),
    context("endswith", 1, strings::endswith),
    context("replace", 1, strings::replace),
    pure("chr", 1, strings::chr),
    pattern("regexp_matches", 1, pattern::matches),
    pattern("regexp_replace", 1, pattern::replace),
    pattern("regexp_substr", 1, pattern::substr),
    context("md2", 1, hashing::md2),
    context("md5", 1, hashing::md5),
    context("sha1", 1, hashing::sha1),
    context("sha224", 1, hashing::sha224),
    context("sha256", 1, hashing::sha256),
    context("sha384", 1, hashing::sha384),
    context("sha512", 1, hashing::sha512),
    pure("isnull", 1, types::is_null),
    pure("isundefined", 2, types::is_undefined),
    context("get", 1, types::get),
    Function { name: "get_or_default", since: 2, body: Body::GetOrDefault },
    context("transform", 2, types::transform),
    context("encode", 2, types::encode),
    Function { name: "decode", since: 2, body: Body::Decode },
    context("timestamp", 1, time::timestamp),
    context("parse_time", 2, time::parse_time),
    context("time_to_epoch", 2, time::time_to_epoch),
    context("topic", 1, context::topic),
    context("clientid", 1, context::clientid),
    context("principal", 1, context::principal),
    context("accountid", 1, context::accountid),
    context("traceid", 1, context::traceid),
    context("sourceip", 2, context::sourceip),
    context("newuuid", 1, context::newuuid),
    context("sql_version", 1, context::sql_version),
    context("get_mqtt_property", 2, context::get_mqtt_property),
    context("get_user_properties", 2, context::get_user_properties),
    external("aws_lambda", 1, &[2]),
    external("get_dynamodb", 2, &[4, 6]),
    external("get_thing_shadow", 2, &[2, 3]),
    external("get_registry_data", 2, &[3]),
    external("get_secret", 1, &[3, 4]),
    external("machinelearning_predict", 1, &[3]),
];

#[cfg(test)]
mod page;
