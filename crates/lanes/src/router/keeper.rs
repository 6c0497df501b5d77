//! What a router has to do before it serves a slot, and before it lets go of one (B1 to B3).
//!
//! It holds the pinned filters of the slots that it owns, is to own next, or stands by for, and all spread ones. A slot that it
//! owns is served once its filters are loaded from the session store, its fence is raised there, and the gateways have told
//! of their live sessions. What a gateway that does not know of this router yet promises to a persistent session is in the
//! store only: a load counts when it began after all gateways had told. They are waited for a while only; then it is loaded once
//! more after the fence, when nobody else can promise anything any more. A slot that another is to own takes no more publishes,
//! and is released when all that it had taken are answered.
//!
//! When other depths are to come, everything is loaded once more, as they and the present ones want it, while what is served
//! goes on; that is told, and every slot released when the table asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_fabric::membership::{Incarnation, LEASE, Phase, Role, RoutingTable};
use fleethaven_storage::Fence;
use fleethaven_topics::{Placement, Slot};

use super::gathering::LaneId;
use super::slots::{Serving, Slots};

/// How long gateways are waited for that have not told of their sessions.
pub const GATHER: Duration = LEASE;
/// How often a slot that is to be released is looked at.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// What is to be done, and to be reported when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Load the subscriptions of persistent sessions: filters that are pinned to these slots, and with `spread` the spread
    /// ones → [`Keeper::loaded`].
    Load {
        /// The slots.
        slots: Vec<Slot>,
        /// The spread ones, too.
        spread: bool,
    },
    /// Raise the fences of slots in the session store → [`Keeper::fenced`].
    Fence(Vec<Fence>),
    /// Tell the metastore that these slots, under these epochs, are not served any more. To be repeated until it is heard.
    Release(Vec<(Slot, u64)>),
    /// Tell the metastore that this router may own slots. To be repeated until it is heard.
    Serve,
    /// Tell the metastore that all is held that the depths to come want, as this version of the table told of them. To be repeated
    /// until it is heard.
    ReadyForDepth(u64),
}

/// The lane of a gateway core.
#[derive(Debug)]
struct Gateway {
    cores: u16,
    level: u64,
}

/// A slot that this router has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    /// Its filters are, or are being, held since this version of the table; 0: they are not.
    since: u64,
    load: Loaded,
    /// What a load that goes on will have loaded.
    asked: Loaded,
    step: Step,
    /// The epoch in which its fence was raised last; 0: never.
    fenced: u64,
}

/// How much of what sessions are subscribed to is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Loaded {
    #[default]
    No,
    /// What had been promised by gateways that did not know of this router may be missing.
    Early,
    /// Everything.
    Complete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    /// Not this router's.
    #[default]
    Other,
    /// Its filters are not there yet.
    Loading {
        epoch: u64,
    },
    /// Its fence is to be raised.
    Unfenced {
        epoch: u64,
    },
    /// Its fence is being raised.
    Fencing {
        epoch: u64,
    },
    /// Gateways are waited for.
    Gathering {
        epoch: u64,
        until: Instant,
    },
    /// It is to be loaded once more.
    Incomplete {
        epoch: u64,
        until: Instant,
    },
    /// It is being loaded once more.
    Completing {
        epoch: u64,
        until: Instant,
    },
    Serving {
        epoch: u64,
    },
    Draining {
        epoch: u64,
    },
    Released {
        epoch: u64,
    },
}

/// The keeper of a router's slots.
#[derive(Debug)]
pub struct Keeper {
    me: Incarnation,
    slots: Arc<Slots>,
    table: Option<Arc<RoutingTable>>,
    held: Vec<Held>,
    lanes: BTreeMap<LaneId, Gateway>,
    loading: bool,
    spread: Loaded,
    spread_asked: Loaded,
    /// Of the table that told of this router first.
    first_version: u64,
    /// It has been said that this router may own slots.
    offered: bool,
    /// Since which version the depths to come are told of for which it was said that all is held.
    ready_for: u64,
    /// All is loaded: gateways are waited for until then.
    ready_by: Option<Instant>,
    next_timeout: Option<Instant>,
}

