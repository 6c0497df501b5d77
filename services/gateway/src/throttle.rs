//! What rates hold back at one connection: input above its throughput, deliveries above its account's rate; and the counts of
//! what was delivered and dropped.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fleethaven_quotas::Meter;
use fleethaven_session::Now;
use fleethaven_types::QoS;
use tokio::time::Sleep;

use crate::connection::Connection;
use crate::core::Core;

/// Log lines about dropped deliveries of one connection are at least this far apart.
const DROPS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What is held back, and what has been counted.
#[derive(Default)]
pub(crate) struct Throttle {
    /// Bytes received.
    received: Meter,
    /// Input waits until then.
    input: Option<Pin<Box<Sleep>>>,
    /// Deliveries that must be acknowledged wait until then.
    output: Option<Pin<Box<Sleep>>>,
    /// Deliveries and drops that were counted already.
    delivered: u64,
    pieces: u64,
    dropped: u64,
    /// Drops that a log line told of, and when.
    logged: (u64, Option<Instant>),
    /// QoS 0 deliveries dropped because the account's rate was used up.
    over_rate: u64,
}

impl Throttle {
    /// Whether the connection is not to be read now.
    pub(crate) fn holds_input(&self) -> bool {
        self.input.is_some()
    }
}

/// Whether a timer that is set is over; it is then taken out.
fn is_over(timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    let over = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx) == Poll::Ready(()));
    if over {
        *timer = None;
    }
    over
}

impl Connection {
    /// Goes on with what was held back, when it may.
    pub(crate) fn poll_throttle(&mut self, cx: &mut Context<'_>, core: &Rc<Core>, now: Now) {
        is_over(&mut self.throttle.input, cx);
        if is_over(&mut self.throttle.output, cx) {
            self.session.release(now);
            self.act(core, now);
        }
    }

    /// Counts bytes from the client; above the rate per connection it is read later.
    pub(crate) fn count_received(&mut self, cx: &mut Context<'_>, bytes: usize, now: Now) {
        let Some(rate) = &self.account.throughput_rate else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.throttle.received.charge(rate, bytes, now.instant);
        if let Some(wait) = self.throttle.received.wait(rate, now.instant) {
            let mut timer = Box::pin(tokio::time::sleep(wait));
            // Registers the task; a wait that is over already is noticed by the next poll.
            if timer.as_mut().poll(cx) == Poll::Pending {
                self.throttle.input = Some(timer);
            }
        }
    }

    /// Whether the account's rate lets a delivery through. Above it QoS 0 is dropped; what must be acknowledged waits.
    pub(crate) fn may_deliver(&mut self, core: &Core, qos: QoS, now: Now) -> bool {
        let Some(wait) = self.account.outbound.as_ref().and_then(|rate| rate.wait(now.instant)) else {
            return true;
        };
        if qos == QoS::AtMostOnce {
            core.metrics.publish_out_throttled.inc();
            self.throttle.over_rate += 1;
            // Nothing may be written for long, and what is not written is not counted.
            self.log_drops(now);
            return false;
        }
        self.hold_output(wait);
        true
    }

    fn hold_output(&mut self, wait: Duration) {
        if self.throttle.output.is_none() {
            self.session.hold();
            self.throttle.output = Some(Box::pin(tokio::time::sleep(wait)));
            // The connection's own task waits for the timer.
            self.wake();
        }
    }

    /// Counts what was delivered and dropped since the last time, against the account's rate too, and logs drops now and
    /// then.
    pub(crate) fn count_deliveries(&mut self, core: &Core, now: Now) {
        let (delivered, dropped) = (self.session.delivered(), self.session.dropped());
        let more = delivered - self.throttle.delivered;
        if more > 0 {
            core.metrics.publish_out.inc_by(more);
            let pieces = self.session.delivered_pieces();
            if let Some(metered) = &self.metered {
                metered.messages(pieces - self.throttle.pieces);
            }
            self.throttle.pieces = pieces;
            self.throttle.delivered = delivered;
            self.charge_account(more, now);
        }
        if dropped > self.throttle.dropped {
            core.metrics.dropped.inc_by(dropped - self.throttle.dropped);
            self.throttle.dropped = dropped;
        }
        self.log_drops(now);
    }

    fn charge_account(&mut self, delivered: u64, now: Now) {
        let Some(rate) = &self.account.outbound else { return };
        rate.charge(u32::try_from(delivered).unwrap_or(u32::MAX), now.instant);
        if let Some(wait) = rate.wait(now.instant) {
            self.hold_output(wait);
        }
    }

    fn log_drops(&mut self, now: Now) {
        let total = self.throttle.dropped + self.throttle.over_rate;
        let (logged, last) = self.throttle.logged;
        let quiet = last.is_some_and(|last| now.instant - last < DROPS_LOGGED_EVERY);
        if total == logged || quiet {
            return;
        }
        self.throttle.logged = (total, Some(now.instant));
        let at_client = self.session.last_drop().filter(|_| self.throttle.dropped > 0);
        tracing::warn!(
            account = %self.principal.scope.account, client_id = %self.session.client_id(),
            source_ip = %self.peer.ip(), event = "Publish-Out", count = total - logged, total,
            reason = at_client.map_or("the account's outbound rate", fleethaven_session::DropCause::as_str),
            "deliveries dropped"
        );
    }
}
