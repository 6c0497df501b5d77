//! A statement tried out: what each part of it gives for a message, for people who write rules.

use crate::{
    ast::Name,
    evaluate::{Evaluation, Failure, Scope},
    external::External,
    input::{Input, Payload},
    statement::Statement,
    value::Value,
};

/// The parts of a statement and their values for one message.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// The variables of SET, without `@`.
    pub variables: Vec<(String, Value)>,
    /// The value of WHERE; `None` for a statement without.
    pub condition: Option<Value>,
    /// The items of SELECT with the names they get, dotted where an alias is, `*` where members are copied; what is Undefined
    /// is left out of the output.
    pub items: Vec<(String, Value)>,
}

impl Statement {
    /// Evaluates every part, SELECT also where WHERE refuses.
    ///
    /// # Errors
    /// The failure that would end the rule.
    pub fn trial<'a>(
        &'a self,
        input: &'a Input<'a>,
        payload: &'a Payload,
        external: &'a mut dyn External,
    ) -> Result<Trial, Failure> {
        let parsed = self.parsed();
        let mut evaluation = Evaluation::new(self.version(), input, payload, Vec::new(), external);
        for assignment in &parsed.assignments {
            let value = evaluation.value(assignment, Scope::Message)?;
            evaluation.variables.push(value);
        }
        let condition = parsed.condition.as_ref();
        let condition = condition.map(|condition| evaluation.value(condition, Scope::Message)).transpose()?;
        let mut items = Vec::with_capacity(parsed.select.items.len());
        for item in &parsed.select.items {
            let name = match &item.name {
                Name::Splice => "*".to_owned(),
                Name::Path(path) => path.join("."),
            };
            items.push((name, evaluation.value(&item.expr, Scope::Message)?));
        }
        let variables = parsed.variables.iter().cloned().zip(evaluation.variables).collect();
        Ok(Trial { variables, condition, items })
    }
}
