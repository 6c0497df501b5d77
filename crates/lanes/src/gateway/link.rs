//! A gateway core's stream to one router, and what the router has been told on it.

use std::collections::VecDeque;

use fleethaven_storage::SessionId;
use fleethaven_topics::{Placement, Places, Slot};
use rustc_hash::FxHashMap;

use super::slot_set::SlotSet;
use crate::frame::Control;

/// One router.
#[derive(Default)]
pub(crate) struct Link {
    pub(crate) address: String,
    /// How many streams there were: what comes from an older one is passed over.
    pub(crate) generation: u64,
    pub(crate) open: bool,
    pub(crate) control: VecDeque<Control>,
    /// Slots with publishes for this router.
    pub(crate) ready: VecDeque<Slot>,
    /// Sessions that the router has been told of on this stream, with the shares that it has pushed to them.
    pub(crate) attached: FxHashMap<SessionId, u64>,
    /// Slots whose pinned filters the router must hold.
    pub(crate) holds: SlotSet,
    /// Version of the table that gave it the last of the slots that it owns.
    pub(crate) owns_since: u64,
    pub(crate) announcement: Option<Announcement>,
    /// What its next answers are about, by ticket.
    pub(crate) asked: FxHashMap<u64, Asked>,
}

/// A request that a router was asked to do its part of.
pub(crate) struct Asked {
    /// The request.
    pub(crate) request: u64,
    /// Which of the request's filters stand where in what was asked.
    pub(crate) places: Vec<(usize, usize)>,
    /// By which version of the table it was asked.
    pub(crate) version: u64,
    /// It had been asked before.
    pub(crate) again: bool,
}

/// Telling a router of sessions that it does not know of, or not all.
pub(crate) struct Announcement {
    /// Those that are not told yet.
    pub(crate) sessions: Vec<SessionId>,
    /// Slots that it holds since a short while; `None`: everything.
    pub(crate) gained: Option<SlotSet>,
}

impl Link {
    /// Whether the router must hold subscriptions that are held there.
    pub(crate) fn must_hold(&self, places: Places) -> bool {
        places.iter().any(|place| match place {
            Placement::Pinned(slot) => self.holds.contains(slot),
            Placement::Spread => true,
        })
    }

    /// Whether there is anything to be sent.
    pub(crate) fn has_output(&self) -> bool {
        let told = self.control.is_empty() && self.announcement.is_none();
        self.open && !(told && self.ready.is_empty())
    }

    /// The stream is over: what was on it is unknown, and the next one begins anew.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.control.clear();
        self.ready.clear();
        self.attached.clear();
        self.asked.clear();
        self.announcement = None;
    }
}
