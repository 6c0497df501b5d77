//! Persistent sessions whose clients are away: what storing a message costs, and handing it out later.

use anyhow::ensure;

use crate::options::{Load, Offline};
use crate::report::Report;
use crate::traffic::{Moment, Plan, Run};

/// Subscribes, goes away, publishes, comes back and receives.
pub(crate) fn run(options: &Offline) -> anyhow::Result<Report> {
    let load = Load::counted(options.qos(), options.payload, options.window, options.messages, options.rate);
    let sessions = options.sessions as usize;
    let plan = Plan { persistent: true, ..Plan::paired("offline", &options.common, &load, sessions) };
    let mut run = Run::new(plan)?;
    let keys = run.open_subscribers()?;
    run.close(keys);

    let keys = run.open_publishers()?;
    run.begin();
    let begin = run.moment()?;
    run.load_until_sent(options.messages)?;
    let sent = run.moment()?;
    run.wait_until_acknowledged()?;
    let stored = run.moment()?;
    run.close(keys);

    let back = run.moment()?;
    let keys = run.open_subscribers()?;
    let present = keys.iter().filter(|key| run.is_session_present(**key)).count();
    ensure!(present == sessions, "{present} of {sessions} sessions were there again");
    run.drain()?;
    let drained = run.moment()?;
    run.linger()?;

    let mut report = run.conditions();
    run.put_integrity(&mut report);
    run.put_acknowledgements(&mut report, &begin, &sent);
    let stored = put_part(&mut report, "in", &begin, &stored, options.messages);
    let handed_out = put_part(&mut report, "out", &back, &drained, options.messages);
    if let (Some(stored), Some(handed_out)) = (stored, handed_out) {
        report.put_number("in_out_broker_cpu_us_per_message", stored + handed_out);
    }
    run.close(keys);
    run.forget_sessions()?;
    Ok(report)
}

/// Rate and cost of one half; gives the broker's CPU time per message in microseconds.
fn put_part(report: &mut Report, name: &str, from: &Moment, to: &Moment, messages: u64) -> Option<f64> {
    let seconds = to.at.saturating_duration_since(from.at).as_secs_f64();
    report.put_number(&format!("{name}_seconds"), seconds);
    report.put_number(&format!("{name}_per_second"), messages as f64 / seconds);
    report.put_number(&format!("{name}_own_cpu_share"), to.own_cpu_since(from) / seconds);
    let cost = to.broker_cpu_since(from)? * 1e6 / messages as f64;
    report.put_number(&format!("{name}_broker_cpu_us_per_message"), cost);
    Some(cost)
}
