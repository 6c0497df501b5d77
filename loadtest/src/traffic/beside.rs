//! A light load in the background, to see what something else does to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use super::{Plan, Run};
use crate::report::Report;

/// Longest background load: whatever is beside it has its own, shorter bounds.
const FOREVER: Duration = Duration::from_secs(7 * 86_400);

/// What the background load met.
pub(crate) struct Beside<T> {
    /// Before the work began.
    pub(crate) before: Report,
    /// From its begin to its end.
    pub(crate) during: Report,
    /// What the work gave.
    pub(crate) outcome: T,
}

/// Runs `plan` in a thread of its own, at first alone for `quiet`, then beside `work`.
pub(crate) fn beside<T>(
    plan: Plan<'_>,
    quiet: Duration,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<Beside<T>> {
    let stop = AtomicBool::new(false);
    let (begin, begun) = mpsc::channel();
    let (outcome, reports) = thread::scope(|scope| {
        let background = scope.spawn(|| background(plan, quiet, begin, &stop));
        // The channel closes without a word when the background load fails; its own error is told then.
        let outcome = begun.recv().map_err(anyhow::Error::from).and_then(|()| work());
        stop.store(true, Ordering::Release);
        (outcome, background.join())
    });
    let (before, during) = reports.map_err(|_panic| anyhow!("the background load panicked"))??;
    Ok(Beside { before, during, outcome: outcome? })
}

fn background(
    plan: Plan<'_>,
    quiet: Duration,
    begin: mpsc::Sender<()>,
    stop: &AtomicBool,
) -> anyhow::Result<(Report, Report)> {
    let mut run = Run::new(plan)?;
    let subscribers = run.open_subscribers()?;
    let publishers = run.open_publishers()?;
    run.begin();
    run.load_while(plan.load.warmup(), || true)?;
    let first = run.begin_measuring()?;
    run.load_while(quiet, || true)?;
    let last = run.moment()?;
    let before = run.summary(&first, &last);

    let first = run.begin_measuring()?;
    begin.send(())?;
    run.load_while(FOREVER, || !stop.load(Ordering::Acquire))?;
    let last = run.moment()?;
    run.drain()?;
    run.linger()?;
    let during = run.summary(&first, &last);
    run.close(subscribers.into_iter().chain(publishers));
    Ok((before, during))
}
