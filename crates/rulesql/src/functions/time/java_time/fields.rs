//! The fields read, and the instant they make: missing date parts are 1970-01-01, missing time is midnight, a
//! missing zone is UTC.

use jiff::{
    civil::{Date, DateTime, Time},
    tz::{Offset, TimeZone},
};

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

/// Values of pattern letters; a field read twice must agree.
#[derive(Clone, Default)]
pub(super) struct Fields {
    numbers: Vec<(char, i64)>,
    pub(super) zone: Option<TimeZone>,
}

impl Fields {
    /// Notes a number; `None` if it is out of range or contradicts an earlier one.
    pub(super) fn set(&mut self, letter: char, number: i64) -> Option<()> {
        let letter = if letter == 'L' { 'M' } else { letter };
        let range = match letter {
            'G' | 'a' => 0..=1,
            'M' => 1..=12,
            'd' => 1..=31,
            'D' => 1..=366,
            'E' => 1..=7,
            'h' => 1..=12,
            'K' => 0..=11,
            'k' => 1..=24,
            'H' => 0..=23,
            'm' | 's' => 0..=59,
            'n' => 0..=999_999_999,
            'A' => 0..=DAY / 1_000_000 - 1,
            'N' => 0..=DAY - 1,
            _ => -9999..=9999,
        };
        if !range.contains(&number) || self.get(letter).is_some_and(|earlier| earlier != number) {
            return None;
        }
        self.numbers.push((letter, number));
        Some(())
    }

    pub(super) fn set_offset(&mut self, seconds: i32) -> Option<()> {
        self.zone = Some(Offset::from_seconds(seconds).ok()?.to_time_zone());
        Some(())
    }

    fn get(&self, letter: char) -> Option<i64> {
        self.numbers.iter().find(|(known, _)| *known == letter).map(|(_, number)| *number)
    }

    /// Milliseconds since the epoch.
    pub(super) fn resolve(&self) -> Option<i64> {
        let local = DateTime::from_parts(self.date()?, self.time()?);
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        Some(local.to_zoned(zone).ok()?.timestamp().as_millisecond())
    }

    fn year(&self) -> Option<i16> {
        let of_era = self.get('y').map(|year| if self.get('G') == Some(0) { 1 - year } else { year });
        i16::try_from(self.get('u').or(of_era).unwrap_or(1970)).ok()
    }

    fn date(&self) -> Option<Date> {
        let first = Date::new(self.year()?, 1, 1).ok()?;
        let date = match self.get('D') {
            Some(day) => first.with().day_of_year(i16::try_from(day).ok()?).build().ok()?,
            None => self.month_and_day(first)?,
        };
        let weekday = i64::from(date.weekday().to_monday_one_offset());
        self.get('E').is_none_or(|wanted| wanted == weekday).then_some(date)
    }

    /// A day beyond its month is the month's last, as in resolver style smart.
    fn month_and_day(&self, first: Date) -> Option<Date> {
        let month = i8::try_from(self.get('M').unwrap_or(1)).ok()?;
        let month = first.with().month(month).build().ok()?;
        let day = i8::try_from(self.get('d').unwrap_or(1)).ok()?.min(month.days_in_month());
        month.with().day(day).build().ok()
    }

    fn time(&self) -> Option<Time> {
        let of_day = self.get('N').or_else(|| self.get('A').map(|ms| ms * 1_000_000));
        let nanos = of_day.unwrap_or_else(|| {
            let minutes = self.hour() * 60 + self.get('m').unwrap_or(0);
            (minutes * 60 + self.get('s').unwrap_or(0)) * 1_000_000_000 + self.get('n').unwrap_or(0)
        });
        let seconds = nanos / 1_000_000_000;
        let part = |value: i64| i8::try_from(value).ok();
        let subsecond = i32::try_from(nanos % 1_000_000_000).ok()?;
        Time::new(part(seconds / 3600)?, part(seconds / 60 % 60)?, part(seconds % 60)?, subsecond).ok()
    }

    fn hour(&self) -> i64 {
        let half = self.get('K').or_else(|| self.get('h').map(|hour| hour % 12));
        let of_day = self.get('H').or_else(|| self.get('k').map(|hour| hour % 24));
        of_day.unwrap_or_else(|| half.unwrap_or(0) + 12 * self.get('a').unwrap_or(0))
    }
}
