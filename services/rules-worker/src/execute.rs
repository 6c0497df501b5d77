//! One rule for one message: SQL, actions, error action.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::traces::{Begun, Kind};
use fleethaven_fabric::{Publish, Traces};
use fleethaven_logging::Logs;
use fleethaven_rulesql::{
    Failure, Fired, Input, MqttProperties, NoExternal, Outcome, Payload, Random, Variables,
};
use fleethaven_storage::RuleEntryId;
use fleethaven_topics::name;
use fleethaven_types::{Behaviour, Limits, Message, Timestamp};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::actions::{Action, Error, FailedBatch, InBatch, Invocation};
use crate::error_action;
use crate::external::{Answers, Asker, Functions, Replay};
use crate::metrics::Metrics;
use crate::outside::Outside;
use crate::room::{Place, Room};
use crate::rules::CompiledRule;
use crate::waiting::Waiting;

/// How long a message waits for the one that tells the error action of their batch: longer than an error action may take that does not
/// wait for the broker.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// What rules are executed with.
pub struct Engine<'a> {
    /// Which entry of the queue the message is: the same each time it is given out.
    pub entry: RuleEntryId,
    /// The way into the broker.
    pub publish: &'a dyn Publish,
    /// What waits for it.
    pub waiting: &'a Waiting,
    /// The way out of it.
    pub outside: &'a Arc<Outside>,
    /// Who answers the functions of the SQL that ask others.
    pub functions: &'a dyn Functions,
    /// For what statements make.
    pub room: &'a Room,
    /// Counters.
    pub metrics: &'a Metrics,
    /// Which topics may be republished to.
    pub behaviour: &'a Behaviour,
    /// How large a republished message may be.
    pub limits: &'a Limits,
    /// What became of messages.
    pub traces: &'a Traces,
    /// AWS's log entries.
    pub logs: &'a Logs,
    /// The time.
    pub clock: fn() -> Timestamp,
}

/// The context of a message as texts, made once for all of its rules.
pub struct MessageContext {
    account: String,
    source_ip: Option<String>,
    trace_id: String,
    properties: Option<MqttProperties>,
}

impl MessageContext {
    /// The context of `message`.
    pub fn of(message: &Message) -> Self {
        let properties = message.properties.as_deref().map(|sent| MqttProperties {
            content_type: sent.content_type.as_ref().map(ToString::to_string),
            response_topic: sent.response_topic.as_ref().map(ToString::to_string),
            correlation_data: sent.correlation_data.clone(),
            utf8_payload: sent.payload_is_utf8.unwrap_or(false),
            user_properties: sent
                .user_properties
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        });
        Self {
            account: message.publisher.scope.account.to_string(),
            source_ip: message.publisher.source_ip.map(|ip| ip.to_string()),
            trace_id: trace_id(message).to_string(),
            properties,
        }
    }
}

/// What every action of a rule is run with: message, context, payload, variables, and the payload of the actions.
type Given<'a> = (&'a Message, &'a Input<'a>, &'a Payload, Left<'a>, &'a Bytes);

/// What a statement leaves for its actions beside the payload.
#[derive(Clone, Copy)]
struct Left<'a> {
    variables: &'a Variables,
    /// What it was answered: secrets may be in its variables.
    answers: &'a Answers,
}

/// The span of what runs actions, where the message's trace is recorded.
type Below<'a> = Option<&'a Begun>;

fn random() -> [u8; 16] {
    *Uuid::new_v4().as_bytes()
}

