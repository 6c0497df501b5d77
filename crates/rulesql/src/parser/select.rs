//! SELECT clauses, outer and nested, and the names their items get (spec sections 4.4 and 4.6).

use super::Parser;
use crate::{
    ast::{Expr, Item, Name, Query, Select, Step},
    error::Error,
    lexer::{Keyword, Kind},
    value::Text,
};

/// Longest dotted alias, in names: as deep as expressions may nest.
const MAX_ALIAS: usize = super::MAX_DEPTH;

impl Parser<'_> {
    pub(super) fn select(&mut self) -> Result<Select, Error> {
        self.expect_keyword(Keyword::Select)?;
        let value = self.at_value_keyword();
        if value {
            self.advance()?;
        }
        let mut items = vec![self.item()?];
        while !value && self.take_symbol(",")? {
            items.push(self.item()?);
        }
        Ok(Select { value, items })
    }

    /// Whether the current name is the keyword VALUE: only if the next token can start an expression.
    fn at_value_keyword(&self) -> bool {
        let Kind::Identifier(name) = self.token.kind else { return false };
        if !name.eq_ignore_ascii_case("value") {
            return false;
        }
        let mut ahead = self.lexer;
        // What is no token is refused by the item that follows.
        let Ok(next) = ahead.next() else { return false };
        match next.kind {
            Kind::Identifier(_) | Kind::Variable(_) | Kind::Number(_) | Kind::String(_) => true,
            Kind::Symbol(symbol) => matches!(symbol, "*" | "(" | "[" | "{" | "-"),
            Kind::Keyword(keyword) => matches!(
                keyword,
                Keyword::Null
                    | Keyword::True
                    | Keyword::False
                    | Keyword::Not
                    | Keyword::Case
                    | Keyword::Exists
            ),
            Kind::End => false,
        }
    }

    fn item(&mut self) -> Result<Item, Error> {
        let start = self.token.start;
        let word = match self.token.kind {
            Kind::Identifier(word) => word,
            _ => "",
        };
        let bracketed = self.at_symbol("(");
        let expr = self.expression()?;
        let source = self.text.get(start..self.previous_end).unwrap_or("");
        let name = if self.take_keyword(Keyword::As)? {
            Name::Path(self.alias()?)
        } else if bracketed {
            Name::Path(vec![Text::from(source)])
        } else {
            implied_name(&expr, word, source)
        };
        Ok(Item { expr, name })
    }

    fn alias(&mut self) -> Result<Vec<Text>, Error> {
        let mut path = vec![Text::from(self.expect_identifier("an alias")?)];
        while self.take_symbol(".")? {
            if path.len() >= MAX_ALIAS {
                return Err(self.error("an alias of at most 64 names"));
            }
            path.push(Text::from(self.expect_identifier("an alias")?));
        }
        Ok(path)
    }

    /// A nested SELECT, without its brackets. Its items and condition look at elements, its source does not.
    pub(super) fn query(&mut self) -> Result<Query, Error> {
        let select = self.inside_query(Self::select)?;
        self.expect_keyword(Keyword::From)?;
        let source = self.expression()?;
        let alias = match self.take_keyword(Keyword::As)? {
            true => Some(Text::from(self.expect_identifier("an alias")?)),
            false => None,
        };
        let condition = match self.take_keyword(Keyword::Where)? {
            true => Some(self.inside_query(Self::expression)?),
            false => None,
        };
        Ok(Query { select, source, alias, condition })
    }

    fn inside_query<T>(&mut self, inner: fn(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.queries += 1;
        let result = inner(self);
        self.queries -= 1;
        result
    }
}

/// The name of an item without alias; `word` is the identifier it starts with.
fn implied_name(expr: &Expr, word: &str, source: &str) -> Name {
    let name = match expr {
        Expr::Star | Expr::PayloadBytes => return Name::Splice,
        Expr::Attribute(name) => name.clone(),
        Expr::Call(_) | Expr::Cast { .. } => Text::from(word),
        Expr::Path { base, steps } => last_segment(base, steps).unwrap_or_else(|| Text::from(source)),
        _ => Text::from(source),
    };
    Name::Path(vec![name])
}

/// `c` of `a.b.c` or `@v.b.c`.
fn last_segment(base: &Expr, steps: &[Step]) -> Option<Text> {
    let plain = matches!(base, Expr::Attribute(_) | Expr::Variable(_) | Expr::Star);
    let members = steps.iter().all(|step| matches!(step, Step::Member(_)));
    match steps.last() {
        Some(Step::Member(name)) if plain && members => Some(name.clone()),
        _ => None,
    }
}
