//! What a lane has gathered in one turn and not handed on yet.

use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::{Delivery, RoutingEvent};
use fleethaven_storage::{Lane as StoreLane, Request};

use crate::metrics::Metrics;

/// Events, store requests and pushes of one turn; the vectors keep their capacity.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) events: Vec<RoutingEvent>,
    /// Publishes to be made durable, and what is asked of the queues of groups.
    pub(crate) durable: Vec<Request>,
    /// Messages that rules matched: counted once a turn, as the counter is shared by all cores.
    pub(crate) rule_matches: u64,
    /// Pushes for each core.
    pushes: Vec<Vec<Push>>,
    /// Cores with pushes: a router may serve thousands, and a turn's messages go to a few.
    cores: Vec<u16>,
}

impl Staged {
    pub(crate) fn push(&mut self, core: u16, push: Push) {
        let index = usize::from(core);
        if self.pushes.len() <= index {
            self.pushes.resize_with(index + 1, Vec::new);
        }
        if let Some(staged) = self.pushes.get_mut(index) {
            if staged.is_empty() {
                self.cores.push(core);
            }
            staged.push(push);
        }
    }

    /// Hands everything on but the events.
    pub(crate) fn flush(&mut self, store: &mut dyn StoreLane, delivery: &dyn Delivery, metrics: &Metrics) {
        if self.rule_matches > 0 {
            metrics.rule_matches.inc_by(std::mem::take(&mut self.rule_matches));
        }
        if !self.durable.is_empty() {
            let is_publish = |request: &&Request| matches!(request, Request::Publish(_));
            metrics.durable_publishes.inc_by(self.durable.iter().filter(is_publish).count() as u64);
            store.submit(&mut self.durable);
        }
        for core in self.cores.drain(..) {
            if let Some(staged) = self.pushes.get_mut(usize::from(core)) {
                delivery.push(core, staged);
            }
        }
    }
}