impl Engine<'_> {
    /// Executes `rule` for `message`; how many actions it ran.
    pub async fn execute(
        &self,
        rule: &CompiledRule,
        message: &Message,
        context: &MessageContext,
        payload: &Payload,
    ) -> u64 {
        let labels = [context.account.as_str(), rule.name.as_str()];
        self.metrics.executed.with_label_values(&labels).inc();
        self.log_match(rule, message);
        self.log_patterns(rule, message);
        if rule.statement.needs_document() && payload.is_unreadable() {
            self.metrics.parse_error.with_label_values(&labels).inc();
        }
        let mut span = self.traces.of(message).and_then(|trace| trace.routed("rule", Kind::Consumer));
        if let Some(span) = &mut span {
            span.set("fleethaven.rule", rule.name.as_str());
            span.set("messaging.destination.name", message.topic.as_str());
        }
        let replay = rule.statement.uses_external().then(|| Replay::of(random));
        let drawn: &dyn Random = replay.as_ref().map_or(&random, |replay| replay);
        let input = input(rule, message, context, drawn);
        let answers = Answers::default();
        let (outcome, _place) = match &replay {
            Some(replay) => self.asked(rule, message, (&input, payload), (replay, &answers)).await,
            None => {
                let evaluate = || rule.statement.evaluate(&input, payload, &mut NoExternal);
                self.room.evaluate(rule.scope.account, copies(rule), evaluate).await
            }
        };
        let mut ran = 0;
        match outcome {
            Outcome::Fired(fired) => {
                ran = self.fire(rule, (message, &input, payload), (fired, &answers), span.as_ref()).await
            }
            Outcome::NotFired { condition_is_boolean: true } => {}
            Outcome::NotFired { condition_is_boolean: false } => {
                self.log_condition(rule, message);
                tracing::debug!(
                    account = labels[0],
                    rule = labels[1],
                    trace_id = context.trace_id,
                    "WHERE is no Boolean"
                );
            }
            Outcome::Failed(failure) => {
                tracing::warn!(
                    account = labels[0], rule = labels[1], trace_id = context.trace_id, topic = input.topic,
                    event = "FunctionExecution", reason = %failure, "the rule ended"
                );
                self.log_function(rule, message, None, Some(&failure.to_string()));
                if let Some(span) = &mut span {
                    span.fail(failure);
                }
            }
        }
        if let Some(span) = span {
            span.end();
        }
        ran
    }

    /// Evaluates a statement that asks others, again for each answer.
    async fn asked(
        &self,
        rule: &CompiledRule,
        message: &Message,
        (input, payload): (&Input<'_>, &Payload),
        (replay, answers): (&Replay, &Answers),
    ) -> (Outcome, Place<'_>) {
        loop {
            replay.rewind();
            let evaluate = || rule.statement.evaluate(input, payload, &mut answers.external());
            let evaluated = self.room.evaluate(rule.scope.account, copies(rule), evaluate).await;
            let deferred = matches!(evaluated.0, Outcome::Failed(Failure::Deferred(_)));
            if !deferred || !self.settle(rule, message, answers).await {
                return evaluated;
            }
        }
    }

    /// Makes the call that was deferred; false if there is none to be made any more.
    async fn settle(&self, rule: &CompiledRule, message: &Message, answers: &Answers) -> bool {
        let trace_id = trace_id(message);
        let asker = Asker { scope: rule.scope, rule: &rule.name, trace_id: Some(trace_id) };
        let Some(settled) = answers.settle(self.functions, asker).await else { return false };
        let (account, function) = (rule.scope.account.to_string(), settled.function.as_str());
        let result = if settled.failure.is_none() { "success" } else { "failure" };
        self.metrics.function.with_label_values(&[&account, &rule.name, function, result]).inc();
        self.log_function(rule, message, Some(function), settled.failure.as_deref());
        if let Some(reason) = settled.failure {
            tracing::warn!(
                account,
                rule = rule.name,
                function,
                %trace_id,
                topic = %message.topic,
                event = "FunctionExecution",
                reason,
                "a function failed"
            );
        }
        true
    }

    /// Runs a rule's actions, and its error action where one fails; how many.
    async fn fire(
        &self,
        rule: &CompiledRule,
        (message, input, original): (&Message, &Input<'_>, &Payload),
        (fired, answers): (Fired, &Answers),
        below: Below<'_>,
    ) -> u64 {
        let left = Left { variables: &fired.variables, answers };
        let payload = fired.output.into_bytes();
        let given = (message, input, original, left, &payload);
        let placed = rule.actions.iter().map(Box::as_ref).enumerate();
        let outcomes = join_all(placed.map(|action| self.run(rule, action, given, below))).await;
        let failures = outcomes.into_iter().filter_map(Result::err);
        let (of_batches, failures): (Vec<_>, Vec<_>) = failures.partition(|(_, error)| error.batch.is_some());
        let (mut ran, of_message) = (rule.actions.len(), (message, input, original, left));
        if !failures.is_empty() {
            let payload = error_action::payload(&rule.name, input.topic, message, &failures);
            self.fail(rule, of_message, payload, below).await;
            ran += usize::from(rule.error_action.is_some());
        }
        for (action, error) in &of_batches {
            let Some(InBatch { batch, tells }) = &error.batch else { continue };
            if *tells {
                let payload = error_action::payload_of_batch(&rule.name, batch, *action, error);
                let _told = Tells(batch);
                self.fail(rule, of_message, payload, below).await;
                ran += usize::from(rule.error_action.is_some());
            } else {
                // No message of the batch is done before it is told of.
                match &rule.error_action {
                    Some(action) if action.may_wait_for_broker() => batch.told().await,
                    _ => drop(tokio::time::timeout(TOLD_WITHIN, batch.told()).await),
                }
            }
        }
        ran as u64
    }

    fn invocation<'a>(
        &'a self,
        rule: &CompiledRule,
        given: Given<'a>,
        answers: &'a Answers,
        span: Below<'a>,
    ) -> Invocation<'a> {
        let Self { entry, publish, waiting, outside, behaviour, limits, clock, .. } = *self;
        let (message, input, original, Left { variables, .. }, payload) = given;
        Invocation {
            scope: rule.scope,
            entry,
            place: None,
            message,
            input,
            original,
            variables,
            answers,
            payload: payload.clone(),
            publish,
            waiting,
            outside,
            behaviour,
            limits,
            span,
            now: clock(),
        }
    }

    async fn run<'r>(
        &self,
        rule: &CompiledRule,
        (place, action): (usize, &'r dyn Action),
        given: Given<'_>,
        below: Below<'_>,
    ) -> Result<(), (&'r dyn Action, Error)> {
        let answers = Answers::default();
        let span = action_span(below, action);
        let invocation =
            &Invocation { place: Some(place), ..self.invocation(rule, given, &answers, span.as_ref()) };
        self.log_start(rule, invocation.message, action);
        let result = self.retried(rule, action, invocation).await;
        let result = result.map_err(|error| hidden(error, [given.3.answers, &answers]));
        self.log_action(rule, invocation.message, action, result.as_ref().err());
        let (account, name) = (invocation.input.account_id, action.name());
        let outcome = if result.is_ok() { "success" } else { "failure" };
        self.metrics.action.with_label_values(&[account, &rule.name, name, outcome]).inc();
        if let Err(error) = &result {
            if error.throttled {
                self.metrics.rule_throttled.with_label_values(&[account, &rule.name]).inc();
            }
            tracing::warn!(
                account,
                rule = rule.name,
                action = name,
                resource = error.resource,
                trace_id = %trace_id(invocation.message),
                topic = invocation.input.topic,
                event = "RuleExecution",
                reason = error.message,
                "action failed"
            );
        }
        end(span, &result);
        result.map_err(|error| (action, error))
    }

    /// Runs the error action, if there is one. Its own failure is logged and counted, and leads to nothing further.
    async fn fail(
        &self,
        rule: &CompiledRule,
        (message, input, original, left): (&Message, &Input<'_>, &Payload, Left<'_>),
        payload: Vec<u8>,
        below: Below<'_>,
    ) {
        let Some(action) = &rule.error_action else { return };
        let payload = payload.into();
        let answers = Answers::default();
        let span = action_span(below, action.as_ref());
        let given = (message, input, original, left, &payload);
        let invocation = self.invocation(rule, given, &answers, span.as_ref());
        self.log_start(rule, message, action.as_ref());
        let result = self.retried(rule, action.as_ref(), &invocation).await;
        let result = result.map_err(|error| hidden(error, [left.answers, &answers]));
        self.log_action(rule, message, action.as_ref(), result.as_ref().err());
        let outcome = if result.is_ok() { "success" } else { "failure" };
        let labels = [input.account_id, &rule.name, action.name(), outcome];
        self.metrics.error_action.with_label_values(&labels).inc();
        end(span, &result);
        if let Err(error) = result {
            tracing::error!(
                account = input.account_id,
                rule = rule.name,
                action = action.name(),
                resource = error.resource,
                trace_id = %trace_id(message),
                topic = input.topic,
                event = "RuleExecution",
                reason = error.message,
                "error action failed"
            );
        }
    }
}

