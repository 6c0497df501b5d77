//! One expression to its value.

use smallvec::SmallVec;

use super::{Evaluation, Failure, Scope, operators};
use crate::{
    ast::{Call, Case, Expr, Step},
    external::ExternalError,
    functions::{Body, Function, MAX_PROTOBUF_CALLS, PROTOBUF_ARGUMENTS, types},
    value::{Object, Value},
};

/// A second `get_dynamodb` ends the rule.
const MAX_DYNAMODB_CALLS: usize = 1;
/// Most calls of other functions outside the engine: a nested query would call one for every element.
const MAX_CALLS: usize = 16;

/// Evaluated arguments: few calls have more, and need an allocation for them.
type Arguments = SmallVec<[Value; 3]>;

impl Evaluation<'_> {
    pub(crate) fn value(&mut self, expr: &Expr, scope: Scope<'_>) -> Result<Value, Failure> {
        self.context.spend(1)?;
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Attribute(name) => Ok(self.attribute(name, scope)),
            Expr::Star => Ok(self.star(scope)),
            Expr::PayloadBytes => Ok(Value::Raw(self.context.payload.bytes().clone())),
            Expr::Variable(place) => Ok(self.variables.get(*place).cloned().unwrap_or_default()),
            Expr::Path { base, steps } => self.path(base, steps, scope),
            Expr::Not(operand) => {
                let operand = self.value(operand, scope)?.to_boolean();
                Ok(operand.map(|truth| Value::Boolean(!truth)).into())
            }
            Expr::Negate(operand) => {
                let operand = self.value(operand, scope)?;
                Ok(self.context.normal(operators::negate(&operand)))
            }
            Expr::And(operands) => self.logic(operands, scope, true),
            Expr::Or(operands) => self.logic(operands, scope, false),
            Expr::Compare { first, rest } => {
                let mut left = self.value(first, scope)?;
                for (op, right) in rest {
                    let right = self.value(right, scope)?;
                    left = operators::compare(&self.context, *op, &left, &right)?;
                }
                Ok(left)
            }
            Expr::Arithmetic { first, rest } => {
                let mut left = self.value(first, scope)?;
                for (op, right) in rest {
                    let right = self.value(right, scope)?;
                    self.context.spend(1)?;
                    left = operators::arithmetic(&self.context, *op, &left, &right)?;
                }
                Ok(left)
            }
            Expr::Call(call) => self.call(call, scope),
            Expr::Cast { operand, target } => {
                let operand = self.value(operand, scope)?;
                Ok(self.context.normal(types::cast(&self.context, &operand, *target)?.into()))
            }
            Expr::Case(case) => self.case(case, scope),
            Expr::Exists(query) => self.exists(query, scope),
            Expr::Query(query) => self.query(query, scope),
            Expr::Array(items) => self.array(items, scope),
            Expr::Object(members) => {
                let mut object = Object::new();
                for (key, member) in members {
                    let value = self.value(member, scope)?;
                    if !value.is_undefined() {
                        object.insert(key.clone(), value);
                    }
                }
                Ok(Value::object(object))
            }
        }
    }

    fn attribute(&self, name: &str, scope: Scope<'_>) -> Value {
        let value = match scope {
            Scope::Message => self.context.payload.attribute(std::iter::once(name)),
            Scope::Element { value, alias } if alias == Some(name) => value.clone(),
            Scope::Element { value, .. } => value.member(name),
        };
        self.context.normal(value)
    }

    pub(super) fn star(&self, scope: Scope<'_>) -> Value {
        match scope {
            Scope::Message if self.context.payload.bytes().is_empty() => Value::Undefined,
            Scope::Message => self.context.payload.star(),
            Scope::Element { value, .. } => self.context.normal(value.clone()),
        }
    }

    fn path(&mut self, base: &Expr, steps: &[Step], scope: Scope<'_>) -> Result<Value, Failure> {
        if let (Scope::Message, Expr::Attribute(first), Some(count)) = (scope, base, members(steps)) {
            self.context.spend(count)?;
            let names = std::iter::once(first).chain(steps.iter().filter_map(Step::member));
            return Ok(self.context.normal(self.context.payload.attribute(names.map(|name| &**name))));
        }
        let mut value = self.value(base, scope)?;
        for step in steps {
            self.context.spend(1)?;
            value = match step {
                Step::Member(name) => value.member(name),
                Step::Index(index) => {
                    let index = self.value(index, scope)?;
                    types::item(&self.context, &value, &index)?.into()
                }
            };
        }
        Ok(self.context.normal(value))
    }

    /// AND (`all`) or OR. Strict: one operand that is no Boolean makes the whole Undefined, so the rest need
    /// not be looked at (spec section 6.1).
    fn logic(&mut self, operands: &[Expr], scope: Scope<'_>, all: bool) -> Result<Value, Failure> {
        let mut result = all;
        for operand in operands {
            let Some(truth) = self.value(operand, scope)?.to_boolean() else { return Ok(Value::Undefined) };
            result = if all { result && truth } else { result || truth };
        }
        Ok(Value::Boolean(result))
    }

    fn case(&mut self, case: &Case, scope: Scope<'_>) -> Result<Value, Failure> {
        let operand = self.value(&case.operand, scope)?;
        if operand.is_undefined() {
            return Ok(Value::Undefined);
        }
        for (tested, result) in &case.branches {
            let tested = self.value(tested, scope)?;
            if self.context.equal(&operand, &tested)? == Some(true) {
                return self.value(result, scope);
            }
        }
        case.otherwise.as_ref().map_or(Ok(Value::Undefined), |otherwise| self.value(otherwise, scope))
    }

    /// An array literal: Undefined entries are dropped.
    fn array(&mut self, items: &[Expr], scope: Scope<'_>) -> Result<Value, Failure> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let value = self.value(item, scope)?;
            if !value.is_undefined() {
                values.push(value);
            }
        }
        Ok(Value::array(values))
    }

    fn arguments(&mut self, call: &Call, scope: Scope<'_>) -> Result<Arguments, Failure> {
        call.arguments.iter().map(|argument| self.value(argument, scope)).collect()
    }

    fn call(&mut self, call: &Call, scope: Scope<'_>) -> Result<Value, Failure> {
        let result = match call.function.body {
            Body::GetOrDefault => return self.get_or_default(call, scope),
            Body::Pure(body) => body(&self.arguments(call, scope)?),
            Body::Context(body) => {
                let arguments = self.arguments(call, scope)?;
                body(&self.context, &arguments)?
            }
            Body::Pattern(body) => {
                let arguments = self.arguments(call, scope)?;
                let Some(second) = arguments.get(1) else { return Ok(Value::Undefined) };
                let Some(pattern) = call.pattern.regex(&self.context, second)? else {
                    return Ok(Value::Undefined);
                };
                body(&self.context, &pattern, &arguments)?
            }
            Body::Decode => {
                let arguments = self.arguments(call, scope)?;
                if is_protobuf(&arguments) {
                    Some(self.call_external(call.function, &arguments)?)
                } else {
                    types::decode(&self.context, &arguments)?
                }
            }
            Body::External(counts) => {
                let arguments = self.arguments(call, scope)?;
                if !counts.contains(&arguments.len()) {
                    return Ok(Value::Undefined);
                }
                Some(self.call_external(call.function, &arguments)?)
            }
        };
        Ok(self.context.normal(result.into()))
    }

    fn call_external(&mut self, function: &Function, arguments: &[Value]) -> Result<Value, Failure> {
        let name = function.name;
        let (calls, most, reason) = match name {
            "get_dynamodb" => (&mut self.dynamodb_calls, MAX_DYNAMODB_CALLS, "a statement may call it once"),
            "decode" => {
                (&mut self.protobuf_calls, MAX_PROTOBUF_CALLS, "a statement may decode protobuf twice")
            }
            _ => (&mut self.other_calls, MAX_CALLS, "a statement may call out 16 times"),
        };
        *calls += 1;
        if *calls > most {
            return Err(Failure::Function { function: name, reason });
        }
        self.context.spend(100)?;
        self.external.call(name, arguments).map_err(|error| match error {
            ExternalError::Deferred => Failure::Deferred(name),
            error => Failure::External { function: name, error },
        })
    }

    /// `get_or_default(x[, d])`: d is looked at only if x is Null, Undefined or failed.
    fn get_or_default(&mut self, call: &Call, scope: Scope<'_>) -> Result<Value, Failure> {
        let (wanted, default) = match call.arguments.as_slice() {
            [wanted] => (wanted, None),
            [wanted, default] => (wanted, Some(default)),
            _ => return Ok(Value::Undefined),
        };
        match self.value(wanted, scope) {
            Ok(Value::Null | Value::Undefined) => {}
            Err(failure) if failure.has_default() => {}
            other => return other,
        }
        default.map_or(Ok(Value::Undefined), |default| self.value(default, scope))
    }
}

/// How many steps there are, if all of them are members.
fn members(steps: &[Step]) -> Option<u64> {
    steps.iter().all(|step| step.member().is_some()).then(|| u64::try_from(steps.len()).unwrap_or(u64::MAX))
}

/// Whether these are arguments of `decode(…, 'proto', …)`.
fn is_protobuf(arguments: &[Value]) -> bool {
    let scheme = arguments.get(1);
    arguments.len() == PROTOBUF_ARGUMENTS
        && matches!(scheme, Some(Value::String(scheme)) if &**scheme == "proto")
}
