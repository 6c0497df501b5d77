//! Topic filters of FROM: what is well formed, and which topics match (spec section 4.1).
//!
//! Not the broker's matching: `a/#` does not match `a` here.

/// Longest filter, in bytes.
const MAX_LENGTH: usize = 256;
/// Most `/` in a filter.
const MAX_SLASHES: usize = 7;

/// Why a filter is refused, as what was expected; `None` if it is well formed.
pub(crate) fn flaw(filter: &str) -> Option<&'static str> {
    if filter.is_empty() || filter.len() > MAX_LENGTH || filter.contains('\0') {
        return Some("a topic filter of 1 to 256 bytes");
    }
    if filter.matches('/').count() > MAX_SLASHES {
        return Some("a topic filter of at most 8 levels");
    }
    if filter == "$aws/rules" || filter.starts_with("$aws/rules/") {
        return Some("a topic filter outside `$aws/rules`, which rules cannot subscribe to");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.contains(['+', '#']);
        if wild && level.len() > 1 {
            return Some("a wildcard that fills its level");
        }
        if level == "#" && levels.peek().is_some() {
            return Some("`#` only at the end of the filter");
        }
    }
    None
}

/// Whether a well-formed filter matches a topic.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        let level = levels.next();
        match (wanted, level) {
            ("#", level) => return level.is_some(),
            (_, None) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_rules_do() {
        for (filter, topic, want) in [
            ("a/#", "a/", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", false),
            ("+/b", "a/b", true),
            ("+/b", "a/b/c", false),
            ("a/+", "a/", true),
            ("#", "a/b", true),
            ("#", "$aws/things/t", false),
            ("+/x", "$aws/x", false),
            ("$aws/things/+/shadow/update", "$aws/things/t/shadow/update", true),
            ("a", "a", true),
            ("a/b", "a", false),
        ] {
            assert_eq!(matches(filter, topic), want, "{filter} {topic}");
        }
    }

    #[test]
    fn finds_flaws() {
        for filter in ["", "a/#/b", "a#", "a/b+", "$aws/rules/r/x", "1/2/3/4/5/6/7/8/9", "a/\0"] {
            assert!(flaw(filter).is_some(), "{filter}");
        }
        for filter in ["#", "+", "a/+/b/#", "$aws/things/+/shadow/name/+/update/accepted", "/"] {
            assert!(flaw(filter).is_none(), "{filter}");
        }
    }
}
