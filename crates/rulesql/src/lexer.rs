//! Statement text to tokens (spec section 2), one at a time: the parser says where a bare filter may stand.

use std::borrow::Cow;

use crate::error::Error;

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind<'t>,
    /// Byte offset of the first character.
    pub(crate) start: usize,
    /// Byte offset behind the last character.
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind<'t> {
    /// A name that is no reserved word; `VALUE` and `CAST` are among these.
    Identifier(&'t str),
    /// A reserved word.
    Keyword(Keyword),
    /// `@name`, without the `@`.
    Variable(&'t str),
    /// A number as written.
    Number(&'t str),
    /// A string without its quotes, doubled quotes undone.
    String(Cow<'t, str>),
    /// An operator or bracket, `!=` as `<>`.
    Symbol(&'static str),
    /// Behind the last token.
    End,
}

/// Reserved words (`VALUE` and `CAST` are not).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Set,
    Select,
    From,
    Where,
    As,
    And,
    Or,
    Not,
    In,
    Exists,
    Case,
    When,
    Then,
    Else,
    End,
    Null,
    True,
    False,
}

const KEYWORDS: [(&str, Keyword); 18] = [
    ("SET", Keyword::Set),
    ("SELECT", Keyword::Select),
    ("FROM", Keyword::From),
    ("WHERE", Keyword::Where),
    ("AS", Keyword::As),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("NOT", Keyword::Not),
    ("IN", Keyword::In),
    ("EXISTS", Keyword::Exists),
    ("CASE", Keyword::Case),
    ("WHEN", Keyword::When),
    ("THEN", Keyword::Then),
    ("ELSE", Keyword::Else),
    ("END", Keyword::End),
    ("NULL", Keyword::Null),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
];

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [(&str, &str); 21] = [
    ("<>", "<>"),
    ("!=", "<>"),
    ("<=", "<="),
    (">=", ">="),
    ("+", "+"),
    ("-", "-"),
    ("*", "*"),
    ("/", "/"),
    ("%", "%"),
    ("=", "="),
    ("<", "<"),
    (">", ">"),
    ("(", "("),
    (")", ")"),
    ("[", "["),
    ("]", "]"),
    ("{", "{"),
    ("}", "}"),
    (",", ","),
    (":", ":"),
    (".", "."),
];

/// Longest variable name, in characters.
const MAX_VARIABLE: usize = 64;

impl Keyword {
    fn of(word: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, keyword)| *keyword)
    }

    /// The word in capitals.
    pub(crate) fn name(self) -> &'static str {
        KEYWORDS.iter().find(|(_, keyword)| *keyword == self).map_or("", |(name, _)| name)
    }
}

/// Reads tokens of `text` up to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$'
}

impl<'t> Lexer<'t> {
    /// Reads from byte `at`; offsets in tokens and errors count from the start of `text`.
    pub(crate) fn new(text: &'t str, at: usize) -> Self {
        Self { text, at }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// The characters from here on that satisfy `keep`, stepped over.
    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or("")
    }

    fn error(&self, offset: usize, found: impl std::fmt::Display, expected: &str) -> Error {
        Error::at_token(self.text, offset, &found.to_string(), expected)
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> Result<Token<'t>, Error> {
        self.skip_space();
        let start = self.at;
        let kind = match self.rest().chars().next() {
            None => Kind::End,
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some(c) if is_word(c) => self.word(),
            Some('@') => self.variable()?,
            Some(quote @ ('\'' | '"')) => self.string(quote)?,
            Some(other) => self.symbol(other)?,
        };
        Ok(Token { kind, start, end: self.at })
    }

    /// The filter behind FROM: a string, or raw characters up to white space.
    pub(crate) fn filter(&mut self) -> Result<Token<'t>, Error> {
        self.skip_space();
        if self.rest().starts_with(['\'', '"']) || self.rest().is_empty() {
            return self.next();
        }
        let start = self.at;
        let raw = self.take_while(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'));
        Ok(Token { kind: Kind::String(Cow::Borrowed(raw)), start, end: self.at })
    }

