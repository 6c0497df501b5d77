//! Members of groups of shared subscriptions: which clients they are, and what must have come of what their groups got.
//!
//! Each is a member of one group, or for a while of none: that a message came twice to a client says something then.

use fleethaven_topics::filter::matches;
use fleethaven_topics::split_shared;
use fleethaven_types::QoS;

use crate::Violation;
use crate::clients::{APART, SUBSCRIBERS};
use crate::history::{MessageId, id};
use crate::world::World;

/// The groups: of one slot's topics, and of those of several.
const GROUPS: [&[&str]; 3] = [&["$share/g/t/1/1/#"], &["$share/g/t/#"], &["$share/h/t/+/0"]];
/// Members with persistent sessions, and with clean ones.
const MEMBERS: (usize, usize) = (4, 2);

/// Whether the session of a subscriber outlives its connections.
pub(crate) fn is_persistent(index: usize) -> bool {
    index < SUBSCRIBERS.0 || (APART..APART + MEMBERS.0).contains(&index)
}

/// Whether a subscriber is there for groups.
pub(crate) fn is_member(index: usize) -> bool {
    index >= APART
}

/// At which QoS a subscriber subscribes. What a clean session may have got at QoS 2 is nobody else's when it ends.
pub(crate) fn qos(index: usize) -> QoS {
    if is_member(index) && !is_persistent(index) { QoS::AtLeastOnce } else { QoS::ExactlyOnce }
}

/// The topics that a subscription is about.
pub(crate) fn topics_of(filter: &str) -> &str {
    split_shared(filter).map_or(filter, |(_, filter)| filter)
}

impl World {
    /// All are of two groups, so that these have several.
    pub(crate) fn start_members(&mut self) {
        let groups = [self.random.pick(&GROUPS), self.random.pick(&GROUPS)];
        for (index, group) in (APART..APART + MEMBERS.0 + MEMBERS.1).zip(groups.into_iter().flatten().cycle())
        {
            self.start_subscriber(index, group);
        }
    }

    /// The groups of this run, each with those clients that may be its members.
    fn groups(&self) -> Vec<(&'static str, Vec<usize>)> {
        let of = |group: &'static [&'static str]| {
            let wanted =
                move |index: &usize| self.subscribers.get(*index).is_some_and(|one| one.choice() == group);
            group.iter().map(move |name| (*name, (APART..self.subscribers.len()).filter(wanted).collect()))
        };
        GROUPS.into_iter().flat_map(of).filter(|(_, members): &(_, Vec<usize>)| !members.is_empty()).collect()
    }

    /// Those of them that are members now.
    fn members_now(&self, group: &str, of: &[usize]) -> Vec<usize> {
        let is_member = |index: &&usize| {
            let client = self.subscribers.get(**index);
            client.is_some_and(|client| self.filters_of(client).iter().any(|filter| filter == group))
        };
        of.iter().filter(is_member).copied().collect()
    }

    /// What a group's queue holds and no member has got, although some are there.
    pub(crate) fn unshared(&self) -> Option<String> {
        self.groups().into_iter().find_map(|(group, of)| {
            let members = self.members_now(group, &of);
            if members.is_empty() {
                return None;
            }
            let store = self.store.lock();
            let is_its = |key: &str| {
                split_shared(group).is_some_and(|(name, filter)| key == format!("{name}/{filter}"))
            };
            let queues = store.model.groups.values().filter(|queue| is_its(&queue.record().key));
            let got = |message: MessageId| of.iter().any(|index| self.history.came_to(*index, message));
            queues.flat_map(|queue| queue.entries.values()).find_map(|entry| {
                let message = id(&entry.queued.message);
                (!got(message)).then(|| {
                    let held = entry.holder;
                    format!("a share of {group} waits, {message:?}, held by {held:x?}; there are {members:?}")
                })
            })
        })
    }

    /// Each message that was acknowledged to its publisher came to a member, where persistent ones were there from before it was
    /// sent, and at QoS 2 to one of those with a persistent session only.
    pub(crate) fn check_groups(&self) -> Result<(), Violation> {
        for (group, of) in self.groups() {
            for (message, sent) in self.history.sent.iter().filter(|(_, sent)| sent.qos != QoS::AtMostOnce) {
                let due = sent.acknowledged.is_some()
                    && matches(topics_of(group), sent.topic, true)
                    && self.history.had_members(group, sent.at);
                let got: Vec<_> = of.iter().filter(|index| self.history.came_to(**index, *message)).collect();
                if due && got.is_empty() {
                    return Err(Violation(format!(
                        "{message:?} to {} was sent at {} and acknowledged at {:?}, and never came to a member of {group}",
                        sent.topic, sent.at, sent.acknowledged
                    )));
                }
                let persistent = got.iter().filter(|index| is_persistent(***index)).count();
                if sent.qos == QoS::ExactlyOnce && persistent > 1 {
                    return Err(Violation(format!(
                        "{message:?} came to several members of {group}: {got:?}, twice"
                    )));
                }
            }
        }
        Ok(())
    }

    /// A probe comes to one member of each group.
    pub(crate) fn check_probe_of_groups(&self, probe: MessageId, topic: &str) -> Result<(), Violation> {
        for (group, of) in self.groups() {
            let members = self.members_now(group, &of);
            if members.is_empty() || !matches(topics_of(group), topic, true) {
                continue;
            }
            let got: usize = of.iter().map(|index| self.history.times(*index, probe)).sum();
            if got != 1 {
                return Err(Violation(format!(
                    "members {members:?} of {group} got the probe to {topic} {got} times instead of once"
                )));
            }
        }
        Ok(())
    }
}
