//! Slots: the parts that the topic space is divided into, each owned by one router. A topic's slot is a hash
//! of its account, region and first levels; how many levels is given by [`DepthRules`]. The hash is part of
//! the wire contract between gateways and routers and must never change.

use fleethaven_types::Scope;

use crate::filter::{has_wildcard, split_shared};
use crate::levels::{Levels, match_levels};

/// How many slots there are.
pub const SLOTS: u16 = 1024;

/// One part of the topic space: a number below [`SLOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number; `None` from [`SLOTS`] on.
    pub fn new(index: u16) -> Option<Self> {
        (index < SLOTS).then_some(Self(index))
    }

    /// Its number.
    pub fn index(self) -> u16 {
        self.0
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }
}

/// Why a depth rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// At least one level must count, or a whole scope would be one slot.
    #[error("the depth below '{0}' must be at least 1")]
    NoDepth(String),
    /// The levels that choose a rule must be among those that are hashed, or no filter that is as deep could
    /// tell the slots of its topics.
    #[error("the depth {depth} below '{prefix}' is less than the levels of that prefix")]
    PrefixTooDeep {
        /// The levels that topics must begin with.
        prefix: String,
        /// The depth asked for.
        depth: usize,
    },
    /// A prefix is whole levels without wildcards.
    #[error(
        "'{0}' is not a topic prefix: levels without wildcards and without a '/' at the end are expected"
    )]
    Prefix(String),
}

/// How many levels of a topic choose its slot: as many as the rule with the longest prefix says, else a
/// default. Data of the cluster: gateways and routers must use the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepthRules {
    default: usize,
    /// Prefix and depth; the longest prefixes first.
    prefixes: Vec<(String, usize)>,
}

impl Default for DepthRules {
    /// Three levels; five below `$aws/events`; rule name plus two below `$aws/rules`, which is five in all.
    fn default() -> Self {
        let five = |prefix: &str| (prefix.to_owned(), 5);
        Self { default: 3, prefixes: vec![five("$aws/events"), five("$aws/rules")] }
    }
}

impl DepthRules {
    /// `default` levels, and for topics that are or lie below one of `prefixes` so many in all, the prefix's
    /// included.
    pub fn new(default: usize, prefixes: Vec<(String, usize)>) -> Result<Self, Error> {
        if default == 0 {
            return Err(Error::NoDepth(String::new()));
        }
        for (prefix, depth) in &prefixes {
            check_rule(prefix, *depth)?;
        }
        let mut rules = Self { default, prefixes };
        rules.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.split('/').count()));
        Ok(rules)
    }

    /// The depth of topics that are below none of the prefixes.
    pub fn default_depth(&self) -> usize {
        self.default
    }

    /// The prefixes with their depths, the longest first.
    pub fn prefixes(&self) -> &[(String, usize)] {
        &self.prefixes
    }

    /// The number of levels of `topic` that choose its slot, if it has so many.
    pub fn depth(&self, topic: &str) -> usize {
        self.prefixes
            .iter()
            .find(|(prefix, _)| is_below(topic, prefix))
            .map_or(self.default, |(_, depth)| *depth)
    }

    /// The largest depth that a topic matched by `filter` could have.
    fn largest_depth(&self, filter: &str) -> usize {
        let mut largest = None;
        for (prefix, depth) in &self.prefixes {
            if !may_match_below(filter, prefix) {
                continue;
            }
            largest = largest.max(Some(*depth));
            // All topics of the filter begin so: shorter prefixes and the default are not asked any more.
            if is_below(literal_head(filter), prefix) {
                return largest.unwrap_or(self.default);
            }
        }
        largest.map_or(self.default, |depth| depth.max(self.default))
    }
}

/// The depth rules in force, and those that are about to be: while one set gives way to another, subscriptions are held where
/// either wants them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Depths {
    /// Which slot a topic has now.
    pub now: DepthRules,
    /// Which it will have.
    pub next: Option<DepthRules>,
}

impl Depths {
    /// Where the subscriptions to `filter` in `scope` are held; those to `$share/{name}/…` as what follows says.
    pub fn places(&self, scope: &Scope, filter: &str) -> Places {
        let filter = split_shared(filter).map_or(filter, |(_, filter)| filter);
        let now = Placement::of(scope, filter, &self.now);
        let next = self.next.as_ref().map(|next| Placement::of(scope, filter, next));
        Places { now, next: next.filter(|next| *next != now) }
    }

