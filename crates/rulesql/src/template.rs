//! Substitution templates: `${expr}` in the fields of an action (spec section 9).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    ast::Expr,
    error::Error,
    evaluate::{Evaluation, Failure, Scope, Variables},
    external::External,
    input::{Input, Payload},
    json::{MAX_TEXT, TooLarge},
    parser::Parser,
    value::Value,
    version::SqlVersion,
};

/// A field of an action, parsed when the rule is created.
#[derive(Debug)]
pub struct Template {
    version: SqlVersion,
    parts: Vec<Part>,
    reads_payload: bool,
    uses_external: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Expr(Expr),
}

impl Template {
    /// Parses a field that sees no `@variables`; see [`crate::Statement::template`] for one that does.
    ///
    /// # Errors
    /// An unbalanced `${` or what is no expression in it; the API answers `SqlParseException`.
    pub fn parse(text: &str, version: SqlVersion) -> Result<Self, Error> {
        Self::with_variables(text, version, &[])
    }

    pub(crate) fn with_variables(
        text: &str,
        version: SqlVersion,
        variables: &[String],
    ) -> Result<Self, Error> {
        let mut template = Self { version, parts: Vec::new(), reads_payload: false, uses_external: false };
        let mut at = 0;
        while let Some(open) = text.get(at..).and_then(|rest| rest.find("${")).map(|found| at + found) {
            template.push_text(text.get(at..open));
            let close = closing_brace(text, open + 2)
                .ok_or_else(|| Error::at(text, open, "`${`".into(), "a `}` that closes it"))?;
            let inside = text.get(..close).unwrap_or("");
            let parser = Parser::new(inside, open + 2, version, variables.to_vec())?;
            let (expr, reads, external) = parser.whole_expression()?;
            template.parts.push(Part::Expr(expr));
            template.reads_payload |= reads;
            template.uses_external |= external;
            at = close + 1;
        }
        template.push_text(text.get(at..));
        Ok(template)
    }

    fn push_text(&mut self, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.parts.push(Part::Text(text.to_owned()));
        }
    }

    /// Whether the field is the same for every message.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether a function outside the engine is called; templates of an error action must not.
    #[must_use]
    pub fn uses_external(&self) -> bool {
        self.uses_external
    }

    /// Whether rendering may read the payload as JSON.
    #[must_use]
    pub fn needs_document(&self) -> bool {
        self.reads_payload
    }

    /// The field for one message: `variables` are those [`crate::Fired`] carries. Undefined and Null leave
    /// nothing behind, a payload that is not JSON its base64.
    ///
    /// # Errors
    /// A failed external function, or bounds exceeded.
    pub fn render<'a>(
        &'a self,
        input: &'a Input<'a>,
        payload: &'a Payload,
        variables: &Variables,
        external: &'a mut dyn External,
    ) -> Result<String, Failure> {
        let mut rendered = String::new();
        let mut evaluation = Evaluation::new(self.version, input, payload, variables.0.clone(), external);
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Expr(expr) => {
                    let value = evaluation.value(expr, Scope::Message)?;
                    push_value(&mut rendered, &evaluation, &value)?;
                }
            }
            if rendered.len() > MAX_TEXT {
                return Err(TooLarge.into());
            }
        }
        Ok(rendered)
    }
}

fn push_value(rendered: &mut String, evaluation: &Evaluation<'_>, value: &Value) -> Result<(), Failure> {
    if let Value::Raw(bytes) = value {
        STANDARD.encode_string(bytes, rendered);
    } else if let Some(text) = evaluation.context().text(value)? {
        rendered.push_str(&text);
    }
    Ok(())
}

/// Offset of the `}` that closes an expression starting at `from`: nested braces and quoted ones are skipped.
fn closing_brace(text: &str, from: usize) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, character) in text.get(from..)?.char_indices() {
        match (quote, character) {
            (Some(open), closing) if open == closing => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(from + at),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}
