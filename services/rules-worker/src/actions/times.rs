//! Times as targets read them.

/// Seconds of the year 10000: what comes later has no form in ISO 8601.
const END: i128 = 253_402_300_800;

/// A time in milliseconds since 1970 as `2026-11-28T06:35:00.123Z`; none before 1970 and after the year 9999.
pub(super) fn iso_8601(milliseconds: i128) -> Option<String> {
    let (seconds, rest) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    let seconds = u64::try_from(seconds).ok().filter(|seconds| i128::from(*seconds) < END)?;
    let basic = fleethaven_sigv4::date::format(seconds);
    let part = |range: std::ops::Range<usize>| basic.get(range).unwrap_or_default();
    let (date, time) = ([0..4, 4..6, 6..8].map(part).join("-"), [9..11, 11..13, 13..15].map(part).join(":"));
    Some(if rest == 0 { format!("{date}T{time}Z") } else { format!("{date}T{time}.{rest:03}Z") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_to_the_millisecond() {
        assert_eq!(iso_8601(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(iso_8601(1_795_847_705_042).as_deref(), Some("2026-11-28T06:35:05.042Z"));
        assert_eq!(iso_8601(-1), None);
        assert_eq!(iso_8601(END * 1000), None);
    }
}
