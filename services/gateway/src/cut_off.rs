//! A gateway that is cut off from the metastore cannot learn that a certificate was revoked. It serves from its cache for a
//! bounded time (protocols C3); then it refuses new clients, and ends those that are there, a part every second, so that they
//! do not all come to the other gateways at once.

use std::rc::Rc;

use fleethaven_mqtt::ReasonCode;
use fleethaven_session::{Close, Now};

use crate::core::Core;

/// Seconds over which connections end.
const SPREAD: usize = 10;

/// What clients are told.
pub(crate) const DETAIL: &str = "cut off from the metadata store for too long";

impl Core {
    /// Looks, once a second, whether what is known of clients has become too old.
    pub(crate) fn end_stale(self: &Rc<Self>, now: Now) {
        let was_cut_off = self.cut_off.replace(self.shared.identity.is_stale());
        if self.cut_off.get() != was_cut_off {
            match was_cut_off {
                false => {
                    tracing::error!(core = self.id, "{DETAIL}: clients are refused, and connections end")
                }
                true => tracing::info!(core = self.id, "in touch with the metadata store again"),
            }
        }
        if !self.cut_off.get() || self.draining.get() {
            return;
        }
        let part = (self.cut_off_part.get() + 1) % SPREAD;
        self.cut_off_part.set(part);
        for connection in self.every(SPREAD, part) {
            connection.borrow_mut().close(self, Close::server(ReasonCode::ServerBusy, DETAIL), now);
        }
    }
}
