//! Random statements, templates and payloads, evaluated: nothing panics, and outputs stay within their bound. What
//! `crates/fuzz` finds by coverage, this does by numbers.
//!
//! `cargo run --release -p fleethaven-rulesql --example torture -- 10000000 [SEED]`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it tells how far it is, and how long that took"
)]

use std::time::Instant;

use bytes::Bytes;
use fleethaven_rulesql::{
    External, ExternalError, Input, MqttProperties, Outcome, Payload, SqlVersion, Statement, Template, Value,
    Variables, json,
};

const VERSIONS: [SqlVersion; 3] = [SqlVersion::V2015_10_08, SqlVersion::V2016_03_23, SqlVersion::Beta];
/// Functions of one to three arguments; wrong counts are Undefined.
const FUNCTIONS: [&str; 75] = [
    "abs",
    "ceil",
    "floor",
    "round",
    "trunc",
    "sign",
    "mod",
    "remainder",
    "nanvl",
    "bitand",
    "bitor",
    "bitxor",
    "bitnot",
    "rand",
    "sqrt",
    "power",
    "exp",
    "ln",
    "log",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "atan2",
    "concat",
    "upper",
    "lower",
    "trim",
    "ltrim",
    "rtrim",
    "lpad",
    "rpad",
    "length",
    "numbytes",
    "substring",
    "indexof",
    "startswith",
    "endswith",
    "replace",
    "chr",
    "regexp_matches",
    "regexp_replace",
    "regexp_substr",
    "md2",
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "isnull",
    "isundefined",
    "get",
    "get_or_default",
    "transform",
    "encode",
    "decode",
    "timestamp",
    "parse_time",
    "time_to_epoch",
    "topic",
    "clientid",
    "newuuid",
    "get_mqtt_property",
    "get_user_properties",
    "aws_lambda",
    "get_thing_shadow",
    "get_registry_data",
    "sql_version",
    "principal",
];
const LEAVES: [&str; 40] = [
    "a",
    "b",
    "c.d",
    "a.b.c",
    "*",
    "@v",
    "nope",
    "1",
    "0",
    "-1",
    "2.50",
    "1E999",
    "1E-999",
    "0.000001",
    "'12'",
    "'x y'",
    "''",
    "'base64'",
    "'proto'",
    "'enrichArray'",
    "'yyyy-MM-dd''T''HH:mm:ss.SSSZ'",
    "'2020-01-02'",
    "'Asia/Tokyo'",
    "'(a|b)*c+'",
    "'[a-z&&[^b]]{2,5}'",
    "'$1${x}'",
    "'\\d\\Q(\\E\\p{Lower}'",
    "null",
    "true",
    "false",
    "[1,'a',null]",
    "{'k': a, 'l': {}}",
    "9999999999999999999999999999999999",
    "12345678901234567890.12345678901234",
    "'é😀'",
    "timestamp()",
    "'a.b'",
    "[]",
    "{}",
    "\"it's\"",
];
const OPERATORS: [&str; 14] = ["+", "-", "*", "/", "%", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "IN"];
const TYPES: [&str; 5] = ["Int", "String", "Decimal", "Double", "Boolean"];
const NOISE: [&str; 16] =
    ["(", ")", "[", "]", "{", "}", ",", ".", "'", "\"", "@", "SELECT", "FROM", "WHERE", "é", "\0"];

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll()).unwrap_or_default() % end.max(1)
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of.get(self.below(of.len())).copied().unwrap_or_default()
    }
}

fn expression(dice: &mut Dice, depth: usize, text: &mut String) {
    if depth == 0 || dice.below(4) == 0 {
        return text.push_str(dice.one(&LEAVES));
    }
    let inner = |dice: &mut Dice, text: &mut String| expression(dice, depth - 1, text);
    match dice.below(12) {
        0..4 => {
            text.push('(');
            inner(dice, text);
            text.extend([") ", dice.one(&OPERATORS), " ("]);
            inner(dice, text);
            text.push(')');
        }
        4..9 => {
            text.extend([dice.one(&FUNCTIONS), "("]);
            for n in 0..dice.below(4) {
                text.push_str(if n > 0 { ", " } else { "" });
                inner(dice, text);
            }
            text.push(')');
        }
        9 => {
            text.push_str("cast(");
            inner(dice, text);
            text.extend([" AS ", dice.one(&TYPES), ")"]);
        }
        10 => {
            text.push_str("(SELECT *, ");
            inner(dice, text);
            text.push_str(" AS r FROM ");
            inner(dice, text);
            text.push_str(" AS e WHERE e <> 1)");
        }
        _ => {
            text.push_str("CASE ");
            inner(dice, text);
            text.push_str(" WHEN ");
            inner(dice, text);
            text.push_str(" THEN ");
            inner(dice, text);
            text.push_str(" ELSE NOT 1 END");
        }
    }
}