impl Engine<'_> {
    /// Runs an action, and again while its failure is transient, as its policy says.
    async fn retried(
        &self,
        rule: &CompiledRule,
        action: &dyn Action,
        invocation: &Invocation<'_>,
    ) -> Result<(), Error> {
        let (mut last, budget) = (None, action.policy().budget);
        let tries = self.tries(rule, action, invocation, &mut last);
        if action.may_wait_for_broker() {
            return tries.await;
        }
        tokio::time::timeout(budget, tries).await.unwrap_or_else(|_| {
            let reason = format!("no success within {} seconds", budget.as_secs());
            Err(last.unwrap_or_else(|| Error::transient(action.kind(), reason)))
        })
    }

    async fn tries(
        &self,
        rule: &CompiledRule,
        action: &dyn Action,
        invocation: &Invocation<'_>,
        last: &mut Option<Error>,
    ) -> Result<(), Error> {
        let (policy, begun) = (action.policy(), tokio::time::Instant::now());
        for failures in 1.. {
            let error = match self.once(rule, action, invocation).await {
                Err(error) if error.transient => error,
                settled => return settled,
            };
            let Some(pause) = policy.pause(failures, begun.elapsed(), dice()) else { return Err(error) };
            *last = Some(error);
            tokio::time::sleep(pause).await;
            let labels = [invocation.input.account_id, &rule.name, action.name()];
            self.metrics.retries.with_label_values(&labels).inc();
        }
        Ok(())
    }

    /// One try. An action whose templates asked somebody is run again with the answer.
    async fn once(
        &self,
        rule: &CompiledRule,
        action: &dyn Action,
        invocation: &Invocation<'_>,
    ) -> Result<(), Error> {
        loop {
            let result = action.run(invocation).await;
            if result.is_ok() || !self.settle(rule, invocation.message, invocation.answers).await {
                return result;
            }
        }
    }
}

