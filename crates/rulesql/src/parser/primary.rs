//! Literals, names, calls, CAST, CASE, EXISTS, array and object literals, brackets.

use super::Parser;
use crate::{
    ast::{Call, Case, CastType, Expr},
    decimal::Decimal,
    error::Error,
    functions::{self, Body, CompiledPattern, Function, PROTOBUF_ARGUMENTS},
    json,
    lexer::{Keyword, Kind, Token},
    value::{Text, Value},
};

impl<'t> Parser<'t> {
    pub(super) fn primary(&mut self) -> Result<Expr, Error> {
        match self.token.kind.clone() {
            Kind::Number(text) => self.literal(number(text)),
            Kind::String(text) => self.literal(Value::string(&*text)),
            Kind::Keyword(Keyword::Null) => self.literal(Value::Null),
            Kind::Keyword(Keyword::True) => self.literal(Value::Boolean(true)),
            Kind::Keyword(Keyword::False) => self.literal(Value::Boolean(false)),
            Kind::Keyword(Keyword::Case) => self.nested(Self::case),
            Kind::Keyword(Keyword::Exists) => self.nested(Self::exists),
            Kind::Variable(name) => self.variable(name),
            Kind::Identifier(_) => self.name(),
            Kind::Symbol("*") => {
                self.advance()?;
                self.reads_payload |= self.queries == 0;
                Ok(Expr::Star)
            }
            Kind::Symbol("(") => self.nested(Self::brackets),
            Kind::Symbol("[") => self.nested(Self::array),
            Kind::Symbol("{") => self.nested(Self::object),
            _ => Err(self.error("an expression")),
        }
    }

    fn literal(&mut self, value: Value) -> Result<Expr, Error> {
        self.advance()?;
        let value = if self.version.is_second() { value.normalized() } else { value };
        Ok(Expr::Literal(value))
    }

    fn variable(&mut self, name: &str) -> Result<Expr, Error> {
        let Some(place) = self.variables.iter().position(|declared| declared == name) else {
            return Err(self.error("a variable declared to the left by SET"));
        };
        self.advance()?;
        Ok(Expr::Variable(place))
    }

    /// An attribute, or a call where `(` follows.
    fn name(&mut self) -> Result<Expr, Error> {
        let token = self.advance()?;
        let Kind::Identifier(name) = token.kind else { return Err(self.error_at(&token, "a name")) };
        if !self.at_symbol("(") {
            self.reads_payload |= self.queries == 0;
            return Ok(Expr::Attribute(Text::from(name)));
        }
        if name.eq_ignore_ascii_case("cast") {
            return self.nested(Self::cast);
        }
        let function =
            functions::find(name).ok_or_else(|| self.error_at(&token, "a function of the dialect"))?;
        if function.since > 1 && !self.version.is_second() {
            return Err(self.error_at(&token, "a function of awsIotSqlVersion 2015-10-08"));
        }
        self.nested(|parser| parser.call(function, &token))
    }

    fn call(&mut self, function: &'static Function, token: &Token<'t>) -> Result<Expr, Error> {
        self.expect_symbol("(")?;
        let mut arguments = Vec::new();
        if !self.at_symbol(")") {
            arguments.push(self.argument(function, 0)?);
            while self.take_symbol(",")? {
                arguments.push(self.argument(function, arguments.len())?);
            }
        }
        if !self.at_symbol(")") {
            return Err(self.error("`,` or `)`"));
        }
        self.advance()?;
        self.check_call(function, &arguments, token)?;
        let pattern = CompiledPattern::of(function, arguments.get(1));
        if let (CompiledPattern::Constant(None), Some(Expr::Literal(Value::String(source)))) =
            (&pattern, arguments.get(1))
        {
            self.unusable_patterns.push(source.to_string());
        }
        Ok(Expr::Call(Call { function, arguments, pattern }))
    }

    fn argument(&mut self, function: &Function, place: usize) -> Result<Expr, Error> {
        let (read_before, externals_before, start) = (self.reads_payload, self.externals, self.token.clone());
        let argument = self.expression()?;
        let default = matches!(function.body, Body::GetOrDefault) && place == 1;
        if default && self.externals > externals_before {
            return Err(self.error_at(&start, "a default without external functions"));
        }
        if function.name == "encode" && self.queries == 0 && matches!(argument, Expr::Star) {
            self.reads_payload = read_before;
            return Ok(Expr::PayloadBytes);
        }
        Ok(argument)
    }

