//! Topic names: what a PUBLISH may carry [MQTT5 section 4.7.3].

use fleethaven_types::Limits;

/// Why a text is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Names and filters have at least one character [MQTT-4.7.3-1].
    #[error("a topic must not be empty")]
    Empty,
    /// No U+0000 [MQTT-4.7.3-2].
    #[error("topic {0:?} contains a null character")]
    Nul(String),
    /// No wildcards in a name [MQTT-3.3.2-2].
    #[error("topic name '{0}' contains a wildcard")]
    Wildcard(String),
    /// More UTF-8 bytes than [`Limits::topic_bytes`].
    #[error("a topic of {bytes} bytes is longer than {max}")]
    TooLong {
        /// Bytes that count.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More levels than [`Limits::topic_levels`].
    #[error("a topic of {levels} levels has more than {max}")]
    TooManyLevels {
        /// Levels that count.
        levels: usize,
        /// Levels allowed.
        max: usize,
    },
}

/// Checks the topic name of a PUBLISH. Size and levels of what follows `$aws/rules/{rule}/` are counted
/// without that prefix (AWS: iot-basic-ingest).
pub fn validate(topic: &str, limits: &Limits) -> Result<(), Error> {
    // All bytes at once, without a branch for each: this is done for every message.
    let (mut nul, mut wildcard) = (false, false);
    for byte in topic.bytes() {
        nul |= byte == 0;
        wildcard |= byte == b'+' || byte == b'#';
    }
    if topic.is_empty() || nul {
        check_text(topic)?;
    }
    if wildcard {
        return Err(Error::Wildcard(topic.to_owned()));
    }
    let counted = basic_ingest(topic).map_or(topic, |(_, rest)| rest);
    check_size(counted, limits)
}

/// The rule that a Basic Ingest topic `$aws/rules/{rule}/{rest}` names, and the rest, which is what rules see
/// as topic: empty for `$aws/rules/{rule}` alone. `None` for any other topic.
pub fn basic_ingest(topic: &str) -> Option<(&str, &str)> {
    let below = topic.strip_prefix("$aws/rules/")?;
    let (rule, rest) = below.split_once('/').unwrap_or((below, ""));
    (!rule.is_empty()).then_some((rule, rest))
}

/// Not empty, no U+0000.
pub(crate) fn check_text(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.as_bytes().contains(&0) {
        return Err(Error::Nul(text.to_owned()));
    }
    Ok(())
}

/// Within the limits of bytes and levels.
pub(crate) fn check_size(text: &str, limits: &Limits) -> Result<(), Error> {
    let (bytes, max) = (text.len(), limits.topic_bytes);
    if bytes > max {
        return Err(Error::TooLong { bytes, max });
    }
    let (levels, max) = (1 + text.bytes().filter(|byte| *byte == b'/').count(), limits.topic_levels);
    if levels > max {
        return Err(Error::TooManyLevels { levels, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Profile;

    use super::*;

    fn aws(topic: &str) -> Result<(), Error> {
        validate(topic, &Limits::of(Profile::Aws))
    }

    #[test]
    fn names_are_plain_text() {
        for good in ["a", "/", "//", "a//b", "/a", "a/", " ", "grün/ß", "$SYS/x", "A"] {
            assert_eq!(aws(good), Ok(()), "{good}");
        }
        assert_eq!(aws(""), Err(Error::Empty));
        assert_eq!(aws("a\0b"), Err(Error::Nul("a\0b".into())));
        for wild in ["+", "#", "a/+", "a/#", "a+b", "a#"] {
            assert_eq!(aws(wild), Err(Error::Wildcard(wild.into())));
        }
    }

    #[test]
    fn bytes_and_levels_are_limited() {
        assert_eq!(aws(&"x".repeat(256)), Ok(()));
        assert_eq!(aws(&"x".repeat(257)), Err(Error::TooLong { bytes: 257, max: 256 }));
        assert_eq!(aws(&"ä".repeat(129)), Err(Error::TooLong { bytes: 258, max: 256 }));
        assert_eq!(aws("1/2/3/4/5/6/7/8"), Ok(()));
        assert_eq!(aws("1/2/3/4/5/6/7/8/9"), Err(Error::TooManyLevels { levels: 9, max: 8 }));
    }

    #[test]
    fn basic_ingest_prefix_is_not_counted() {
        assert_eq!(aws("$aws/rules/r/1/2/3/4/5/6/7/8"), Ok(()));
        assert_eq!(aws("$aws/rules/r/1/2/3/4/5/6/7/8/9"), Err(Error::TooManyLevels { levels: 9, max: 8 }));
        assert_eq!(aws(&format!("$aws/rules/{}/{}", "r".repeat(100), "x".repeat(256))), Ok(()));
        let long = format!("$aws/rules/r/{}", "x".repeat(257));
        assert_eq!(aws(&long), Err(Error::TooLong { bytes: 257, max: 256 }));
        assert_eq!(aws("$aws/things/r/4/5/6/7/8"), Ok(()));
        assert!(aws("$aws/things/r/4/5/6/7/8/9").is_err());
    }

    #[test]
    fn basic_ingest_names_a_rule() {
        assert_eq!(basic_ingest("$aws/rules/r/a/b"), Some(("r", "a/b")));
        assert_eq!(basic_ingest("$aws/rules/r/"), Some(("r", "")));
        assert_eq!(basic_ingest("$aws/rules/r"), Some(("r", "")));
        for other in ["$aws/rules/", "$aws/rules//a", "$aws/rules", "x/$aws/rules/r/a", "$AWS/rules/r/a"] {
            assert_eq!(basic_ingest(other), None, "{other}");
        }
    }
}
