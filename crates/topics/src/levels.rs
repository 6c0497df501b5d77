//! Walking the levels of a topic name or filter, one at a time.

/// The levels that are left. Works on bytes: `/` is never part of another UTF-8 character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels<'a>(Option<&'a [u8]>);

impl<'a> Levels<'a> {
    /// All levels of `text`; the empty text has one, the empty level.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self(Some(text))
    }

    /// The levels that [`Levels::rest`] gave.
    pub(crate) fn after(rest: Option<&'a [u8]>) -> Self {
        Self(rest)
    }

    /// The text that is left; `None` when no level is, `Some` of nothing when one empty level is.
    pub(crate) fn rest(self) -> Option<&'a [u8]> {
        self.0
    }

    /// Whether no level is left.
    pub(crate) fn is_end(self) -> bool {
        self.0.is_none()
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0?;
        let split = text.iter().position(|b| *b == b'/').and_then(|at| text.split_at_checked(at));
        let (level, rest) = split.unzip();
        self.0 = rest.and_then(|r| r.strip_prefix(b"/"));
        Some(level.unwrap_or(text))
    }
}

/// Whether the levels of a filter match those of a topic, from the same depth on. The rule for a leading `$`
/// is the caller's.
pub(crate) fn match_levels(filter: Levels<'_>, mut topic: Levels<'_>, hash_matches_parent: bool) -> bool {
    for wanted in filter {
        if wanted == b"#" {
            return hash_matches_parent || !topic.is_end();
        }
        match topic.next() {
            Some(level) if wanted == b"+" || wanted == level => {}
            _ => return false,
        }
    }
    topic.is_end()
}
