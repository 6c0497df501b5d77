//! A caller's side of a lane.

use std::sync::Arc;

use fleethaven_storage::{Completion, Lane, Request};

use crate::door::{Door, Port};

/// One caller's way in.
pub(crate) struct EmbeddedLane {
    pub(crate) door: Arc<Door>,
    pub(crate) port: Arc<Port>,
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: usize,
}

impl Lane for EmbeddedLane {
    fn submit(&mut self, requests: &mut Vec<Request>) {
        self.door.submit(&self.port, requests);
    }

    fn drain(&mut self, completions: &mut Vec<Completion>) {
        self.port.drain(completions);
    }

    fn is_congested(&self) -> bool {
        let (requests, bytes) = self.port.outstanding();
        requests >= self.max_requests || bytes >= self.max_bytes || self.door.rules_are_full()
    }
}
