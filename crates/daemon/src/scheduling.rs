//! Which threads of a process go before which on a core that they share.
//!
//! An event loop gathers what came in and hands it on in batches. When the kernel lets a thread that it wakes run at once, in
//! its place, that thread finds one item and sleeps again: each item costs two switches, and what the loop had in the cache.
//! Threads under Linux's `SCHED_BATCH` do not preempt when they are woken. They have their share of a core all the same, and an
//! idle core at once. Measured in `docs/performance.md`.

/// The calling thread, and those that it starts from here on, let a running thread go on when they are woken.
///
/// What the operator chose (a real-time policy, `SCHED_IDLE`, a nice value) stays as it is. A kernel that does not allow
/// the change, or is not Linux, only costs speed.
pub fn behind_event_loops() {
    #[cfg(target_os = "linux")]
    linux::change(linux::Policy::Other, linux::Policy::Batch);
}

/// The calling thread runs as soon as it is woken, as threads do by default: the opposite of [`behind_event_loops`].
pub fn as_event_loop() {
    #[cfg(target_os = "linux")]
    linux::change(linux::Policy::Batch, linux::Policy::Other);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    pub(super) use thread_priority::NormalThreadSchedulePolicy as Policy;
    use thread_priority::{
        ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id, thread_schedule_policy,
    };

    /// Changes one ordinary policy to another; any other policy stays.
    pub(super) fn change(from: Policy, to: Policy) {
        if let Err(error) = try_change(from, to) {
            tracing::debug!(%error, "the scheduling policy of a thread stays as it is");
        }
    }

    fn try_change(from: Policy, to: Policy) -> io::Result<()> {
        if thread_schedule_policy().map_err(to_io)? != ThreadSchedulePolicy::Normal(from) {
            return Ok(());
        }
        let to = ThreadSchedulePolicy::Normal(to);
        let nice = present_nice_value(to)?;
        set_thread_priority_and_policy(thread_native_id(), nice, to).map_err(to_io)
    }

    /// The library sets a nice value with the policy. The present one stays as it is and needs no permission; it is found on
    /// the library's own scale.
    fn present_nice_value(policy: ThreadSchedulePolicy) -> io::Result<ThreadPriority> {
        let nice = rustix::process::getpriority_process(None)?;
        (0..=u8::MAX)
            .map_while(|value| ThreadPriorityValue::try_from(value).ok())
            .map(ThreadPriority::Crossplatform)
            .find(|priority| priority.to_posix(policy).is_ok_and(|its| its == nice))
            .ok_or_else(|| io::Error::other(format!("no priority stands for the nice value {nice}")))
    }

    fn to_io(error: thread_priority::Error) -> io::Error {
        match error {
            thread_priority::Error::OS(code) => io::Error::from_raw_os_error(code),
            other => io::Error::other(format!("{other:?}")),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::{as_event_loop, behind_event_loops};
        use super::*;

        fn present() -> (ThreadSchedulePolicy, i32) {
            (thread_schedule_policy().unwrap(), rustix::process::getpriority_process(None).unwrap())
        }

        #[test]
        fn threads_inherit_it_and_an_event_loop_leaves_it() {
            std::thread::spawn(|| {
                let (policy, nice) = present();
                assert_eq!(
                    policy,
                    ThreadSchedulePolicy::Normal(Policy::Other),
                    "tests run under the default"
                );
                behind_event_loops();
                assert_eq!(present(), (ThreadSchedulePolicy::Normal(Policy::Batch), nice));
                let child = std::thread::spawn(move || {
                    let inherited = present();
                    as_event_loop();
                    (inherited, present())
                });
                let (inherited, after) = child.join().unwrap();
                assert_eq!(inherited, (ThreadSchedulePolicy::Normal(Policy::Batch), nice));
                assert_eq!(after, (policy, nice));
                assert_eq!(present(), (ThreadSchedulePolicy::Normal(Policy::Batch), nice));
            })
            .join()
            .unwrap();
        }

        #[test]
        fn every_nice_value_stays() {
            std::thread::spawn(|| {
                // Ordinary users may only step back, one after the other.
                for nice in present().1..=19 {
                    rustix::process::setpriority_process(None, nice).unwrap();
                    behind_event_loops();
                    assert_eq!(present(), (ThreadSchedulePolicy::Normal(Policy::Batch), nice));
                    as_event_loop();
                    assert_eq!(present(), (ThreadSchedulePolicy::Normal(Policy::Other), nice));
                }
            })
            .join()
            .unwrap();
        }

        #[test]
        fn a_policy_that_somebody_chose_stays() {
            std::thread::spawn(|| {
                let idle = ThreadSchedulePolicy::Normal(Policy::Idle);
                set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).unwrap();
                behind_event_loops();
                assert_eq!(present().0, idle);
                as_event_loop();
                assert_eq!(present().0, idle);
            })
            .join()
            .unwrap();
        }
    }
}
