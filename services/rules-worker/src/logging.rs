//! AWS's log entries about rules, as far as accounts ask for them (operations.md section 4).

use fleethaven_logging::{Entry, LogEvent, LogLevel};
use fleethaven_types::Message;
use serde_json::json;

use crate::actions::{Action, Error};
use crate::execute::Engine;
use crate::rules::CompiledRule;

/// Each does nothing but one relaxed load where nobody wants entries.
impl Engine<'_> {
    fn entry(&self, rule: &CompiledRule, message: &Message, event: (LogEvent, LogLevel)) -> Option<Entry> {
        if !self.logs.is_on() {
            return None;
        }
        let entry = self.logs.about_rule(&message.publisher, &rule.name, event, message.trace_id())?;
        Some(entry.on(&message.topic))
    }

    /// A message is one that the rule is for.
    pub(crate) fn log_match(&self, rule: &CompiledRule, message: &Message) {
        if let Some(entry) = self.entry(rule, message, (LogEvent::RuleMatch, LogLevel::Info)) {
            self.logs.write(entry);
        }
    }

    /// The statement has regular expressions that cannot be used: what they decide is not decided.
    pub(crate) fn log_patterns(&self, rule: &CompiledRule, message: &Message) {
        let Some(pattern) = rule.statement.unusable_patterns().first() else { return };
        let event = (LogEvent::RuleExecution, LogLevel::Warn);
        let Some(entry) = self.entry(rule, message, event) else { return };
        self.logs.write(entry.explained(&format!("the regular expression '{pattern}' cannot be used")));
    }

    /// An action begins.
    pub(crate) fn log_start(&self, rule: &CompiledRule, message: &Message, action: &dyn Action) {
        if let Some(entry) = self.entry(rule, message, (LogEvent::StartingRuleExecution, LogLevel::Debug)) {
            self.logs.write(entry.with("ruleAction", action.name()));
        }
    }

    /// An action has ended, all its tries told as one.
    pub(crate) fn log_action(
        &self,
        rule: &CompiledRule,
        message: &Message,
        action: &dyn Action,
        error: Option<&Error>,
    ) {
        if error.is_some_and(|error| error.throttled) {
            self.log_throttled(rule, message);
        }
        let level = if error.is_some() { LogLevel::Error } else { LogLevel::Info };
        let Some(entry) = self.entry(rule, message, (LogEvent::RuleExecution, level)) else { return };
        let entry = entry.with("ruleAction", action.name());
        self.logs.write(match error {
            Some(error) => {
                let entry = entry.with("resources", json!({"resource": error.resource}));
                entry.because("RuleExecutionFailure", &error.message)
            }
            None => entry,
        });
    }

    /// WHERE is neither true nor false: something is missing, or of another type than the statement takes it for.
    pub(crate) fn log_condition(&self, rule: &CompiledRule, message: &Message) {
        let event = (LogEvent::RuleExecution, LogLevel::Warn);
        let Some(entry) = self.entry(rule, message, event) else { return };
        self.logs.write(entry.explained("WHERE is neither true nor false"));
    }

    /// A message has waited too long for the target of an action of its rule.
    fn log_throttled(&self, rule: &CompiledRule, message: &Message) {
        let event = (LogEvent::RuleMessageThrottled, LogLevel::Error);
        let Some(entry) = self.entry(rule, message, event) else { return };
        let details = format!("Message for Rule {} throttled", rule.name);
        self.logs.write(entry.because("RuleExecutionThrottled", &details));
    }

    /// A function of the SQL has asked somebody, or the statement as a whole has failed.
    pub(crate) fn log_function(
        &self,
        rule: &CompiledRule,
        message: &Message,
        function: Option<&str>,
        failure: Option<&str>,
    ) {
        let level = if failure.is_some() { LogLevel::Error } else { LogLevel::Debug };
        let Some(mut entry) = self.entry(rule, message, (LogEvent::FunctionExecution, level)) else { return };
        if let Some(function) = function {
            entry = entry.with("resources", json!({"function": function}));
        }
        self.logs.write(match failure {
            Some(failure) => entry.because("FunctionExecutionFailure", failure),
            None => entry,
        });
    }
}

#[cfg(test)]
mod tests;
