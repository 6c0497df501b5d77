//! The `yyyymmddThhmmssZ` form ("ISO 8601 basic format") in which requests are dated.

use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};

const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Seconds since the epoch as `yyyymmddThhmmssZ`; times beyond the year 9999 give its last second.
pub fn format(unix: u64) -> String {
    let instant = i64::try_from(unix).ok().and_then(|s| Timestamp::from_second(s).ok());
    instant.unwrap_or(Timestamp::MAX).strftime(FORMAT).to_string()
}

/// Reads exactly `yyyymmddThhmmssZ`; `None` for any other form and for dates before 1970.
pub fn parse(text: &str) -> Option<u64> {
    let in_shape = text.len() == 16
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 => b == b'T',
            15 => b == b'Z',
            _ => b.is_ascii_digit(),
        });
    let civil = in_shape.then(|| DateTime::strptime(FORMAT, text).ok()).flatten()?;
    let instant = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(instant.as_second()).ok()
}

/// Reads an HTTP `Date` header, which AWS takes when `X-Amz-Date` is absent: IMF-fixdate or the basic format.
pub(crate) fn parse_http(text: &str) -> Option<u64> {
    if let Some(unix) = parse(text) {
        return Some(unix);
    }
    let instant = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    u64::try_from(instant.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_the_test_suite_date() {
        assert_eq!(parse("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(format(1_440_938_160), "20150830T123600Z");
        assert_eq!(parse_http("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160));
    }

    #[test]
    fn refuses_other_forms() {
        for text in [
            "",
            "20150830",
            "2015-08-30T12:36:00Z",
            "20151330T123600Z",
            "20150830T123600+",
            "19691231T235959Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn formats_the_unreachable_future() {
        assert!(format(u64::MAX).starts_with("9999"));
    }
}
