//! Topic aliases towards the client (MQTT 5 section 3.3.2.3.4): the first topics of a connection that are worth it get
//! one and keep it, so a client with few topics gains and one with many costs nothing more.
//!
//! The table lives and dies with the connection: what is sent again on another one goes out with its topic first.

use std::num::NonZeroU16;

use fleethaven_mqtt::Alias;
use fleethaven_types::Utf8Bytes;
use rustc_hash::FxHashMap;

/// An alias takes up to this many bytes of a packet: a topic no longer than that is not worth one.
const COST: usize = 4;
/// Bytes of all topics in the table.
const TOPIC_BYTES: usize = 16 << 10;

/// What the client was told so far.
#[derive(Debug)]
pub(crate) struct Aliases {
    by_topic: FxHashMap<Utf8Bytes, NonZeroU16>,
    max: u16,
    bytes: usize,
}

impl Aliases {
    /// For at most `max` topics; `None` when that is none.
    pub(crate) fn up_to(max: u16) -> Option<Box<Self>> {
        (max > 0).then(|| Box::new(Self { by_topic: FxHashMap::default(), max, bytes: 0 }))
    }

    /// The alias to send with `topic`, if it has one or is to get one. A new one counts once [`Self::define`] says so.
    pub(crate) fn of(&self, topic: &str) -> Option<Alias> {
        if let Some(alias) = self.by_topic.get(topic) {
            return Some(Alias::Known(*alias));
        }
        let worthwhile = topic.len() > COST && self.bytes + topic.len() <= TOPIC_BYTES;
        let next =
            u16::try_from(self.by_topic.len() + 1).ok().filter(|next| worthwhile && *next <= self.max)?;
        NonZeroU16::new(next).map(Alias::Defined)
    }

    /// The client was sent `topic` with this new alias.
    pub(crate) fn define(&mut self, topic: &Utf8Bytes, alias: NonZeroU16) {
        self.bytes += topic.len();
        self.by_topic.insert(topic.compact(), alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn define(aliases: &mut Aliases, topic: &str) -> Option<Alias> {
        let alias = aliases.of(topic);
        if let Some(Alias::Defined(number)) = alias {
            aliases.define(&topic.into(), number);
        }
        alias
    }

    #[test]
    fn the_first_topics_get_the_aliases() {
        let number = |number| NonZeroU16::new(number).unwrap();
        let mut aliases = Aliases::up_to(2).unwrap();
        assert_eq!(define(&mut aliases, "topic/1"), Some(Alias::Defined(number(1))));
        assert_eq!(define(&mut aliases, "abcd"), None, "not worth it");
        assert_eq!(define(&mut aliases, "topic/2"), Some(Alias::Defined(number(2))));
        assert_eq!(define(&mut aliases, "topic/3"), None, "none left");
        assert_eq!(define(&mut aliases, "topic/1"), Some(Alias::Known(number(1))));
        assert!(Aliases::up_to(0).is_none());
    }

    #[test]
    fn the_table_is_bounded_by_its_bytes() {
        let mut aliases = Aliases::up_to(u16::MAX).unwrap();
        let long = |n: usize| format!("{n}{}", "x".repeat(TOPIC_BYTES / 2 - 1));
        assert!(define(&mut aliases, &long(1)).is_some());
        assert!(define(&mut aliases, &long(2)).is_some());
        assert_eq!(define(&mut aliases, "topic"), None);
    }
}
