//! Connections that only stand: how long they take to open and what memory they hold in the broker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fleethaven_mqtt::QoS;

use crate::client::{KEEP_ALIVE, Spec};
use crate::clock;
use crate::options::Idle;
use crate::process;
use crate::reactor::{Event, Reactor, open_all};
use crate::report::{self, Report};
use crate::target::Target;

/// Opens, settles, measures, holds, closes.
pub(crate) fn run(options: &Idle) -> anyhow::Result<Report> {
    let common = &options.common;
    let count = options.connections as usize;
    let target = Target::new(common, count, false)?;
    let mut reactor = Reactor::new()?;
    let before = common.pid.map(process::resident_bytes).transpose()?;
    let cpu_before = common.pid.map(process::cpu_seconds).transpose()?;
    let start = clock::now();
    let keys = open_all(&mut reactor, &target, common, specs(options, &target), |_, _, _| {})?;
    let opening = start.elapsed();
    let cpu_after = common.pid.map(process::cpu_seconds).transpose()?;
    report::progress(true, &format!("{count} connections are open"));

    let mut lost = 0;
    stand(&mut reactor, &keys, Duration::from_secs(options.settle), &AtomicBool::new(false), &mut lost)?;
    let after = common.pid.map(process::resident_bytes).transpose()?;
    let stop = if options.until_stdin { stop_on_stdin() } else { Arc::default() };
    stand(&mut reactor, &keys, Duration::from_secs(options.hold), &stop, &mut lost)?;

    let mut report = Report::new("idle");
    report.put("target", common.target.as_str());
    report.put("tls", target.is_tls());
    report.put("connections", count);
    report.put("connections_lost", lost);
    report.put_number("opening_seconds", opening.as_secs_f64());
    report.put_number("connections_per_second", count as f64 / opening.as_secs_f64());
    if let (Some(before), Some(after)) = (before, after) {
        report.put("broker_resident_bytes_before", before);
        report.put("broker_resident_bytes", after);
        report.put_number("broker_bytes_per_connection", (after as f64 - before as f64) / count as f64);
    }
    if let (Some(before), Some(after)) = (cpu_before, cpu_after) {
        report.put_number("broker_cpu_us_per_connection", (after - before) * 1e6 / count as f64);
    }
    keys.into_iter().for_each(|key| reactor.close(key));
    Ok(report)
}

fn specs(options: &Idle, target: &Target) -> Vec<Spec> {
    let (prefix, pid) = (&target.client_prefix, process::own_id());
    (0..options.connections as usize)
        .map(|number| Spec {
            filter: options.subscribe.then(|| (format!("{prefix}/{pid}/{number}"), QoS::AtMostOnce)),
            ..Spec::bare(number, format!("{prefix}-{pid}-i{number}"))
        })
        .collect()
}

/// Keeps the connections alive for `time`, or until `stop`.
fn stand(
    reactor: &mut Reactor,
    keys: &[usize],
    time: Duration,
    stop: &AtomicBool,
    lost: &mut u64,
) -> anyhow::Result<()> {
    let end = clock::now() + time;
    let mut pinged = clock::now();
    while clock::now() < end && !stop.load(Ordering::Acquire) {
        let left = end.saturating_duration_since(clock::now()).min(Duration::from_millis(200));
        reactor.turn(left, |_, _, event, _| {
            *lost += u64::from(matches!(event, Event::Closed(_)));
            Ok(())
        })?;
        if pinged.elapsed() > Duration::from_secs(u64::from(KEEP_ALIVE) / 2) {
            pinged = ping_all(reactor, keys);
        }
    }
    Ok(())
}

/// A client whose socket fails here is found closed in the next turn.
fn ping_all(reactor: &mut Reactor, keys: &[usize]) -> Instant {
    for key in keys {
        _ = reactor.client(*key).map(|client| client.ping());
    }
    clock::now()
}

/// Becomes true when a line, or the end, comes on standard input. The thread ends with the process.
fn stop_on_stdin() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    thread::spawn(move || {
        _ = io::stdin().read_line(&mut String::new());
        seen.store(true, Ordering::Release);
    });
    stop
}
