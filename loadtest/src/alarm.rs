//! Wakes the reactor at a time finer than the milliseconds that polling knows.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer of the kernel, watched by a poll. Its readiness is never read: setting it anew clears it.
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    /// An alarm that is not set, reported under `token`.
    pub(crate) fn new(registry: &Registry, token: Token) -> anyhow::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Goes off once, in `after` from now; replaces what was set before.
    pub(crate) fn set(&self, after: Duration) -> anyhow::Result<()> {
        let it_value = Timespec {
            tv_sec: i64::try_from(after.as_secs())?,
            // Nothing at all would switch it off.
            tv_nsec: i64::from(after.subsec_nanos().max(1)),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn it_goes_off_each_time_it_is_set() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let alarm = Alarm::new(poll.registry(), Token(7)).unwrap();
        for _ in 0..3 {
            alarm.set(Duration::from_micros(100)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
        }
    }
}
