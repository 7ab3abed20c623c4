//! The calendar: which hour, day, week, month and year a second lies in, by the Gregorian calendar and a clock so many
//! seconds ahead of UTC. Seconds from damaged or hostile snapshots may be any, so nothing here overflows.

use crate::error::{Error, Result};

const HOUR_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
/// The calendar repeats after 400 years.
const ERA_DAYS: i64 = 146_097;
/// From 0000-03-01, where years begin whose last day is the leap day, to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;

/// A period of which one snapshot may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From one full hour to the next.
    Hour,
    /// From one midnight to the next.
    Day,
    /// From Monday to Sunday, the weeks of ISO 8601.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

impl Period {
    /// Returns what is the same for two times just if they lie in the same period. An hour that is repeated when clocks
    /// are put back counts as two.
    pub fn of(self, seconds: i64, offset: i32) -> (i64, i32) {
        let local = seconds.saturating_add(i64::from(offset));
        let day = local.div_euclid(DAY_SECONDS);
        match self {
            Self::Hour => (local.div_euclid(HOUR_SECONDS), offset),
            Self::Day => (day, 0),
            // 1970-01-01 was a Thursday.
            Self::Week => ((day + 3).div_euclid(7), 0),
            Self::Month => (month_and_day(day).0, 0),
            Self::Year => (month_and_day(day).0.div_euclid(12), 0),
        }
    }
}

/// Returns the month, counted from January of year 0, and the day in it, from 0, of a day counted from 1970-01-01. The
/// way is Howard Hinnant's, `civil_from_days`.
fn month_and_day(day: i64) -> (i64, i64) {
    let day = day.saturating_add(DAYS_BEFORE_1970);
    let (era, day) = (day.div_euclid(ERA_DAYS), day.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months are counted from March here, of which five have 153 days.
    let month = (5 * day + 2) / 153;
    ((era * 400 + year) * 12 + month + 2, day - (153 * month + 2) / 5)
}

/// Returns the day, counted from 1970-01-01, on which a month begins.
fn first_day(month: i64) -> i64 {
    let (year, month) = ((month - 2).div_euclid(12), (month - 2).rem_euclid(12));
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * ERA_DAYS + 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5 - DAYS_BEFORE_1970
}

/// A span of the calendar, such as `1y5m7d3h`: years and months first, then days, then hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CalendarSpan {
    /// Years.
    pub years: u32,
    /// Months of the calendar.
    pub months: u32,
    /// Days of the calendar.
    pub days: u32,
    /// Hours of 3,600 seconds.
    pub hours: u32,
}

impl CalendarSpan {
    /// Reads a span: numbers followed by `y`, `m`, `d` or `h`, in this order, each at most once.
    ///
    /// # Errors
    /// `InvalidOption` for anything else, and for a span of nothing.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = || Error::InvalidOption {
            option: "keep-within",
            reason: format!("`{text}`: write it as 1y5m7d3h or some of that, in this order and above zero"),
        };
        let (mut span, mut rest) = (Self::default(), text);
        for (unit, field) in
            [('y', &mut span.years), ('m', &mut span.months), ('d', &mut span.days), ('h', &mut span.hours)]
        {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if let Some(after) = rest[digits..].strip_prefix(unit) {
                *field = rest[..digits].parse().map_err(|_| refused())?;
                rest = after;
            }
        }
        if rest.is_empty() && span != Self::default() { Ok(span) } else { Err(refused()) }
    }

    /// Returns the second so long before another, by a clock that is `offset_at(second)` seconds ahead of UTC. A day that
    /// a month does not have is its last one.
    pub(super) fn before(&self, seconds: i64, offset_at: &dyn Fn(i64) -> i32) -> i64 {
        let local = seconds.saturating_add(i64::from(offset_at(seconds)));
        let (month, day) = month_and_day(local.div_euclid(DAY_SECONDS));
        let month = month - (i64::from(self.years) * 12 + i64::from(self.months));
        let (first, next) = (first_day(month), first_day(month + 1));
        let day = first + day.min(next - first - 1) - i64::from(self.days);
        let local = day.saturating_mul(DAY_SECONDS).saturating_add(local.rem_euclid(DAY_SECONDS));
        // The clock may have been put forward or back. Of a time that it showed twice the earlier one is meant; one that
        // it left out is counted as if it had been put forward later.
        let [before, after] = [-DAY_SECONDS, DAY_SECONDS].map(|near| offset_at(local.saturating_add(near)));
        let [earlier, later] = [before, after].map(|offset| local.saturating_sub(i64::from(offset)));
        let is_later = offset_at(earlier) != before && offset_at(later) == after;
        (if is_later { later } else { earlier }).saturating_sub(i64::from(self.hours) * HOUR_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn the_calendar_counts_every_day_of_two_eras() {
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for at in first_day(1600 * 12)..first_day(2400 * 12) {
            assert_eq!(month_and_day(at), (year * 12 + month - 1, day - 1));
            let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = [31, if leaps { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            day += 1;
            if day > days {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!(first_day(1970 * 12), 0);
    }

    #[test]
    fn any_second_has_a_place() {
        for seconds in [i64::MIN, i64::MAX, 0, -1] {
            for period in [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year] {
                let _ = (period.of(seconds, i32::MIN), period.of(seconds, i32::MAX));
            }
            let span = CalendarSpan { years: u32::MAX, months: u32::MAX, days: u32::MAX, hours: u32::MAX };
            let _ = span.before(seconds, &|_| i32::MIN);
        }
        // Sunday 1970-01-04 and Monday 1970-01-05.
        assert_ne!(Period::Week.of(4 * DAY_SECONDS - 1, 0), Period::Week.of(4 * DAY_SECONDS, 0));
        assert_eq!(Period::Week.of(-3 * DAY_SECONDS, 0), Period::Week.of(4 * DAY_SECONDS - 1, 0));
        assert_ne!(Period::Hour.of(3600, 3600), Period::Hour.of(7200, 0), "clocks were put back between them");
    }

    #[test]
    fn spans_are_read_and_taken_away() {
        let span = CalendarSpan { years: 1, months: 5, days: 7, hours: 3 };
        assert_eq!(CalendarSpan::parse("1y5m7d3h").unwrap(), span);
        assert_eq!(CalendarSpan::parse("36h").unwrap(), CalendarSpan { hours: 36, ..CalendarSpan::default() });
        for bad in ["", "0d", "1", "d", "-1d", "1d1y", "1d1d", "1.5y", "1y ", "99999999999y", "1w"] {
            let told = CalendarSpan::parse(bad).unwrap_err().to_string();
            assert!(told.contains("1y5m7d3h"), "{bad}: {told}");
        }
        // 2024-03-31 12:00 UTC, less a month: 2024-02-29 12:00.
        assert_eq!(CalendarSpan::parse("1m").unwrap().before(1_711_886_400, &|_| 0), 1_709_208_000);
        // Clocks went forward an hour at 1711846800; a day before 12:00 was 12:00 all the same.
        let offset = |seconds| if seconds < 1_711_846_800 { 3600 } else { 7200 };
        assert_eq!(CalendarSpan::parse("1d").unwrap().before(1_711_886_400, &offset), 1_711_886_400 - 23 * 3600);
        assert_eq!(CalendarSpan::parse("24h").unwrap().before(1_711_886_400, &offset), 1_711_886_400 - 24 * 3600);
    }
}
