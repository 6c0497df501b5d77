//! Operators, loosest first: OR, AND, NOT, comparisons and IN, `+ -`, `* / %`, unary minus, paths.

use super::Parser;
use crate::{
    ast::{ArithmeticOp, CompareOp, Expr, Step},
    error::Error,
    lexer::{Keyword, Kind},
    value::Text,
};

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expr, Error> {
        let mut operands = vec![self.conjunction()?];
        while self.take_keyword(Keyword::Or)? {
            operands.push(self.conjunction()?);
        }
        Ok(single_or(operands, Expr::Or))
    }

    fn conjunction(&mut self) -> Result<Expr, Error> {
        let mut operands = vec![self.negation()?];
        while self.take_keyword(Keyword::And)? {
            operands.push(self.negation()?);
        }
        Ok(single_or(operands, Expr::And))
    }

    fn negation(&mut self) -> Result<Expr, Error> {
        if !self.take_keyword(Keyword::Not)? {
            return self.comparison();
        }
        let operand = self.nested(Self::negation)?;
        Ok(Expr::Not(Box::new(operand)))
    }

    fn compare_op(&self) -> Option<CompareOp> {
        Some(match self.token.kind {
            Kind::Symbol("=") => CompareOp::Equal,
            Kind::Symbol("<>") => CompareOp::NotEqual,
            Kind::Symbol("<") => CompareOp::Less,
            Kind::Symbol("<=") => CompareOp::LessOrEqual,
            Kind::Symbol(">") => CompareOp::Greater,
            Kind::Symbol(">=") => CompareOp::GreaterOrEqual,
            Kind::Keyword(Keyword::In) => CompareOp::In,
            _ => return None,
        })
    }

    fn comparison(&mut self) -> Result<Expr, Error> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(op) = self.compare_op() {
            self.advance()?;
            rest.push((op, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare { first: Box::new(first), rest } })
    }

    fn sum(&mut self) -> Result<Expr, Error> {
        self.arithmetic(Self::product, |symbol| match symbol {
            "+" => Some(ArithmeticOp::Add),
            "-" => Some(ArithmeticOp::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Expr, Error> {
        self.arithmetic(Self::unary, |symbol| match symbol {
            "*" => Some(ArithmeticOp::Multiply),
            "/" => Some(ArithmeticOp::Divide),
            "%" => Some(ArithmeticOp::Remainder),
            _ => None,
        })
    }

    fn arithmetic(
        &mut self,
        operand: impl Fn(&mut Self) -> Result<Expr, Error>,
        operator: impl Fn(&str) -> Option<ArithmeticOp>,
    ) -> Result<Expr, Error> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Kind::Symbol(symbol) = self.token.kind
            && let Some(op) = operator(symbol)
        {
            self.advance()?;
            rest.push((op, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic { first: Box::new(first), rest } })
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        if !self.take_symbol("-")? {
            return self.path();
        }
        let operand = self.nested(Self::unary)?;
        Ok(Expr::Negate(Box::new(operand)))
    }

    fn path(&mut self) -> Result<Expr, Error> {
        let base = self.primary()?;
        let mut steps = Vec::new();
        loop {
            if self.take_symbol(".")? {
                steps.push(Step::Member(Text::from(self.expect_identifier("a member name")?)));
            } else if self.take_symbol("[")? {
                steps.push(Step::Index(self.nested(Self::expression)?));
                self.expect_symbol("]")?;
            } else if steps.is_empty() {
                return Ok(base);
            } else {
                return Ok(Expr::Path { base: Box::new(base), steps });
            }
        }
    }
}

/// The one operand there is, or all of them joined.
fn single_or(mut operands: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match operands.pop() {
        Some(only) if operands.is_empty() => only,
        Some(last) => {
            operands.push(last);
            join(operands)
        }
        None => join(operands),
    }
}
