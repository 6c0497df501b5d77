//! A statement with named parameters, `:name`, becomes one with numbered ones.

/// The statement with `$1`, `$2`, … and the names in that order. What is quoted or a comment is left as it is, and so are casts
/// (`::`).
///
/// # Errors
/// When something that is quoted has no end, or there are parameters with numbers already.
pub(super) fn numbered(sql: &str) -> Result<(String, Vec<String>), String> {
    let (mut out, mut names) = (String::with_capacity(sql.len()), Vec::<String>::new());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\'' | '"' => quoted(rest, first)?,
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest)?,
            '$' => dollar(rest)?,
            ':' if rest.starts_with("::") => 2,
            ':' => {
                let name: String =
                    rest.chars().skip(1).take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                        names.push(name.clone());
                        names.len() - 1
                    });
                    out += &format!("${}", at + 1);
                    rest = rest.get(1 + name.len()..).unwrap_or_default();
                    continue;
                }
                1
            }
            _ if is_word(first) => rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, ""));
        out += taken;
        rest = left;
    }
    Ok((out, names))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes up to the closing quote; a doubled quote is one of the text. A backslash escapes in none but `E'…'`, where a quote after
/// it is refused rather than misunderstood.
fn quoted(text: &str, quote: char) -> Result<usize, String> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            continue;
        }
        if text.get(..at).is_some_and(|before| before.ends_with('\\')) {
            return Err("a quote after a backslash is not understood: double it".to_owned());
        }
        match chars.peek() {
            Some((_, next)) if *next == quote => _ = chars.next(),
            _ => return Ok(at + 1),
        }
    }
    Err(format!("the statement has a {quote} without its end"))
}

/// Bytes up to the end of a comment; they can be nested.
fn comment(text: &str) -> Result<usize, String> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match rest {
            "" => return Err("the statement has a comment without its end".to_owned()),
            _ if rest.starts_with("/*") => (depth, at) = (depth + 1, at + 2),
            _ if rest.starts_with("*/") => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

/// Bytes of a text between dollars: `$$…$$`, `$tag$…$tag$`.
fn dollar(text: &str) -> Result<usize, String> {
    let tag = text.get(1..).and_then(|rest| rest.split_once('$')).map(|(tag, _)| tag);
    let tag = tag.filter(|tag| tag.chars().all(is_word) && !tag.starts_with(|c: char| c.is_ascii_digit()));
    let Some(tag) = tag else {
        return Err("parameters have names, such as :temperature, and no numbers".to_owned());
    };
    let fence = format!("${tag}$");
    let after = text.get(fence.len()..).unwrap_or_default();
    let end = after.find(&fence).ok_or("the statement has a $ quote without its end")?;
    Ok(fence.len() * 2 + end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_numbers_outside_of_quotes_and_comments() {
        for (sql, expected, names) in [
            ("INSERT INTO t VALUES (:a, :b_1, :a)", "INSERT INTO t VALUES ($1, $2, $1)", &["a", "b_1"][..]),
            ("SELECT :a::int, '12:b'::text, \":c\"", "SELECT $1::int, '12:b'::text, \":c\"", &["a"]),
            (
                "SELECT 'it''s :a' -- :b\n, :c /* :d /* :e */ */",
                "SELECT 'it''s :a' -- :b\n, $1 /* :d /* :e */ */",
                &["c"],
            ),
            ("SELECT $$:a$$, $x$ :b $$ $x$, a$b, :c", "SELECT $$:a$$, $x$ :b $$ $x$, a$b, $1", &["c"]),
            ("SELECT a[1:2], :ü", "SELECT a[1:2], :ü", &[]),
            ("SELECT 'ü', :a", "SELECT 'ü', $1", &["a"]),
        ] {
            let (numbered, found) = numbered(sql).unwrap();
            assert_eq!(
                (numbered.as_str(), found),
                (expected, names.iter().map(ToString::to_string).collect::<Vec<_>>())
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for sql in ["SELECT 'a", "SELECT \"a", "SELECT /* a", "SELECT $1", "SELECT $$a", r"SELECT E'\':a'"] {
            assert!(numbered(sql).is_err(), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(sql in "(?s).{0,200}") {
            if let Ok((out, names)) = numbered(&sql) && names.is_empty() {
                prop_assert_eq!(out, sql);
            }
        }
    }
}