    fn word(&mut self) -> Kind<'t> {
        let word = self.take_while(is_word);
        Keyword::of(word).map_or(Kind::Identifier(word), Kind::Keyword)
    }

    fn variable(&mut self) -> Result<Kind<'t>, Error> {
        let start = self.at;
        self.at += 1;
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || name.len() > MAX_VARIABLE {
            return Err(self.error(start, format_args!("@{name}"), "a variable name of 1 to 64 characters"));
        }
        Ok(Kind::Variable(name))
    }

    fn digits(&mut self) -> Result<(), Error> {
        if self.take_while(|c| c.is_ascii_digit()).is_empty() {
            let found = self.rest().chars().next().map_or_else(|| "end of text".to_owned(), String::from);
            return Err(self.error(self.at, found, "a digit"));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Kind<'t>, Error> {
        let start = self.at;
        self.digits()?;
        if self.rest().starts_with('.') {
            self.at += 1;
            self.digits()?;
        }
        if self.rest().starts_with(['e', 'E']) {
            self.at += 1;
            if self.rest().starts_with(['+', '-']) {
                self.at += 1;
            }
            self.digits()?;
        }
        if let Some(next) = self.rest().chars().next().filter(|c| is_word(*c)) {
            return Err(self.error(self.at, next, "the end of the number"));
        }
        Ok(Kind::Number(self.text.get(start..self.at).unwrap_or("")))
    }

    fn string(&mut self, quote: char) -> Result<Kind<'t>, Error> {
        let start = self.at;
        self.at += 1;
        let mut text = Cow::Borrowed(self.take_while(|c| c != quote));
        loop {
            if self.rest().is_empty() {
                return Err(self.error(start, quote, "a string that is closed"));
            }
            self.at += 1;
            if !self.rest().starts_with(quote) {
                return Ok(Kind::String(text));
            }
            self.at += 1;
            let owned = text.to_mut();
            owned.push(quote);
            owned.push_str(self.take_while(|c| c != quote));
        }
    }

    fn symbol(&mut self, first: char) -> Result<Kind<'t>, Error> {
        let rest = self.rest();
        for comment in ["--", "/*"] {
            if rest.starts_with(comment) {
                return Err(self.error(self.at, comment, "no comment: the dialect has none"));
            }
        }
        let known = SYMBOLS.iter().find(|(text, _)| rest.starts_with(text));
        let Some((text, symbol)) = known else {
            return Err(self.error(self.at, first, "a token of the SQL dialect"));
        };
        self.at += text.len();
        Ok(Kind::Symbol(symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Result<Vec<Kind<'_>>, Error> {
        let mut lexer = Lexer::new(text, 0);
        let mut kinds = Vec::new();
        loop {
            match lexer.next()?.kind {
                Kind::End => return Ok(kinds),
                kind => kinds.push(kind),
            }
        }
    }

    #[test]
    fn reads_each_form() {
        let got = kinds(r#"seLect a1$ @v_2 1.5e-3 'it''s' "\d" != <= ."#).unwrap();
        let want = vec![
            Kind::Keyword(Keyword::Select),
            Kind::Identifier("a1$"),
            Kind::Variable("v_2"),
            Kind::Number("1.5e-3"),
            Kind::String("it's".into()),
            Kind::String("\\d".into()),
            Kind::Symbol("<>"),
            Kind::Symbol("<="),
            Kind::Symbol("."),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn refuses_with_a_position() {
        for text in ["5.", "5.x", "1e", "5abc", "'a", "@", "a -- b", "/* x */", "# x", "a;", "`a`", "a ! b"] {
            assert!(kinds(text).is_err(), "{text}");
        }
        let error = kinds("a\n  ;").unwrap_err();
        assert_eq!((error.line, error.column), (2, 3));
    }
}