    /// Whether who holds what these want holds all that `other` wants.
    pub fn cover(&self, other: &Self) -> bool {
        let known = |rules: &DepthRules| *rules == self.now || Some(rules) == self.next.as_ref();
        known(&other.now) && other.next.as_ref().is_none_or(known)
    }
}

/// Where the subscriptions to a filter are held, under all [`Depths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Places {
    now: Placement,
    /// Unless it is the same.
    next: Option<Placement>,
}

impl Places {
    /// Every router holds them.
    pub const SPREAD: Self = Self { now: Placement::Spread, next: None };

    /// Each of them, once.
    pub fn iter(self) -> impl Iterator<Item = Placement> {
        std::iter::once(self.now).chain(self.next)
    }
}

/// The slot of `topic` in `scope`.
pub fn slot(scope: &Scope, topic: &str, rules: &DepthRules) -> Slot {
    slot_of_head(scope, first_levels(topic, rules.depth(topic)))
}

/// Where the subscriptions to a filter are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// All topics that it matches have this slot: the slot's owner alone holds it.
    Pinned(Slot),
    /// Its topics may have any slot: every router holds it.
    Spread,
}

impl Placement {
    /// The placement of `filter` (without `$share/{name}/`) in `scope`. It is pinned when it has no wildcard
    /// among as many levels as any topic that it matches could have hashed.
    pub fn of(scope: &Scope, filter: &str, rules: &DepthRules) -> Self {
        let head = first_levels(filter, rules.largest_depth(filter));
        if has_wildcard(head) { Self::Spread } else { Self::Pinned(slot_of_head(scope, head)) }
    }
}

fn check_rule(prefix: &str, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        return Err(Error::NoDepth(prefix.to_owned()));
    }
    if prefix.is_empty() || prefix.ends_with('/') || has_wildcard(prefix) {
        return Err(Error::Prefix(prefix.to_owned()));
    }
    if prefix.split('/').count() > depth {
        return Err(Error::PrefixTooDeep { prefix: prefix.to_owned(), depth });
    }
    Ok(())
}

/// Whether `topic` is `prefix` or lies below it.
fn is_below(topic: &str, prefix: &str) -> bool {
    topic.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `filter` may match `prefix` or a topic below it: it does when its first levels match the prefix,
/// or when a `#` comes before that.
fn may_match_below(filter: &str, prefix: &str) -> bool {
    let head = first_levels(filter, prefix.split('/').count());
    match_levels(Levels::of(head.as_bytes()), Levels::of(prefix.as_bytes()), true)
}

/// The levels of `filter` before its first wildcard.
fn literal_head(filter: &str) -> &str {
    let Some(at) = filter.find(['+', '#']) else { return filter };
    filter.get(..at.saturating_sub(1)).unwrap_or_default()
}

/// The first `count` levels of `text`, all if it has fewer.
fn first_levels(text: &str, count: usize) -> &str {
    let end = text.match_indices('/').nth(count.saturating_sub(1)).map(|(at, _)| at);
    end.and_then(|at| text.get(..at)).unwrap_or(text)
}

/// The slot hash, for ever: absorb the account number, the region's words and the head's words, each text as
/// 64-bit little-endian words (the last one filled up with zeros) after a word with its length in bytes; then
/// the remainder by [`SLOTS`].
fn slot_of_head(scope: &Scope, head: &str) -> Slot {
    let state = mix(scope.account.as_u64());
    let state = absorb(absorb(state, scope.region.as_str()), head);
    Slot((state % u64::from(SLOTS)) as u16)
}

fn absorb(state: u64, text: &str) -> u64 {
    let start = mix(state ^ text.len() as u64);
    text.as_bytes().chunks(8).fold(start, |state, chunk| {
        let word = chunk.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        mix(state ^ word)
    })
}

/// A bijection of 64-bit numbers in which each bit of the input changes about half of the output: the
/// finaliser of SplitMix64. Its constants must never change.
pub(crate) fn mix(number: u64) -> u64 {
    let x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
