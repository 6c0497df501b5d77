//! Members and slots, and what changes them.

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_topics::slot::SLOTS;
use fleethaven_topics::{DepthRules, Depths, Slot};
use serde::{Deserialize, Serialize};

use crate::assignment::assign;
use crate::depth::{self, Changing, DepthChange};
use crate::member::{Incarnation, Member, Phase, Role};
use crate::table::{RoutingTable, SlotOwner};

/// Members that a cluster has at most; bounds what a table weighs.
pub const MEMBERS_MAX: usize = 4096;
/// Longest address, in bytes: a DNS name, a colon and a port fit.
const ADDRESS_MAX: usize = 261;
/// Characters of a member's version that are kept.
const VERSION_MAX: usize = 64;

/// Where a cluster that begins, or begins again from a backup, at `now_seconds` since 1970 starts to count: above all that
/// another one counted which began at least a second before, so that what the session store remembers of that one (fences,
/// owners of sessions) is never met again. Below 2^53 until the year 2242: exact in Redis's Lua, too.
pub fn floor(now_seconds: u64) -> u64 {
    now_seconds << 20
}

/// A change of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A process joins, [`Loading`](Phase::Loading).
    Join {
        /// What it does.
        role: Role,
        /// Where the others reach it: `host:port`.
        address: String,
        /// The release that it runs.
        #[serde(default)]
        version: String,
    },
    /// A member says how far it is.
    SetPhase {
        /// Which.
        incarnation: Incarnation,
        /// How far.
        phase: Phase,
    },
    /// The owner of slots has stopped serving them.
    Release {
        /// Which.
        incarnation: Incarnation,
        /// Numbers of the slots, each with the epoch under which it was served.
        slots: Vec<(u16, u64)>,
    },
    /// A member is gone: it said so, or its lease ran out.
    Remove {
        /// Which.
        incarnation: Incarnation,
    },
    /// Other depths are wanted.
    SetDepth {
        /// Topics that begin with these levels; empty: all that are below no other prefix.
        prefix: String,
        /// How many levels choose their slot; `None`: no other than without this prefix, or without the change of the default.
        depth: Option<usize>,
    },
    /// A router holds all that the depths to come want.
    ReadyForDepth {
        /// Which.
        incarnation: Incarnation,
        /// The version of the table that it has done so for.
        version: u64,
    },
}

impl Command {
    /// Whether carrying it out twice is the same as once.
    pub fn is_idempotent(&self) -> bool {
        !matches!(self, Self::Join { .. })
    }
}

/// Why a command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The member left, or its lease ran out.
    #[error("incarnation {0} is not a member of the cluster")]
    Gone(Incarnation),
    /// Phases only go forward.
    #[error("a member that is {from:?} does not become {to:?} again")]
    Backwards {
        /// What it is.
        from: Phase,
        /// What it wanted to be.
        to: Phase,
    },
    /// No room.
    #[error("the cluster has {MEMBERS_MAX} members, which is as many as it may have")]
    Full,
    /// Not an address, by its length.
    #[error("an address has 1 to {ADDRESS_MAX} bytes, not {0}")]
    Address(usize),
    /// There cannot be such depths.
    #[error("{0}")]
    Depth(String),
    /// One change at a time.
    #[error("another change of the depths is under way: try again when it is done")]
    Changing,
}

/// Members and slots as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Grows with each change.
    pub version: u64,
    /// The incarnation given last.
    pub last: Incarnation,
    /// How many levels of a topic choose its slot.
    pub depths: Depths,
    /// Those are being changed.
    pub changing: Option<Changing>,
    /// By [`Slot::index`]; always [`SLOTS`] of them.
    pub slots: Vec<SlotOwner>,
    /// The members.
    pub members: BTreeMap<Incarnation, Member>,
}

impl Cluster {
    /// A cluster without members, whose versions, incarnations and epochs begin above `floor`.
    pub fn new(floor: u64) -> Self {
        let slot = SlotOwner { epoch: floor, ..SlotOwner::default() };
        Self {
            version: floor,
            last: Incarnation(floor),
            depths: Depths::default(),
            changing: None,
            slots: vec![slot; usize::from(SLOTS)],
            members: BTreeMap::new(),
        }
    }

    /// The same cluster when it begins again, from a backup: without members, and counting from above both `floor` and all that
    /// it had counted.
    pub fn begun_again(&self, floor: u64) -> Self {
        let epochs = self.slots.iter().map(|slot| slot.epoch);
        let counted = epochs.chain([self.version, self.last.0]).max().unwrap_or_default();
        let depths = Depths { now: self.depths.now.clone(), next: None };
        Self { depths, ..Self::new(floor.max(counted + 1)) }
    }