impl Keeper {
    /// The router of this incarnation, which owns nothing yet and keeps `slots` up to date.
    pub fn new(me: Incarnation, slots: Arc<Slots>) -> Self {
        Self {
            me,
            slots,
            table: None,
            held: Slot::all().map(|_| Held::default()).collect(),
            lanes: BTreeMap::new(),
            loading: false,
            spread: Loaded::No,
            spread_asked: Loaded::No,
            first_version: 0,
            offered: false,
            ready_for: 0,
            ready_by: None,
            next_timeout: None,
        }
    }

    /// There is a newer table.
    pub fn set_table(&mut self, table: Arc<RoutingTable>) {
        if self.table.as_ref().is_some_and(|before| before.version >= table.version) {
            return;
        }
        let me = Some(self.me);
        if self.table.as_ref().is_some_and(|before| !before.depths.cover(&table.depths)) {
            self.load_anew();
        }
        for slot in Slot::all() {
            let at = table.slot(slot);
            let held = held(&mut self.held, slot);
            match [at.owner, at.next, at.standby].contains(&me) {
                true if held.since == 0 => held.since = table.version,
                true => {}
                // What is told to others is not heard here: what is held would be out of date when it is wanted again.
                false => (held.since, held.load, held.asked) = (0, Loaded::No, Loaded::No),
            }
            let handed_over = table.is_switching() || (at.next.is_some() && at.next != me);
            held.step = match held.step {
                _ if at.owner != me => Step::Other,
                step if step.epoch() == Some(at.epoch) => match step {
                    Step::Serving { epoch } if handed_over => Step::Draining { epoch },
                    Step::Draining { epoch } if !handed_over => Step::Serving { epoch },
                    step => step,
                },
                // Nothing was taken in this epoch: there is nothing to wait for.
                _ if handed_over => Step::Draining { epoch: at.epoch },
                _ => Step::Loading { epoch: at.epoch },
            };
            self.slots.hold_since(Placement::Pinned(slot), held.since);
            self.slots.set(slot, held.step.serving(), at.epoch);
        }
        if self.first_version == 0 {
            self.first_version = table.version;
        }
        self.slots.hold_since(Placement::Spread, self.first_version);
        self.table = Some(table);
        self.tell_fenced();
    }

    /// Lanes hear of it when no other router can acknowledge anything any more in slots that are this one's.
    fn tell_fenced(&self) {
        let Some(table) = &self.table else { return };
        let mut slots = Slot::all().map(|slot| table.slot(slot)).zip(&self.held);
        if slots.all(|(at, held)| at.owner != Some(self.me) || held.fenced == at.epoch) {
            self.slots.reach_fenced(table.version);
        }
    }

    /// Nothing that is held is all that must be, from the next table on.
    fn load_anew(&mut self) {
        for held in &mut self.held {
            (held.since, held.load, held.asked) = (0, Loaded::No, Loaded::No);
        }
        (self.spread, self.spread_asked, self.first_version) = (Loaded::No, Loaded::No, 0);
    }

    /// A lane was opened by a gateway that opens one for each of `cores` cores.
    pub fn lane_opened(&mut self, lane: LaneId, cores: u16) {
        self.lanes.insert(lane, Gateway { cores, level: 0 });
    }

    /// A gateway core has told of all its sessions by this version of the table.
    pub fn lane_level(&mut self, lane: LaneId, version: u64) {
        if let Some(gateway) = self.lanes.get_mut(&lane) {
            gateway.level = gateway.level.max(version);
        }
    }

    /// A lane is over.
    pub fn lane_closed(&mut self, lane: LaneId) {
        self.lanes.remove(&lane);
    }

    /// What was asked for with [`Action::Load`] is there.
    pub fn loaded(&mut self, slots: &[Slot], spread: bool) {
        self.loading = false;
        let asked = std::mem::take(&mut self.spread_asked);
        if spread {
            self.spread = self.spread.max(asked);
        }
        for slot in slots {
            let held = held(&mut self.held, *slot);
            held.load = held.load.max(std::mem::take(&mut held.asked));
            if let Step::Completing { epoch, until } = held.step {
                held.step = Step::Gathering { epoch, until };
            }
        }
    }

