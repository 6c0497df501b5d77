//! Tokens to the typed tree (spec section 3): what every level of the grammar shares. Statements are in
//! `statement`, nested and outer SELECT in `select`, operators in `expression`, the rest of values in
//! `primary`.

mod expression;
mod primary;
mod select;
mod statement;

pub(crate) use self::statement::Parsed;
use crate::{
    ast::Expr,
    error::Error,
    lexer::{Keyword, Kind, Lexer, Token},
    version::SqlVersion,
};

/// Deepest nesting of brackets, calls, NOT and unary minus.
const MAX_DEPTH: usize = 64;

/// Reads one text, one token ahead.
pub(crate) struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    token: Token<'t>,
    /// Where the token before the current one ended.
    previous_end: usize,
    version: SqlVersion,
    /// Variables declared so far, in order.
    variables: Vec<String>,
    depth: usize,
    /// How many nested SELECTs surround the current token; attributes inside belong to elements.
    queries: usize,
    /// Whether the payload has to be read as JSON.
    reads_payload: bool,
    /// Calls of external functions so far.
    externals: usize,
    /// Calls of `decode(…, 'proto', …)` so far.
    protobuf: usize,
    /// Regular expressions that are none here.
    unusable_patterns: Vec<String>,
}

impl<'t> Parser<'t> {
    /// Starts at byte `at` of `text`, with variables already declared.
    pub(crate) fn new(
        text: &'t str,
        at: usize,
        version: SqlVersion,
        variables: Vec<String>,
    ) -> Result<Self, Error> {
        let mut lexer = Lexer::new(text, at);
        let token = lexer.next()?;
        Ok(Self {
            text,
            lexer,
            token,
            previous_end: at,
            version,
            variables,
            depth: 0,
            queries: 0,
            reads_payload: false,
            externals: 0,
            protobuf: 0,
            unusable_patterns: Vec::new(),
        })
    }

    /// An expression that fills the text, for a template; and what it uses.
    pub(crate) fn whole_expression(mut self) -> Result<(Expr, bool, bool), Error> {
        let expr = self.expression()?;
        self.end("the end of the expression")?;
        if self.protobuf > 0 {
            return Err(Error::at(
                self.text,
                0,
                "`decode(…, 'proto', …)`".into(),
                "no protobuf in a template",
            ));
        }
        Ok((expr, self.reads_payload, self.externals > 0))
    }

    fn advance(&mut self) -> Result<Token<'t>, Error> {
        let next = self.lexer.next()?;
        self.previous_end = self.token.end;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn error(&self, expected: impl Into<String>) -> Error {
        self.error_at(&self.token, expected)
    }

    fn error_at(&self, token: &Token<'t>, expected: impl Into<String>) -> Error {
        match token.kind {
            Kind::End => Error::at(self.text, token.start, "the end of the text".to_owned(), expected),
            _ => {
                let found = self.text.get(token.start..token.end).unwrap_or("");
                Error::at_token(self.text, token.start, found, expected)
            }
        }
    }

    fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.token.kind, Kind::Symbol(found) if found == symbol)
    }

    fn at_keyword(&self, keyword: Keyword) -> bool {
        self.token.kind == Kind::Keyword(keyword)
    }

    fn take_symbol(&mut self, symbol: &str) -> Result<bool, Error> {
        let found = self.at_symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn take_keyword(&mut self, keyword: Keyword) -> Result<bool, Error> {
        let found = self.at_keyword(keyword);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), Error> {
        if self.take_symbol(symbol)? { Ok(()) } else { Err(self.error(format!("`{symbol}`"))) }
    }

    fn expect_keyword(&mut self, keyword: Keyword) -> Result<(), Error> {
        if self.take_keyword(keyword)? { Ok(()) } else { Err(self.error(keyword.name())) }
    }

    fn expect_identifier(&mut self, expected: &str) -> Result<&'t str, Error> {
        let Kind::Identifier(name) = self.token.kind else { return Err(self.error(expected)) };
        self.advance()?;
        Ok(name)
    }

    fn end(&self, expected: &str) -> Result<(), Error> {
        if self.token.kind == Kind::End { Ok(()) } else { Err(self.error(expected)) }
    }

    /// Refuses what only 2016-03-23 knows.
    fn needs_second(&self, what: &str) -> Result<(), Error> {
        if self.version.is_second() {
            return Ok(());
        }
        Err(self.error(format!("no {what}, which needs awsIotSqlVersion 2016-03-23")))
    }

    /// Runs `inner` one level deeper, within the bound.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error("at most 64 levels of nesting"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }
}