    /// Carries out `command`: the incarnation of who joined, if that is what it was. What has been done before changes nothing
    /// and is no error, except that each `Join` makes another member.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed.
    pub fn apply(&mut self, command: &Command) -> Result<Option<Incarnation>, Refusal> {
        let mut changed = self.clone();
        let joined = match command {
            Command::Join { role, address, version } => Some(changed.join(*role, address, version)?),
            Command::SetPhase { incarnation, phase } => {
                changed.set_phase(*incarnation, *phase)?;
                None
            }
            Command::Release { incarnation, slots } => {
                changed.release(*incarnation, slots)?;
                None
            }
            Command::Remove { incarnation } => {
                changed.members.remove(incarnation);
                None
            }
            Command::SetDepth { prefix, depth } => {
                changed.set_depth(prefix, *depth)?;
                None
            }
            Command::ReadyForDepth { incarnation, version } => {
                changed.ready_for_depth(*incarnation, *version)?;
                None
            }
        };
        changed.settle();
        if changed != *self {
            changed.version += 1;
            *self = changed;
        }
        Ok(joined)
    }

    /// What everybody sees.
    pub fn table(&self) -> RoutingTable {
        RoutingTable {
            version: self.version,
            depths: self.depths.clone(),
            change: self.changing.as_ref().map(|changing| changing.change),
            slots: self.slots.clone().into(),
            members: self.members.values().cloned().collect(),
        }
    }

    fn join(&mut self, role: Role, address: &str, version: &str) -> Result<Incarnation, Refusal> {
        if address.is_empty() || address.len() > ADDRESS_MAX {
            return Err(Refusal::Address(address.len()));
        }
        if self.members.len() >= MEMBERS_MAX {
            return Err(Refusal::Full);
        }
        self.last = Incarnation(self.last.0 + 1);
        let (incarnation, address) = (self.last, address.to_owned());
        let version = version.chars().take(VERSION_MAX).collect();
        let member = Member { incarnation, role, address, phase: Phase::Loading, version };
        self.members.insert(incarnation, member);
        Ok(incarnation)
    }

    /// Gives every slot what it must have, and goes on with a change of the depths.
    fn settle(&mut self) {
        let switching = |changing: &Option<Changing>| changing.as_ref().is_some_and(|c| c.change.switching);
        assign(&mut self.slots, &self.members, switching(&self.changing));
        let in_force = depth::advance(&mut self.depths, &mut self.changing, &mut self.slots, &self.members);
        if in_force {
            assign(&mut self.slots, &self.members, false);
        }
    }

    /// Asking for what is in force or under way changes nothing; asking for what is in force takes a change back that nobody has
    /// switched to yet.
    fn set_depth(&mut self, prefix: &str, depth: Option<usize>) -> Result<(), Refusal> {
        let wanted = depth::changed(&self.depths.now, prefix, depth).map_err(Refusal::Depth)?;
        let is_next = |rules: &DepthRules| self.depths.next.as_ref() == Some(rules);
        match &self.changing {
            _ if is_next(&wanted) => {}
            Some(changing) if changing.change.switching || wanted != self.depths.now => {
                return Err(Refusal::Changing);
            }
            Some(_) => (self.depths.next, self.changing) = (None, None),
            None if wanted == self.depths.now => {}
            None => {
                self.depths.next = Some(wanted);
                let change = DepthChange { since: self.version + 1, switching: false };
                self.changing = Some(Changing { change, ready: BTreeSet::new() });
            }
        }
        Ok(())
    }

    /// What was ready for an earlier change counts for nothing now.
    fn ready_for_depth(&mut self, incarnation: Incarnation, version: u64) -> Result<(), Refusal> {
        if !self.members.contains_key(&incarnation) {
            return Err(Refusal::Gone(incarnation));
        }
        if let Some(changing) = self.changing.as_mut().filter(|changing| version >= changing.change.since) {
            changing.ready.insert(incarnation);
        }
        Ok(())
    }

    fn set_phase(&mut self, incarnation: Incarnation, to: Phase) -> Result<(), Refusal> {
        let member = self.members.get_mut(&incarnation).ok_or(Refusal::Gone(incarnation))?;
        if to < member.phase {
            return Err(Refusal::Backwards { from: member.phase, to });
        }
        member.phase = to;
        Ok(())
    }

    /// Only what the member owns under the epoch it names: a release that is told twice must not free what came after it.
    fn release(&mut self, incarnation: Incarnation, slots: &[(u16, u64)]) -> Result<(), Refusal> {
        if !self.members.contains_key(&incarnation) {
            return Err(Refusal::Gone(incarnation));
        }
        for (index, epoch) in slots {
            let slot = Slot::new(*index).and_then(|slot| self.slots.get_mut(usize::from(slot.index())));
            if let Some(slot) = slot.filter(|slot| slot.owner == Some(incarnation) && slot.epoch == *epoch) {
                slot.owner = None;
            }
        }
        Ok(())
    }
}