fn payload(dice: &mut Dice) -> String {
    let mut text = String::from("{\"a\":");
    let values = [
        "1",
        "-0.0",
        "1e5",
        "10.0",
        "\"x\"",
        "\"\\u00e9\\ud83d\"",
        "null",
        "[1,\"a\",{\"b\":2.0}]",
        "{\"b\":{\"c\":[]}}",
        "1E1000",
        "0.1234567890123456789012345678901234567",
        "true",
        "\"12\"",
        "[{\"e\":1},{\"e\":2}]",
    ];
    text.push_str(dice.one(&values));
    text.push_str(",\"b\":");
    text.push_str(dice.one(&values));
    text.push_str(",\"c\":{\"d\":");
    text.push_str(dice.one(&values));
    text.push_str("}}");
    if dice.below(8) == 0 {
        let at = dice.below(text.len());
        if text.is_char_boundary(at) {
            text.truncate(at);
        }
    }
    text
}

/// Answers, defers and fails in turn.
struct Fickle(u64);

impl External for Fickle {
    fn call(&mut self, _: &str, arguments: &[Value]) -> Result<Value, ExternalError> {
        self.0 += 1;
        match self.0 % 3 {
            0 => Err(ExternalError::Deferred),
            1 => Err(ExternalError::Failed("no".to_owned())),
            _ => Ok(arguments.first().cloned().unwrap_or_default()),
        }
    }
}

/// Runs one; whether it was a statement.
fn once(dice: &mut Dice, properties: &MqttProperties) -> bool {
    let mut made = String::new();
    expression(dice, 4, &mut made);
    if dice.below(10) == 0 {
        let (at, noise) = (dice.below(made.len()), dice.one(&NOISE));
        if made.is_char_boundary(at) {
            made.insert_str(at, noise);
        }
    }
    let version = VERSIONS.get(dice.below(3)).copied().unwrap_or_default();
    let sql = match dice.below(3) {
        0 => format!("SET @v = b SELECT {made} AS r, * FROM 'a/#' WHERE NOT nope = 1 OR true"),
        1 => format!("SELECT VALUE {made}"),
        _ => format!("SELECT a AS x.y, {made} AS x.z FROM 'a/#' WHERE {made}"),
    };
    let payload = Payload::new(Bytes::from(payload(dice)));
    let input = Input {
        topic: "a/b/c",
        client_id: Some("client"),
        principal: None,
        source_ip: Some("192.0.2.1"),
        trace_id: None,
        account_id: "123456789012",
        rule_name: "rule",
        now_ms: i64::try_from(dice.roll() >> 12).unwrap_or_default() - (1 << 40),
        properties: Some(properties),
        random: &|| [7; 16],
    };
    let mut external = Fickle(dice.roll());
    if let Ok(template) = Template::parse(&format!("x${{{made}}}y"), version) {
        let _ = template.render(&input, &payload, &Variables::default(), &mut external);
    }
    let Ok(statement) = Statement::parse(&sql, version) else { return false };
    if let Outcome::Fired(fired) = statement.evaluate(&input, &payload, &mut external) {
        assert!(fired.output.into_bytes().len() <= json::MAX_TEXT + 1024, "{sql}");
    }
    true
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (count, seed) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(1));
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let properties =
        MqttProperties { user_properties: vec![("a".to_owned(), "b".to_owned())], ..Default::default() };
    let start = Instant::now();
    let evaluated = (0..count).filter(|_| once(&mut dice, &properties)).count();
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} executions, {evaluated} of them statements, seed {seed}: no panic, {seconds:.0} s");
}
