//! Running a case, and judging what came of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Case, Expected, Stub, Verdict, compare::same, object};
use crate::{
    evaluate::Variables,
    external::{External, ExternalError},
    input::{Input, Payload, Random},
    json,
    statement::{Outcome, Statement},
    template::Template,
    value::{Object, Value},
    version::SqlVersion,
};

/// Where a publish reaches one rule only.
const BASIC_INGEST: &str = "$aws/rules/";

/// What came of a case.
enum Got {
    Refused(String),
    Failed(String),
    NotFired,
    Fired { payload: Bytes, rendered: Option<Result<String, String>> },
}

/// Answers external functions with the stubs of a case. A call that none fits fails.
struct Stubs<'c>(&'c [Stub]);

impl External for Stubs<'_> {
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, ExternalError> {
        let arguments = Value::array(arguments.to_vec());
        let fits = |stub: &&Stub| {
            stub.function.eq_ignore_ascii_case(name)
                && stub.arguments.as_ref().is_none_or(|wanted| same(wanted, &arguments, None))
        };
        let stub = self.0.iter().find(fits);
        stub.map(|stub| stub.answer.clone())
            .ok_or_else(|| ExternalError::Failed("no stub answers this call".to_owned()))
    }
}

impl Case {
    /// Runs the case. `random` is what `rand()` and `newuuid()` draw from.
    pub(super) fn check(&self, random: &dyn Random) -> Verdict {
        let got = self.run(random);
        Verdict {
            id: self.id.clone(),
            passed: self.judge(&got),
            got: self.shown(got),
            expected: self.expectation.clone(),
        }
    }

    fn run(&self, random: &dyn Random) -> Got {
        let parsed = self.parse();
        let (statement, template) = match parsed {
            Ok(parsed) => parsed,
            Err(reason) => return Got::Refused(reason),
        };
        let Some((topic, rule_name)) = self.seen(&statement) else { return Got::NotFired };
        let payload = Payload::new(self.payload.clone());
        let input = Input {
            topic,
            client_id: self.client_id.as_deref(),
            principal: self.principal.as_deref(),
            source_ip: self.source_ip.as_deref(),
            trace_id: self.trace_id.as_deref(),
            account_id: &self.account_id,
            rule_name,
            now_ms: self.now_ms,
            properties: self.properties.as_ref(),
            random,
        };
        match statement.evaluate(&input, &payload, &mut Stubs(&self.stubs)) {
            Outcome::NotFired { .. } => Got::NotFired,
            Outcome::Failed(failure) => Got::Failed(failure.to_string()),
            Outcome::Fired(fired) => {
                let rendered =
                    template.map(|template| self.render(&template, &input, &payload, &fired.variables));
                Got::Fired { payload: fired.output.into_bytes(), rendered }
            }
        }
    }

    fn parse(&self) -> Result<(Statement, Option<Template>), String> {
        let version: SqlVersion = self.version.parse().map_err(|error| format!("{error}"))?;
        let statement = Statement::parse(&self.sql, version).map_err(|error| error.to_string())?;
        let template = self.template.as_ref().map(|template| statement.template(&template.input));
        let template = template.transpose().map_err(|error| format!("the template: {error}"))?;
        Ok((statement, template))
    }

    /// The topic as the rule sees it, and the rule's name; `None` if the message is not for this rule: its topic does not
    /// match, Basic Ingest names another rule, or the rule has no FROM and is not named.
    fn seen(&self, statement: &Statement) -> Option<(&str, &str)> {
        let own = self.rule_name.as_deref();
        let Some(ingest) = self.topic.strip_prefix(BASIC_INGEST) else {
            let seen = statement.topic_filter().is_some() && statement.matches(&self.topic);
            return seen.then_some((&self.topic, own.unwrap_or_default()));
        };
        let (named, topic) = ingest.split_once('/').unwrap_or((ingest, ""));
        let seen = own.is_none_or(|own| own == named) && statement.matches(topic);
        seen.then_some((topic, named))
    }

    fn render(
        &self,
        template: &Template,
        input: &Input<'_>,
        payload: &Payload,
        variables: &Variables,
    ) -> Result<String, String> {
        let rendered = template.render(input, payload, variables, &mut Stubs(&self.stubs));
        rendered.map_err(|failure| failure.to_string())
    }

    fn judge(&self, got: &Got) -> bool {
        match (&self.expected, got) {
            (Expected::Refused, Got::Refused(_))
            | (Expected::Failed, Got::Failed(_))
            | (Expected::NotFired, Got::NotFired) => true,
            (Expected::Fired { output, text, bytes }, Got::Fired { payload, rendered }) => {
                let wanted = self.template.as_ref().and_then(|template| template.wanted.as_ref());
                output.as_ref().is_none_or(|output| {
                    json::read(payload).is_some_and(|payload| same(output, &payload, self.approx))
                }) && text.as_ref().is_none_or(|text| text.as_bytes() == payload)
                    && bytes.as_ref().is_none_or(|bytes| bytes == payload)
                    && wanted
                        .is_none_or(|wanted| rendered.as_ref().is_some_and(|got| got.as_ref() == Ok(wanted)))
            }
            _ => false,
        }
    }

    /// What came, in the form of `expect`.
    fn shown(&self, got: Got) -> Value {
        let (payload, rendered) = match got {
            Got::Refused(reason) => {
                return object([("error", true.into()), ("reason", reason.as_str().into())]);
            }
            Got::Failed(reason) => {
                return object([
                    ("fires", false.into()),
                    ("output", Value::Null),
                    ("failed", true.into()),
                    ("reason", reason.as_str().into()),
                ]);
            }
            Got::NotFired => return object([("fires", false.into()), ("output", Value::Null)]),
            Got::Fired { payload, rendered } => (payload, rendered),
        };
        let mut members = Object::from_iter([("fires".into(), true.into())]);
        let (wants_text, wants_bytes) = match &self.expected {
            Expected::Fired { text, bytes, .. } => (text.is_some(), bytes.is_some()),
            _ => (false, false),
        };
        let (output, text) = (json::read(&payload), std::str::from_utf8(&payload));
        if let Some(output) = &output {
            members.insert("output".into(), output.clone());
        }
        if let Ok(text) = text
            && (wants_text || output.is_none())
        {
            members.insert("outputText".into(), text.into());
        }
        if wants_bytes || text.is_err() {
            members.insert("outputBase64".into(), Value::string(STANDARD.encode(&payload)));
        }
        match rendered {
            Some(Ok(text)) => members.insert("template".into(), text.as_str().into()),
            Some(Err(reason)) => members.insert("reason".into(), reason.as_str().into()),
            None => {}
        }
        Value::object(members)
    }
}
