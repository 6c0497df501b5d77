//! The whole statement: SET, SELECT, FROM, WHERE.

use super::Parser;
use crate::{
    ast::{Expr, Select},
    error::Error,
    filter,
    lexer::{Keyword, Kind},
    version::SqlVersion,
};

/// Most variables of a statement.
const MAX_VARIABLES: usize = 10;

/// A parsed statement and what it was seen to use.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) assignments: Vec<Expr>,
    pub(crate) variables: Vec<String>,
    pub(crate) select: Select,
    pub(crate) filter: Option<String>,
    pub(crate) condition: Option<Expr>,
    pub(crate) reads_payload: bool,
    pub(crate) uses_external: bool,
    pub(crate) unusable_patterns: Vec<String>,
}

impl Parser<'_> {
    /// A statement that fills the text.
    pub(crate) fn statement(sql: &str, version: SqlVersion) -> Result<Parsed, Error> {
        let mut parser = Parser::new(sql, 0, version, Vec::new())?;
        let assignments = parser.set()?;
        let before_select = parser.reads_payload;
        let select = parser.select()?;
        if select.is_everything() && (version.is_second() || !select.value) {
            parser.reads_payload = before_select;
        }
        let filter = parser.from()?;
        let condition = match parser.take_keyword(Keyword::Where)? {
            true => Some(parser.expression()?),
            false => None,
        };
        parser.end(if condition.is_some() { "the end of the statement" } else { "WHERE or the end" })?;
        Ok(Parsed {
            assignments,
            variables: parser.variables,
            select,
            filter,
            condition,
            reads_payload: parser.reads_payload,
            uses_external: parser.externals > 0,
            unusable_patterns: parser.unusable_patterns,
        })
    }

    fn set(&mut self) -> Result<Vec<Expr>, Error> {
        let mut assignments = Vec::new();
        if !self.at_keyword(Keyword::Set) {
            return Ok(assignments);
        }
        self.needs_second("SET")?;
        loop {
            // SET or the comma.
            self.advance()?;
            assignments.push(self.assignment()?);
            if !self.at_symbol(",") {
                return Ok(assignments);
            }
        }
    }

    fn assignment(&mut self) -> Result<Expr, Error> {
        let Kind::Variable(name) = self.token.kind else {
            return Err(self.error("a variable such as @name"));
        };
        if self.variables.iter().any(|declared| declared == name) {
            return Err(self.error("a variable not assigned yet"));
        }
        if self.variables.len() >= MAX_VARIABLES {
            return Err(self.error("at most 10 variables"));
        }
        self.advance()?;
        self.expect_symbol("=")?;
        let value = self.expression()?;
        self.variables.push(name.to_owned());
        Ok(value)
    }

    fn from(&mut self) -> Result<Option<String>, Error> {
        if !self.at_keyword(Keyword::From) {
            return Ok(None);
        }
        self.token = self.lexer.filter()?;
        let Kind::String(filter) = &self.token.kind else { return Err(self.error("a topic filter")) };
        if let Some(expected) = filter::flaw(filter) {
            return Err(self.error(expected));
        }
        let filter = filter.as_ref().to_owned();
        self.advance()?;
        Ok(Some(filter))
    }
}
