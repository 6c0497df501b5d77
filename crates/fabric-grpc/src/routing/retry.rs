//! When a lane that is broken is opened again, and what the log says of it: that it broke, why, and that it is whole again, but not
//! each attempt.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

/// Pause before a broken lane is opened again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// What is known of a lane's attempts.
pub(super) struct Retry {
    pause: Duration,
    open_since: Option<Instant>,
    broken: Option<Broken>,
}

/// Attempts that failed since the lane was open last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) since: Instant,
    pub(super) attempts: u32,
    /// How the last one ended.
    code: Code,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { pause: PAUSE.0, open_since: None, broken: None }
    }

    /// The lane is open; what came before, if it was broken.
    pub(super) fn opened(&mut self, now: Instant) -> Option<Broken> {
        self.open_since = Some(now);
        self.broken.take()
    }

    /// The lane is over, or could not be opened: how long to wait, and whether that is news.
    pub(super) fn broke(&mut self, code: Code, now: Instant) -> (Duration, bool) {
        let open_since = self.open_since.take();
        // One that breaks as soon as it is open is no better than one that does not open.
        if open_since.is_some_and(|since| now.saturating_duration_since(since) >= PAUSE.1) {
            self.pause = PAUSE.0;
        }
        let news = self.broken.is_none_or(|broken| broken.code != code);
        let (since, attempts) = self.broken.map_or((now, 0), |broken| (broken.since, broken.attempts));
        self.broken = Some(Broken { since, attempts: attempts.saturating_add(1), code });
        if code == Code::FailedPrecondition {
            // Another router is at its address: it is gone, and the table will say so soon.
            self.pause = PAUSE.1;
        }
        let pause = self.pause;
        self.pause = PAUSE.1.min(pause * 2);
        (pause, news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn attempts_become_rarer_and_are_told_once() {
        let (mut retry, start) = (Retry::new(), Instant::now());
        assert_eq!(retry.opened(start), None);
        // It was open for long.
        let mut now = start + PAUSE.1;
        let mut pauses = Vec::new();
        for attempt in 0..8 {
            let (pause, news) = retry.broke(Code::Unavailable, now);
            assert_eq!(news, attempt == 0);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 500, 500]);
        let broken = retry.opened(now).expect("it was broken");
        assert_eq!((broken.since, broken.attempts), (start + PAUSE.1, 8));
        assert_eq!(retry.broke(Code::Unavailable, now + PAUSE.1), (PAUSE.0, true));
    }

    #[test]
    fn one_that_breaks_at_once_is_opened_ever_more_rarely() {
        let (mut retry, mut now) = (Retry::new(), Instant::now());
        for pause in [10, 20, 40] {
            retry.opened(now);
            now += MS;
            assert_eq!(retry.broke(Code::Internal, now).0, pause * MS);
        }
    }

    #[test]
    fn a_router_that_is_gone_is_asked_rarely() {
        let (mut retry, now) = (Retry::new(), Instant::now());
        assert_eq!(retry.broke(Code::Unavailable, now), (PAUSE.0, true));
        assert_eq!(retry.broke(Code::FailedPrecondition, now), (PAUSE.1, true));
        assert_eq!(retry.broke(Code::FailedPrecondition, now), (PAUSE.1, false));
    }
}
