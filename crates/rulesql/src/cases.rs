//! Cases: a statement, the message it sees, and what is expected of both. People keep files of them beside their rules; the
//! format is that of the shared vectors (spec section 14).
//!
//! An item of a file that is no case fails like a case: what cannot be read would otherwise pass unseen. Numbers of a payload
//! reach the statement as they are written in the file.

mod compare;
mod read;
mod run;

use bytes::Bytes;

use crate::{Random, input::MqttProperties, json::Writer, value::Object, value::Value};

/// One case of a file.
#[derive(Debug)]
struct Case {
    id: String,
    sql: String,
    version: String,
    topic: String,
    payload: Bytes,
    client_id: Option<String>,
    principal: Option<String>,
    source_ip: Option<String>,
    trace_id: Option<String>,
    account_id: String,
    rule_name: Option<String>,
    now_ms: i64,
    properties: Option<MqttProperties>,
    stubs: Vec<Stub>,
    template: Option<FieldTemplate>,
    /// Tolerance for every number of the output, relative to the expected one where that is above 1.
    approx: Option<f64>,
    expected: Expected,
    /// `expect` as it stands in the file, with `template` where there is one.
    expectation: Value,
}

/// A canned answer of an external function.
#[derive(Debug)]
struct Stub {
    function: String,
    /// Evaluated arguments that it answers; `None` for any.
    arguments: Option<Value>,
    answer: Value,
}

/// A field of an action, and the text expected of it.
#[derive(Debug)]
struct FieldTemplate {
    input: String,
    wanted: Option<String>,
}

#[derive(Debug)]
enum Expected {
    /// The statement or the template is no SQL.
    Refused,
    /// The rule ends with a failure.
    Failed,
    /// No action runs: the topic does not match, or WHERE is not true.
    NotFired,
    /// The actions run; each part that is given is held against their payload.
    Fired { output: Option<Value>, text: Option<String>, bytes: Option<Bytes> },
}

/// A file that holds no cases: it is no JSON array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: this is not a JSON array of cases")]
pub struct NotCases {
    /// Line of the first character that does not fit, from 1.
    pub line: u32,
    /// Its column in characters, from 1.
    pub column: u32,
}

/// An item of a file that is no case.
#[derive(Clone, Debug, PartialEq)]
struct NotACase {
    /// Its place in the file, from 1.
    number: usize,
    /// Its `id`, where it has one.
    id: Option<String>,
    /// What is wrong with it.
    reason: String,
    /// Its `expect`, whatever that is.
    expectation: Value,
}

impl NotACase {
    /// Fails, and says why.
    fn verdict(&self) -> Verdict {
        Verdict {
            id: self.id.clone().unwrap_or_else(|| format!("case {}", self.number)),
            passed: false,
            got: object([("invalid", self.reason.as_str().into())]),
            expected: match &self.expectation {
                Value::Undefined => Value::Null,
                expectation => expectation.clone(),
            },
        }
    }
}

/// The verdicts on a file's items, in its order.
///
/// # Errors
/// Where the file is no JSON array.
pub fn check(file: &[u8], random: &dyn Random) -> Result<Vec<Verdict>, NotCases> {
    let verdict = |item: &Result<Case, NotACase>| match item {
        Ok(case) => case.check(random),
        Err(none) => none.verdict(),
    };
    Ok(Case::read_all(file)?.iter().map(verdict).collect())
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The `id` of the case.
    pub id: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// What came, in the form of `expect`; `reason` says why a statement was refused or failed, `invalid` why this is no case.
    pub got: Value,
    /// What was expected.
    pub expected: Value,
}

/// The verdicts as one document: `{"results":[{"id","passed","got","expected"}…]}`.
#[must_use]
pub fn report(verdicts: &[Verdict]) -> String {
    let results = verdicts.iter().map(|verdict| {
        let members = [
            ("id", Value::from(verdict.id.as_str())),
            ("passed", Value::Boolean(verdict.passed)),
            ("got", verdict.got.clone()),
            ("expected", verdict.expected.clone()),
        ];
        object(members)
    });
    text(&object([("results", Value::array(results.collect()))]))
}

/// The JSON of a value, however long: what is written here was bounded when it was made.
fn text(value: &Value) -> String {
    let mut writer = Writer::new(false, usize::MAX);
    // Nothing is beyond this bound.
    let _ = writer.value(value);
    writer.text
}

fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::object(Object::from_iter(members.map(|(name, value)| (name.into(), value))))
}