/// Lets the others of a batch go on when its error action has run, or come to an end otherwise.
struct Tells<'a>(&'a FailedBatch);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// The span of an action, below that of its rule.
fn action_span(below: Below<'_>, action: &dyn Action) -> Option<Begun> {
    let mut span = below?.child("action", Kind::Client)?;
    span.set("fleethaven.action", action.name());
    Some(span)
}

fn end(span: Option<Begun>, result: &Result<(), Error>) {
    let Some(mut span) = span else { return };
    if let Err(error) = result {
        span.set("fleethaven.resource", error.resource.as_str());
        span.fail(&error.message);
    }
    span.end();
}

/// How often what a statement makes is there at a time: its payload, and what each action sends of it.
fn copies(rule: &CompiledRule) -> usize {
    1 + rule.actions.len()
}

/// The failure without the secrets that functions have answered: it is told in logs, traces and error documents.
fn hidden(error: Error, answers: [&Answers; 2]) -> Error {
    let hide = |text| answers.iter().fold(text, |text, answers| answers.hide(text));
    let (message, resource, details) = (hide(error.message), hide(error.resource), hide(error.details));
    Error { message, resource, details, ..error }
}

/// The trace id of a message, also of one that did not come over MQTT and has none for `traceid()`.
fn trace_id(message: &Message) -> Uuid {
    Uuid::from_u128(message.trace_id())
}

/// A number, any of which is as likely as the others.
pub(crate) fn dice() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

fn input<'a>(
    rule: &'a CompiledRule,
    message: &'a Message,
    context: &'a MessageContext,
    random: &'a dyn Random,
) -> Input<'a> {
    let client_id = message.publisher.client_id.as_deref();
    Input {
        topic: name::basic_ingest(&message.topic).map_or(&message.topic, |(_, rest)| rest),
        client_id,
        principal: message.publisher.principal.as_deref(),
        source_ip: context.source_ip.as_deref(),
        trace_id: client_id.is_some().then_some(context.trace_id.as_str()),
        account_id: &context.account,
        rule_name: &rule.name,
        now_ms: i64::try_from(message.received_at.as_millis()).unwrap_or(i64::MAX),
        properties: context.properties.as_ref(),
        random,
    }
}

#[cfg(test)]
mod tests;