    /// What was asked for with [`Action::Load`] could not be had.
    pub fn load_failed(&mut self) {
        (self.loading, self.spread_asked) = (false, Loaded::No);
        for held in &mut self.held {
            held.asked = Loaded::No;
            if let Step::Completing { epoch, until } = held.step {
                held.step = Step::Incomplete { epoch, until };
            }
        }
    }

    /// Asks for what is to be loaded. Once its slot is fenced nobody else can promise anything; before that, all gateways must
    /// have told.
    fn load(&mut self, slots: Vec<Slot>, gathered: u64) -> Action {
        self.loading = true;
        let mut fenced = false;
        for slot in &slots {
            let held = held(&mut self.held, *slot);
            held.asked = if gathered >= held.since { Loaded::Complete } else { Loaded::Early };
            if let Step::Incomplete { epoch, until } = held.step {
                (held.asked, fenced) = (Loaded::Complete, true);
                held.step = Step::Completing { epoch, until };
            }
        }
        let told = gathered >= self.first_version;
        let spread = fenced || self.spread == Loaded::No || (told && self.spread != Loaded::Complete);
        if spread {
            self.spread_asked = if told || fenced { Loaded::Complete } else { Loaded::Early };
        }
        Action::Load { slots, spread }
    }

    /// Fences were raised; with `false` they were not, and this is to be tried again unless the table says otherwise by then.
    pub fn fenced(&mut self, fences: &[Fence], raised: bool, now: Instant) {
        for fence in fences {
            let Some(slot) = Slot::new(fence.slot) else { continue };
            let held = held(&mut self.held, slot);
            if raised {
                held.fenced = held.fenced.max(fence.epoch);
            }
            if held.step == (Step::Fencing { epoch: fence.epoch }) {
                held.step = match raised {
                    true => Step::Gathering { epoch: fence.epoch, until: now + GATHER },
                    false => Step::Unfenced { epoch: fence.epoch },
                };
            }
        }
        self.tell_fenced();
    }

    /// Goes as far as it can; returns what is to be done now.
    pub fn advance(&mut self, now: Instant) -> Vec<Action> {
        let Some(table) = self.table.clone() else { return Vec::new() };
        let (gathered, mut actions) = (self.gathered(&table), Vec::new());
        let (mut load, mut fences, mut release) = (Vec::new(), Vec::new(), Vec::new());
        let mut timeout: Option<Instant> = None;
        let mut wake_at = |at: Instant| timeout = Some(timeout.map_or(at, |known| known.min(at)));
        for slot in Slot::all() {
            let held = held(&mut self.held, slot);
            let told = gathered >= held.since && held.load != Loaded::Complete;
            let incomplete = matches!(held.step, Step::Incomplete { .. });
            if held.since != 0 && (held.load == Loaded::No || told || incomplete) {
                load.push(slot);
            }
            if let Step::Loading { epoch } = held.step
                && held.load != Loaded::No
                && self.spread != Loaded::No
            {
                held.step = Step::Unfenced { epoch };
            }
            match held.step {
                Step::Unfenced { epoch } => {
                    held.step = Step::Fencing { epoch };
                    fences.push(Fence { slot: slot.index(), epoch });
                }
                Step::Gathering { epoch, until } => {
                    let next = table.slot(slot).next;
                    let handed_over = table.is_switching() || next.is_some_and(|next| next != self.me);
                    if handed_over {
                        held.step = Step::Draining { epoch };
                    } else if held.load == Loaded::Complete && self.spread == Loaded::Complete {
                        held.step = Step::Serving { epoch };
                        self.slots.set(slot, Serving::Yes, epoch);
                    } else if now >= until {
                        held.step = Step::Incomplete { epoch, until };
                        load.push(slot);
                    } else {
                        wake_at(until);
                    }
                }
                _ => {}
            }
            if let Step::Draining { epoch } = held.step {
                self.slots.set(slot, Serving::Draining, epoch);
                if self.slots.taken(slot) == 0 {
                    held.step = Step::Released { epoch };
                    release.push((slot, epoch));
                } else {
                    wake_at(now + DRAIN_POLL);
                }
            }
        }
        load.dedup();
        let told = gathered >= self.first_version && self.spread != Loaded::Complete;
        if !self.loading && (!load.is_empty() || self.spread == Loaded::No || told) {
            actions.push(self.load(load, gathered));
        } else if !self.loading && !self.offered && self.is_loading(&table) {
            let by = *self.ready_by.get_or_insert(now + GATHER);
            if now >= by || self.holds_all() {
                self.offered = true;
                actions.push(Action::Serve);
            } else {
                wake_at(by);
            }
        }
        if let Some(change) = table.change.filter(|change| self.ready_for < change.since)
            && self.holds_all()
            && self.spread == Loaded::Complete
        {
            self.ready_for = change.since;
            actions.push(Action::ReadyForDepth(table.version));
        }
        if !fences.is_empty() {
            actions.push(Action::Fence(fences));
        }
        if !release.is_empty() {
            actions.push(Action::Release(release));
        }
        self.next_timeout = timeout;
        actions
    }

