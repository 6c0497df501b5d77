//! Time zones by id, by offset and by English name.

use std::sync::LazyLock;

use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// A zone and how its id is written.
pub(super) struct Zone {
    pub(super) id: String,
    pub(super) rules: TimeZone,
}

/// The zones compiled in: those of the machine would make results differ between nodes.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Abbreviation, offset in seconds, long name.
const NAMES: [(&str, i32, &str); 26] = [
    ("UTC", 0, "Coordinated Universal Time"),
    ("GMT", 0, "Greenwich Mean Time"),
    ("EST", -18000, "Eastern Standard Time"),
    ("EDT", -14400, "Eastern Daylight Time"),
    ("CST", -21600, "Central Standard Time"),
    ("CDT", -18000, "Central Daylight Time"),
    ("MST", -25200, "Mountain Standard Time"),
    ("MDT", -21600, "Mountain Daylight Time"),
    ("PST", -28800, "Pacific Standard Time"),
    ("PDT", -25200, "Pacific Daylight Time"),
    ("AKST", -32400, "Alaska Standard Time"),
    ("AKDT", -28800, "Alaska Daylight Time"),
    ("HST", -36000, "Hawaii Standard Time"),
    ("WET", 0, "Western European Time"),
    ("WEST", 3600, "Western European Summer Time"),
    ("BST", 3600, "British Summer Time"),
    ("CET", 3600, "Central European Time"),
    ("CEST", 7200, "Central European Summer Time"),
    ("EET", 7200, "Eastern European Time"),
    ("EEST", 10800, "Eastern European Summer Time"),
    ("MSK", 10800, "Moscow Standard Time"),
    ("IST", 19800, "India Standard Time"),
    ("JST", 32400, "Japan Standard Time"),
    ("KST", 32400, "Korea Standard Time"),
    ("AEST", 36000, "Australian Eastern Standard Time"),
    ("AEDT", 39600, "Australian Eastern Daylight Time"),
];

/// The zone of a region id, `UTC`, `GMT`, `Z`, an offset such as `+01:00`, or those joined as in `UTC+01:00`.
pub(super) fn find(id: &str) -> Option<Zone> {
    if matches!(id, "UTC" | "GMT" | "Z" | "UT") {
        return Some(Zone { id: id.to_owned(), rules: TimeZone::UTC });
    }
    let bare = ["UTC", "GMT", "UT"].iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    if bare.starts_with(['+', '-']) {
        let (seconds, "") = offset(bare)? else { return None };
        let rules = Offset::from_seconds(seconds).ok()?.to_time_zone();
        return Some(Zone { id: id.to_owned(), rules });
    }
    ZONES.get(id).ok().map(|rules| Zone { id: id.to_owned(), rules })
}

/// The zone of an abbreviation or long English name, at its fixed offset.
pub(super) fn named(name: &str) -> Option<Zone> {
    let (_, seconds, _) = NAMES.iter().find(|(short, _, long)| *short == name || *long == name)?;
    let rules = Offset::from_seconds(*seconds).ok()?.to_time_zone();
    Some(Zone { id: name.to_owned(), rules })
}

/// The long name of an abbreviation at an offset.
pub(super) fn long_name(abbreviation: &str, seconds: i32) -> Option<&'static str> {
    let same = |(short, offset, _): &&(&str, i32, &str)| *short == abbreviation && *offset == seconds;
    NAMES.iter().find(same).map(|(_, _, long)| *long)
}

/// Seconds of `+h`, `+hh`, `+hhmm` or `+hh:mm`, each with optional seconds, and what follows it.
pub(super) fn offset(text: &str) -> Option<(i32, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (mut seconds, mut rest) = match two_digits(digits) {
        Some((hours, rest)) => (hours * 3600, rest),
        None => {
            let hours = digits.get(..1)?.parse::<i32>().ok()?;
            (hours * 3600, digits.get(1..)?)
        }
    };
    for unit in [60, 1] {
        let Some((value, after)) = two_digits(rest.strip_prefix(':').unwrap_or(rest)) else { break };
        if value > 59 {
            return None;
        }
        (seconds, rest) = (seconds + value * unit, after);
    }
    (seconds <= 18 * 3600).then_some((sign * seconds, rest))
}

fn two_digits(text: &str) -> Option<(i32, &str)> {
    let (digits, rest) = text.split_at_checked(2)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((digits.parse().ok()?, rest))
}

/// `+0900`, or `+09:00` with a colon.
pub(super) fn written_offset(seconds: i32, colon: &str) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}
