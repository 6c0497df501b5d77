//! Which shadow is meant.

/// Longest name of a thing, in characters.
const THING_CHARACTERS: usize = 128;
/// Longest name of a shadow, in characters.
const SHADOW_CHARACTERS: usize = 64;

/// A thing's classic shadow, or one of its named ones. Whether the thing exists does not matter: a shadow needs none
/// (shadow.md section 1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShadowName {
    thing: String,
    shadow: Option<String>,
}

impl ShadowName {
    /// The shadow called `shadow` of the thing called `thing`; `None` stands for the classic one. `None` where one of
    /// the names cannot be.
    pub fn new(thing: &str, shadow: Option<&str>) -> Option<Self> {
        let valid = is_thing(thing) && shadow.is_none_or(is_shadow);
        valid.then(|| Self { thing: thing.to_owned(), shadow: shadow.map(str::to_owned) })
    }

    /// The thing.
    pub fn thing(&self) -> &str {
        &self.thing
    }

    /// The name; `None` for the classic shadow.
    pub fn shadow(&self) -> Option<&str> {
        self.shadow.as_deref()
    }

    /// As error messages call it: a named shadow by its name, the classic one by its thing's.
    pub fn told(&self) -> &str {
        self.shadow().unwrap_or(&self.thing)
    }
}

/// Whether a thing can have this name: 1 to 128 of `a-zA-Z0-9:_-`.
pub fn is_thing(name: &str) -> bool {
    (1..=THING_CHARACTERS).contains(&name.len()) && name.bytes().all(is_thing_character)
}

/// Whether a named shadow can have this name: 1 to 64 of `$a-zA-Z0-9:_-`.
pub fn is_shadow(name: &str) -> bool {
    let fits = |byte| byte == b'$' || is_thing_character(byte);
    (1..=SHADOW_CHARACTERS).contains(&name.len()) && name.bytes().all(fits)
}

fn is_thing_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length_and_an_alphabet() {
        assert!(ShadowName::new("a:B_1-", None).is_some());
        assert!(ShadowName::new(&"t".repeat(128), Some(&"$".repeat(64))).is_some());
        for (thing, shadow) in [("", None), ("a b", None), ("$a", None), ("a", Some("")), ("a", Some("a/b"))]
        {
            assert_eq!(ShadowName::new(thing, shadow), None, "{thing} {shadow:?}");
        }
        assert_eq!(ShadowName::new(&"t".repeat(129), None), None);
        assert_eq!(ShadowName::new("t", Some(&"s".repeat(65))), None);
    }
}