    /// When [`advance`](Self::advance) is to be called at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout
    }

    /// Slots that this router serves now.
    pub fn serving(&self) -> usize {
        self.held.iter().filter(|held| matches!(held.step, Step::Serving { .. })).count()
    }

    /// Whether nothing is owned: a router that leaves may go.
    pub fn owns_nothing(&self) -> bool {
        self.held.iter().all(|held| matches!(held.step, Step::Other))
    }

    /// Whether everything that is pinned to slots which this router has to do with is here.
    fn holds_all(&self) -> bool {
        self.held.iter().all(|held| held.since == 0 || held.load == Loaded::Complete)
    }

    /// Whether the others still wait for this router to say that it may own slots.
    fn is_loading(&self, table: &RoutingTable) -> bool {
        table.member(self.me).is_some_and(|me| me.phase == Phase::Loading)
    }

    /// The version of the table by which all gateways have told of all their sessions.
    fn gathered(&self, table: &RoutingTable) -> u64 {
        let gateways = table.members.iter();
        let gateways =
            gateways.filter(|member| member.role == Role::Gateway && member.phase == Phase::Serving);
        gateways.map(|gateway| self.level_of(gateway.incarnation)).min().unwrap_or(u64::MAX)
    }

    fn level_of(&self, gateway: Incarnation) -> u64 {
        // A core that has opened its lane again may still have the old one: the newest counts.
        let mut cores: BTreeMap<u16, &Gateway> = BTreeMap::new();
        let first = LaneId { gateway, core: 0, number: 0 };
        for (id, lane) in self.lanes.range(first..).take_while(|(id, _)| id.gateway == gateway) {
            cores.insert(id.core, lane);
        }
        let wanted = cores.values().map(|lane| usize::from(lane.cores)).max().unwrap_or(usize::MAX);
        if cores.len() < wanted { 0 } else { cores.values().map(|lane| lane.level).min().unwrap_or_default() }
    }
}

impl Step {
    fn epoch(self) -> Option<u64> {
        match self {
            Self::Other => None,
            Self::Loading { epoch }
            | Self::Unfenced { epoch }
            | Self::Fencing { epoch }
            | Self::Gathering { epoch, .. }
            | Self::Incomplete { epoch, .. }
            | Self::Completing { epoch, .. }
            | Self::Serving { epoch }
            | Self::Draining { epoch }
            | Self::Released { epoch } => Some(epoch),
        }
    }

    fn serving(self) -> Serving {
        match self {
            Self::Other => Serving::No,
            Self::Loading { .. }
            | Self::Unfenced { .. }
            | Self::Fencing { .. }
            | Self::Gathering { .. }
            | Self::Incomplete { .. }
            | Self::Completing { .. } => Serving::Warming,
            Self::Serving { .. } => Serving::Yes,
            Self::Draining { .. } | Self::Released { .. } => Serving::Draining,
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "there is one for each slot")]
fn held(all: &mut [Held], slot: Slot) -> &mut Held {
    &mut all[usize::from(slot.index())]
}
