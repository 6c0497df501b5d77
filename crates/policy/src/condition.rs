//! Conditions: an operator, a key, and the values it is compared with (security.md 9.6; AWS page "IAM JSON
//! policy elements: Condition operators").

mod operand;
mod operator;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::template::Reading;
use crate::variable::{Scope, Variable};
use operand::Operand;
pub(crate) use operator::Operator;
use operator::{Quantifier, Test};

/// One key under one operator. All conditions of a statement must hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    operator: Operator,
    key: Variable,
    /// The key as the document writes it.
    written_key: Box<str>,
    /// Any of them may match.
    operands: Vec<Operand>,
}

impl Condition {
    /// Reads the values; the error is the one that the operator cannot take.
    pub(crate) fn new(
        operator: Operator,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Self, String> {
        let reading = Reading { variables, wildcards: operator.test.has_wildcards() };
        let read = |value: &String| Operand::read(operator.test, value, reading).ok_or_else(|| value.clone());
        let operands = values.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { operator, key: Variable::read(key), written_key: key.into(), operands })
    }

    /// Whether the condition is true. `deny`: it belongs to a Deny statement.
    pub(crate) fn holds(&self, scope: &Scope<'_>, deny: bool) -> bool {
        if deny && scope.settings.unresolved_deny_is_match && !self.is_complete(scope) {
            return true;
        }
        let values = self.key.values(scope);
        if self.operator.test == Test::Null {
            return self.operands.iter().any(|operand| operand.is_bool(values.is_empty()));
        }
        if values.is_empty() {
            return self.holds_for_no_value();
        }
        let mut each = values.iter().map(|value| self.matches_any(value, scope) != self.operator.negated);
        match self.operator.quantifier {
            Quantifier::All => each.all(|holds| holds),
            Quantifier::Any => each.any(|holds| holds),
            // Several values without a quantifier: `Equals` asks for one of them, `NotEquals` for none.
            Quantifier::Single if self.operator.negated => each.all(|holds| holds),
            Quantifier::Single => each.any(|holds| holds),
        }
    }

    /// A missing key and an empty set are the same. `ForAllValues` is true of it, `ForAnyValue` false.
    fn holds_for_no_value(&self) -> bool {
        self.operator.if_exists
            || match self.operator.quantifier {
                Quantifier::All => true,
                Quantifier::Any => false,
                Quantifier::Single => self.operator.negated,
            }
    }

    fn matches_any(&self, value: &str, scope: &Scope<'_>) -> bool {
        self.operands.iter().any(|operand| operand.matches(self.operator.test, value, scope))
    }

    fn is_complete(&self, scope: &Scope<'_>) -> bool {
        self.operands.iter().all(|operand| operand.is_complete(scope))
    }

    /// Adds the names of the key, unless its absence was asked about, and of variables that have no value.
    pub(crate) fn missing(&self, scope: &Scope<'_>, names: &mut BTreeSet<String>) {
        let may_be_absent = self.operator.test == Test::Null || self.operator.if_exists;
        if !may_be_absent && !self.key.is_known(scope) {
            names.insert(self.written_key.to_string());
        }
        for operand in &self.operands {
            operand.missing(scope, names);
        }
    }
}
