//! Keys: which partition holds what, and how ids are written.
//!
//! A partition is one Redis slot: its keys begin with the same root, whose hash tag is the partition's number. All that
//! must change together, a client id with its session, queue and subscriptions, or a topic's retained message with its
//! rule entries, is in one partition.

use std::sync::LazyLock;

use fleethaven_storage::{EntryId, RuleEntryId};
use fleethaven_topics::{DepthRules, Placement, Slot};
use fleethaven_types::{AccountId, Scope, Utf8Bytes};

/// Bits of an [`EntryId`] below the generation. 2^48 is 1 modulo 65,535: a new generation shifts the packet
/// identifiers of entries by one, so that those in flight stay distinct.
const ENTRY_BITS: u32 = 48;

/// Bits of a [`RuleEntryId`] that tell the partition, and those of its number within.
const PARTITION_BITS: u32 = 8;
const RULE_BITS: u32 = 44;

/// The levels that part topics among partitions. Not the routers' rules, which may change: these never do.
static TOPIC_LEVELS: LazyLock<DepthRules> =
    LazyLock::new(|| DepthRules::new(3, Vec::new()).unwrap_or_default());

/// Names of keys and partitions.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    partitions: u16,
}

impl Keys {
    pub(crate) fn new(prefix: &str, partitions: u16) -> Self {
        Self { prefix: prefix.to_owned(), partitions: partitions.clamp(1, 256) }
    }

    /// All partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = u8> + use<> {
        (0..self.partitions).filter_map(|number| u8::try_from(number).ok())
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.partitions)
    }

    /// What all keys of a partition begin with.
    pub(crate) fn root(&self, partition: u8) -> String {
        format!("{}:{{{partition}}}", self.prefix)
    }

    /// Key of the store's own record: version of the layout, partitions, the last session id.
    pub(crate) fn store(&self) -> String {
        format!("{}:{{store}}", self.prefix)
    }

    /// The partition of a client id and its session.
    pub(crate) fn of_client(&self, client: &str) -> u8 {
        self.reduce(fnv1a(client.as_bytes()))
    }

    /// The partition of a session.
    pub(crate) fn of_session(session: u64) -> u8 {
        session.to_be_bytes()[7]
    }

    /// The partition of a topic's retained message and rule entries.
    pub(crate) fn of_topic(&self, scope: Scope, topic: &str) -> u8 {
        self.of_slot(fleethaven_topics::slot::slot(&scope, topic, &TOPIC_LEVELS))
    }

    /// The only partition whose topics match `filter`; `None` when there may be others.
    pub(crate) fn of_filter(&self, scope: Scope, filter: &str) -> Option<u8> {
        match Placement::of(&scope, filter, &TOPIC_LEVELS) {
            Placement::Pinned(slot) => Some(self.of_slot(slot)),
            Placement::Spread => None,
        }
    }

    fn of_slot(&self, slot: Slot) -> u8 {
        self.reduce(u64::from(slot.index()))
    }

    fn reduce(&self, number: u64) -> u8 {
        u8::try_from(number % u64::from(self.partitions)).unwrap_or_default()
    }
}

/// A new session's id: its number among all sessions ever, then its partition.
pub(crate) fn session_id(number: u64, partition: u8) -> u64 {
    (number << 8) | u64::from(partition)
}

/// Account and region as part of a key.
pub(crate) fn scope(scope: Scope) -> String {
    format!("{}:{}", scope.account, scope.region)
}

/// A client id with its scope before it.
pub(crate) fn client(of: Scope, client_id: &str) -> String {
    format!("{}:{client_id}", scope(of))
}

/// The scope and the client id that [`client`] joined.
pub(crate) fn split_client(key: &str) -> Option<(Scope, Utf8Bytes)> {
    let (account, rest) = key.split_once(':')?;
    let (region, client_id) = rest.split_once(':')?;
    let account: AccountId = account.parse().ok()?;
    Some((Scope { account, region: region.parse().ok()? }, client_id.into()))
}