    fn check_call(&mut self, function: &Function, arguments: &[Expr], at: &Token<'t>) -> Result<(), Error> {
        let protobuf = is_protobuf(function, arguments);
        self.externals += usize::from(function.is_external() || protobuf);
        for place in function.constant_places(arguments.len()) {
            if arguments.get(place).is_some_and(is_variable) {
                return Err(
                    self.error_at(at, format!("no variable as argument {} of this function", place + 1))
                );
            }
        }
        if protobuf {
            self.protobuf += 1;
            if self.protobuf > functions::MAX_PROTOBUF_CALLS {
                return Err(self.error_at(at, "at most two protobuf decodes in a statement"));
            }
        }
        Ok(())
    }

    fn cast(&mut self) -> Result<Expr, Error> {
        self.expect_symbol("(")?;
        let operand = Box::new(self.expression()?);
        self.expect_keyword(Keyword::As)?;
        let target = self.cast_type()?;
        self.expect_symbol(")")?;
        Ok(Expr::Cast { operand, target })
    }

    fn cast_type(&mut self) -> Result<CastType, Error> {
        let Kind::Identifier(name) = self.token.kind else { return Err(self.error("a type name")) };
        let target = match name.to_ascii_lowercase().as_str() {
            "string" | "nvarchar" | "text" | "ntext" | "varchar" => CastType::String,
            "int" | "integer" => CastType::Int,
            "double" => CastType::Double,
            "decimal" => CastType::Decimal,
            "bool" | "boolean" => CastType::Boolean,
            _ => return Err(self.error("a type CAST knows, such as String, Int or Decimal")),
        };
        if matches!(target, CastType::Decimal | CastType::Boolean) {
            self.needs_second("such cast")?;
        }
        self.advance()?;
        Ok(target)
    }

    fn case(&mut self) -> Result<Expr, Error> {
        self.expect_keyword(Keyword::Case)?;
        let operand = self.expression()?;
        let mut branches = Vec::new();
        while self.take_keyword(Keyword::When)? {
            let tested = self.expression()?;
            self.expect_keyword(Keyword::Then)?;
            branches.push((tested, self.expression()?));
        }
        if branches.is_empty() {
            return Err(self.error("WHEN"));
        }
        let otherwise = if self.take_keyword(Keyword::Else)? { Some(self.expression()?) } else { None };
        self.expect_keyword(Keyword::End)?;
        Ok(Expr::Case(Box::new(Case { operand, branches, otherwise })))
    }

    fn exists(&mut self) -> Result<Expr, Error> {
        self.needs_second("EXISTS")?;
        self.expect_keyword(Keyword::Exists)?;
        self.expect_symbol("(")?;
        let query = self.query()?;
        self.expect_symbol(")")?;
        Ok(Expr::Exists(Box::new(query)))
    }

    /// A bracketed expression or a nested SELECT.
    fn brackets(&mut self) -> Result<Expr, Error> {
        self.expect_symbol("(")?;
        let inner = if self.at_keyword(Keyword::Select) {
            self.needs_second("nested SELECT")?;
            Expr::Query(Box::new(self.query()?))
        } else {
            self.expression()?
        };
        self.expect_symbol(")")?;
        Ok(inner)
    }

    fn array(&mut self) -> Result<Expr, Error> {
        self.needs_second("array literal")?;
        self.expect_symbol("[")?;
        let mut items = Vec::new();
        if self.take_symbol("]")? {
            return Ok(Expr::Array(items));
        }
        items.push(self.expression()?);
        while self.take_symbol(",")? {
            items.push(self.expression()?);
        }
        self.expect_symbol("]")?;
        Ok(Expr::Array(items))
    }

    fn object(&mut self) -> Result<Expr, Error> {
        self.needs_second("object literal")?;
        self.expect_symbol("{")?;
        let mut members = Vec::new();
        while let Kind::String(key) = &self.token.kind {
            let key = Text::from(key.as_ref());
            self.advance()?;
            self.expect_symbol(":")?;
            members.push((key, self.expression()?));
            if !self.take_symbol(",")? {
                break;
            }
        }
        if !self.at_symbol("}") {
            return Err(self.error("a quoted key or `}`"));
        }
        self.advance()?;
        Ok(Expr::Object(members))
    }
}

/// The value of a number literal: Int unless it has a point or an exponent.
fn number(text: &str) -> Value {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return json::whole(false, text);
    }
    Value::decimal(Decimal::parse(text, true))
}

fn is_variable(expr: &Expr) -> bool {
    match expr {
        Expr::Variable(_) => true,
        Expr::Path { base, .. } => is_variable(base),
        _ => false,
    }
}

/// Whether a call may turn out to decode protobuf: by its scheme, or by its count of arguments where that is not written out.
fn is_protobuf(function: &Function, arguments: &[Expr]) -> bool {
    let scheme = match arguments.get(1) {
        Some(Expr::Literal(Value::String(scheme))) => &**scheme == "proto",
        Some(Expr::Literal(_)) => false,
        _ => arguments.len() == PROTOBUF_ARGUMENTS,
    };
    matches!(function.body, Body::Decode) && scheme
}
