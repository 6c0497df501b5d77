//! Wildcard patterns: `*` is any run of characters, `?` is one character, everything else is itself
//! (security.md 9.4).
//!
//! A compiled pattern is the UTF-8 of its literal text with two bytes that never occur in UTF-8 standing for
//! the wildcards. Whatever is substituted for a variable is UTF-8, so it cannot bring a wildcard in.

/// Any run of characters, `/` included.
pub(crate) const ANY: u8 = 0xff;
/// Exactly one character.
pub(crate) const ONE: u8 = 0xfe;

/// Bytes of UTF-8 text that a pattern is held against.
pub(crate) trait Subject {
    /// The byte at a position, `None` past the end.
    fn byte(&self, at: usize) -> Option<u8>;

    /// The position after the character that starts at a position.
    fn after_character(&self, at: usize) -> usize {
        let mut next = at.saturating_add(1);
        while self.byte(next).is_some_and(|byte| byte & 0xc0 == 0x80) {
            next = next.saturating_add(1);
        }
        next
    }
}

impl Subject for str {
    fn byte(&self, at: usize) -> Option<u8> {
        self.as_bytes().get(at).copied()
    }
}

/// Compiles a text with wildcards and no variables.
pub(crate) fn compile(text: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(text.len());
    push_wildcards(&mut pattern, text);
    pattern
}

/// Appends a text whose `*` and `?` are wildcards.
pub(crate) fn push_wildcards(pattern: &mut Vec<u8>, text: &str) {
    pattern.extend(text.bytes().map(|byte| match byte {
        b'*' => ANY,
        b'?' => ONE,
        other => other,
    }));
}

/// Whether the whole subject matches. Only the latest `*` is ever retried, because what an earlier one could
/// take, the latest can take too: time grows with pattern times subject at worst, never exponentially.
pub(crate) fn matches<S: Subject + ?Sized>(pattern: &[u8], subject: &S) -> bool {
    let (mut at, mut position) = (0_usize, 0_usize);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), subject.byte(position)) {
            (Some(&ANY), _) => {
                at += 1;
                if at == pattern.len() {
                    return true;
                }
                retry = Some((at, position));
            }
            (None, None) => return true,
            (Some(_), None) => return false,
            (Some(&ONE), Some(_)) => {
                at += 1;
                position = subject.after_character(position);
            }
            (Some(expected), Some(found)) if *expected == found => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((after_any, from)) = retry else { return false };
                (at, position) = (after_any, subject.after_character(from));
                retry = Some((at, position));
            }
        }
    }
}

/// What is left of a pattern once it has taken a prefix: the remainders of which one must match what follows.
/// None are left if no text with that prefix can match.
pub(crate) fn remainders<'p>(pattern: &'p [u8], prefix: &str) -> Vec<&'p [u8]> {
    let mut places = Vec::new();
    add_place(&mut places, pattern, 0);
    for character in prefix.chars() {
        let mut next = Vec::new();
        for place in &places {
            step(&mut next, pattern, *place, character);
        }
        places = next;
    }
    forget_dominated(&mut places, pattern);
    places.iter().filter_map(|place| pattern.get(*place..)).collect()
}

fn step(next: &mut Vec<usize>, pattern: &[u8], place: usize, character: char) {
    match pattern.get(place) {
        Some(&ANY) => add_place(next, pattern, place),
        Some(&ONE) => add_place(next, pattern, place + 1),
        _ => {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            if pattern.get(place..).is_some_and(|rest| rest.starts_with(bytes)) {
                add_place(next, pattern, place + bytes.len());
            }
        }
    }
}

/// Adds a place, and the places that a `*` there reaches by taking nothing.
fn add_place(places: &mut Vec<usize>, pattern: &[u8], place: usize) {
    let mut place = place;
    loop {
        if !places.contains(&place) {
            places.push(place);
        }
        if pattern.get(place) != Some(&ANY) {
            return;
        }
        place += 1;
    }
}

/// Drops places before the latest `*`, and the one just after it, all of which that `*` covers.
fn forget_dominated(places: &mut Vec<usize>, pattern: &[u8]) {
    let latest = places.iter().copied().filter(|place| pattern.get(*place) == Some(&ANY)).max();
    if let Some(latest) = latest {
        places.retain(|place| *place == latest || *place > latest + 1);
    }
}

#[cfg(test)]
mod tests;
