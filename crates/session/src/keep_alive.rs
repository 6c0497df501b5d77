//! The keep-alive timer [MQTT-3.1.2-22 of version 5, MQTT-3.1.2-24 of 3.1.1].

use std::time::{Duration, Instant};

use fleethaven_types::Limits;

/// Closes a connection that was silent for one and a half times its keep-alive.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    seconds: u16,
    last_received: Instant,
}

impl KeepAlive {
    /// A timer that starts at `now` (CONNACK). `requested` seconds are brought within the limits.
    pub fn new(requested: u16, limits: &Limits, now: Instant) -> Self {
        Self { seconds: effective(requested, limits), last_received: now }
    }

    /// Seconds in force; 0 = off.
    pub fn seconds(&self) -> u16 {
        self.seconds
    }

    /// A packet arrived.
    pub fn touch(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// When the connection has been silent for too long, unless something arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        let allowed = Duration::from_millis(u64::from(self.seconds) * 1500);
        (self.seconds > 0).then(|| self.last_received + allowed)
    }
}

/// AWS raises short keep-alives, lowers long ones and replaces 0; `standard` takes them as they are.
fn effective(requested: u16, limits: &Limits) -> u16 {
    if requested == 0 {
        return limits.keep_alive_default;
    }
    let highest = if limits.keep_alive_max == 0 { u16::MAX } else { limits.keep_alive_max };
    requested.clamp(limits.keep_alive_min.min(highest), highest)
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Profile;

    use super::*;

    #[test]
    fn aws_clamps_and_standard_does_not() {
        let (aws, standard) = (Limits::of(Profile::Aws), Limits::of(Profile::Standard));
        let table = [(0, 1200, 0), (5, 30, 5), (60, 60, 60), (1200, 1200, 1200), (65_535, 1200, 65_535)];
        for (requested, by_aws, by_standard) in table {
            assert_eq!(effective(requested, &aws), by_aws);
            assert_eq!(effective(requested, &standard), by_standard);
        }
    }
}