/// A queue entry's id as that of a stream: generation and number.
pub(crate) fn entry(id: EntryId) -> String {
    let (generation, number) = parts(id);
    format!("{generation}-{number}")
}

/// Generation and number.
pub(crate) fn parts(id: EntryId) -> (u64, u64) {
    (id.0 >> ENTRY_BITS, id.0 & ((1 << ENTRY_BITS) - 1))
}

/// The id that [`entry`] wrote; `None` also when a part is too large.
pub(crate) fn split_entry(text: &str) -> Option<EntryId> {
    let (generation, number) = split_stream(text)?;
    let fits = generation < 1 << (64 - ENTRY_BITS) && number < 1 << ENTRY_BITS;
    fits.then_some(EntryId((generation << ENTRY_BITS) | number))
}

/// A rule entry's partition and its id in that partition's stream.
pub(crate) fn rule_entry(id: RuleEntryId) -> (u8, String) {
    let [.., partition] = id.0.to_be_bytes();
    let number = (id.0 >> PARTITION_BITS) & ((1 << RULE_BITS) - 1);
    (partition, format!("{}-{number}", id.0 >> (PARTITION_BITS + RULE_BITS)))
}

/// The id of what [`rule_entry`] parted.
pub(crate) fn split_rule_entry(partition: u8, text: &str) -> Option<RuleEntryId> {
    let (generation, number) = split_stream(text)?;
    let fits = generation < 1 << (64 - PARTITION_BITS - RULE_BITS) && number < 1 << RULE_BITS;
    let id = (generation << (PARTITION_BITS + RULE_BITS)) | (number << PARTITION_BITS) | u64::from(partition);
    fits.then_some(RuleEntryId(id))
}

fn split_stream(text: &str) -> Option<(u64, u64)> {
    let (generation, number) = text.split_once('-')?;
    Some((generation.parse().ok()?, number.parse().ok()?))
}

/// FNV-1a, finished by a multiplication so that the low bits depend on all. Part of the layout: never to be changed.
fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Scope {
        Scope { account: "000000000042".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
    }

    #[test]
    fn ids_come_apart_as_they_were_joined() {
        for id in [0, 1, 5, (1 << 48) | 7, u64::MAX] {
            assert_eq!(split_entry(&entry(EntryId(id))), Some(EntryId(id)));
            let (partition, stream) = rule_entry(RuleEntryId(id));
            assert_eq!(split_rule_entry(partition, &stream), Some(RuleEntryId(id)));
        }
        assert_eq!(split_entry("65536-1"), None);
        assert_eq!(split_rule_entry(1, "4096-1"), None);
        let key = client(ours(), "with:colons");
        assert_eq!(split_client(&key), Some((ours(), "with:colons".into())));
        assert_eq!(Keys::of_session(session_id(77, 200)), 200);
    }

    #[test]
    fn a_new_generation_shifts_packet_ids_by_one() {
        let before = EntryId(1000).packet_id().get();
        assert_eq!(EntryId((1 << ENTRY_BITS) | 1000).packet_id().get(), before + 1);
    }

    /// The layout of stores in use: if this fails, what they hold would not be found any more.
    #[test]
    fn partitions_never_change() {
        let keys = Keys::new("fleethaven", 64);
        assert_eq!(keys.root(17), "fleethaven:{17}");
        let clients = ["a", "sensor-1", "grün"].map(|id| keys.of_client(&client(ours(), id)));
        assert_eq!(clients, [60, 12, 40]);
        let topics = ["t", "a/b/c", "a/b/c/d"].map(|topic| keys.of_topic(ours(), topic));
        assert_eq!(topics, [25, 17, 17]);
        assert_eq!(keys.of_filter(ours(), "a/b/c/#"), Some(keys.of_topic(ours(), "a/b/c/d")));
        assert_eq!(keys.of_filter(ours(), "a/+/c"), None);
    }

    #[test]
    fn clients_are_spread_evenly() {
        let keys = Keys::new("", 64);
        let mut counts = [0; 64];
        (0..64_000).for_each(|n| counts[usize::from(keys.of_client(&format!("1:r:device-{n}")))] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
