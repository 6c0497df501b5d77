//! Writing an instant by a Joda-Time `DateTimeFormat` pattern, in English.

use std::{fmt::Write as _, iter::Peekable, str::Chars};

use jiff::{Timestamp, Zoned};

use super::{
    MONTHS, WEEKDAYS, name,
    zone::{self, Zone},
};

/// Most repetitions of one letter.
const MAX_COUNT: usize = 64;

/// The text of `instant` in a zone; `None` for a letter Joda does not know.
pub(super) fn format(pattern: &str, instant: Timestamp, zone: &Zone) -> Option<String> {
    let local = instant.to_zoned(zone.rules.clone());
    let mut text = String::new();
    let mut pattern = pattern.chars().peekable();
    while let Some(character) = pattern.next() {
        if character == '\'' {
            quoted(&mut text, &mut pattern);
        } else if character.is_ascii_alphabetic() {
            let mut count = 1;
            while pattern.next_if_eq(&character).is_some() {
                count += 1;
            }
            if count > MAX_COUNT {
                return None;
            }
            field(&mut text, character, count, &local, zone)?;
        } else {
            text.push(character);
        }
    }
    Some(text)
}

/// Text up to the next single quote; a doubled one stands for itself.
fn quoted(text: &mut String, pattern: &mut Peekable<Chars<'_>>) {
    if pattern.next_if_eq(&'\'').is_some() {
        return text.push('\'');
    }
    while let Some(character) = pattern.next() {
        if character == '\'' && pattern.next_if_eq(&'\'').is_none() {
            return;
        }
        text.push(character);
    }
}

fn field(text: &mut String, letter: char, count: usize, local: &Zoned, zone: &Zone) -> Option<()> {
    let year_of_era = if local.year() > 0 { local.year() } else { 1 - local.year() };
    let hour = i64::from(local.hour());
    let number = match letter {
        'G' => return push(text, if local.year() > 0 { "AD" } else { "BC" }),
        'E' => return push(text, name(&WEEKDAYS, local.weekday().to_monday_one_offset(), count > 3)?),
        'M' if count > 2 => return push(text, name(&MONTHS, local.month(), count > 3)?),
        'a' => return push(text, if hour < 12 { "AM" } else { "PM" }),
        'z' => return push(text, &zone_name(local, count > 3)),
        'Z' => return push(text, &offset(local, count, zone)),
        'S' => return push(text, &fraction(local, count)),
        'y' => return year(text, local.year(), count),
        'Y' => return year(text, year_of_era, count),
        'x' => return year(text, local.date().iso_week_date().year(), count),
        'C' => i64::from(year_of_era / 100),
        'w' => i64::from(local.date().iso_week_date().week()),
        'e' => i64::from(local.weekday().to_monday_one_offset()),
        'D' => i64::from(local.day_of_year()),
        'M' => i64::from(local.month()),
        'd' => i64::from(local.day()),
        'K' => hour % 12,
        'h' => (hour + 11) % 12 + 1,
        'H' => hour,
        'k' => (hour + 23) % 24 + 1,
        'm' => i64::from(local.minute()),
        's' => i64::from(local.second()),
        _ => return None,
    };
    write!(text, "{number:0count$}").ok()
}

fn push(text: &mut String, part: &str) -> Option<()> {
    text.push_str(part);
    Some(())
}

/// A year: two letters mean its last two digits.
fn year(text: &mut String, year: i16, count: usize) -> Option<()> {
    if count == 2 {
        return write!(text, "{:02}", year.rem_euclid(100)).ok();
    }
    let sign = if year < 0 { "-" } else { "" };
    write!(text, "{sign}{:0count$}", year.unsigned_abs()).ok()
}

/// The first `count` digits of the fraction of a second, which has nine.
fn fraction(local: &Zoned, count: usize) -> String {
    let nine = format!("{:09}", local.subsec_nanosecond());
    nine.chars().chain(std::iter::repeat('0')).take(count).collect()
}

fn zone_name(local: &Zoned, long: bool) -> String {
    let seconds = local.offset().seconds();
    let rules = local.time_zone();
    let info = rules.to_offset_info(local.timestamp());
    let abbreviation = info.abbreviation();
    if !abbreviation.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return zone::written_offset(seconds, ":");
    }
    match zone::long_name(abbreviation, seconds).filter(|_| long) {
        Some(name) => name.to_owned(),
        None => abbreviation.to_owned(),
    }
}

fn offset(local: &Zoned, count: usize, zone: &Zone) -> String {
    match count {
        1 => zone::written_offset(local.offset().seconds(), ""),
        2 => zone::written_offset(local.offset().seconds(), ":"),
        _ => zone.id.clone(),
    }
}
