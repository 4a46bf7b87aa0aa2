//! Schedules as cron writes them, on the wall clock: nothing here knows of time zones.
//!
//! They mean what they mean in a Kubernetes CronJob.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time, date};

/// 29 February is at most eight years away, as in 2096; nothing that happens at all is further away.
const FAR: usize = 9 * 366;

const EXAMPLE: &str = "write a schedule such as 0 2 * * 2,4, which is 02:00 on Tuesdays and Thursdays";

/// The times of day, and the days, at which something happens.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// In order and never empty.
    times: Vec<Time>,
    days_of_month: Values,
    months: Values,
    days_of_week: Values,
}

/// What one field of a schedule allows.
#[derive(Clone, Debug, Default)]
struct Values {
    allowed: BTreeSet<i8>,
    /// Whether it is written as `*`.
    any: bool,
}

/// What may be written in one field of a schedule.
struct Field {
    title: &'static str,
    first: i8,
    last: i8,
    /// Names of the values, from the first.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { title: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { title: "hour", first: 0, last: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { title: "day of month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field {
    title: "month",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// Sunday is 0 and 7.
const DAY_OF_WEEK: Field = Field {
    title: "day of week",
    first: 0,
    last: SUNDAY_AT_THE_END,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};
const SUNDAY_AT_THE_END: i8 = 7;

impl Schedule {
    /// Reads five fields: minute, hour, day of month, month and day of week.
    ///
    /// # Errors
    /// What is wrong and how to mend it, in a sentence.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields.as_slice() else {
            return Err(format!(
                "a schedule has five fields (minute, hour, day of month, month, day of week), and {text:?} has {}: {EXAMPLE}",
                fields.len()
            ));
        };
        let (minutes, hours) = (MINUTE.read(minute)?, HOUR.read(hour)?);
        let times = hours.allowed.iter().flat_map(|hour| minutes.allowed.iter().map(|minute| (*hour, *minute)));
        let mut days_of_week = DAY_OF_WEEK.read(day_of_week)?;
        if days_of_week.allowed.remove(&SUNDAY_AT_THE_END) {
            days_of_week.allowed.insert(0);
        }
        let schedule = Self {
            times: times.filter_map(|(hour, minute)| Time::new(hour, minute, 0, 0).ok()).collect(),
            days_of_month: DAY_OF_MONTH.read(day_of_month)?,
            months: MONTH.read(month)?,
            days_of_week,
        };
        // Which dates a month has is the same at any time, so that any start will do.
        if schedule.after(date(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            return Err(format!(
                "{text:?} never happens, as none of its months has such a day: write a day that there is, such as 0 2 28 2 *"
            ));
        }
        Ok(schedule)
    }

    /// The first time after another.
    pub(super) fn after(&self, wall: DateTime) -> Option<DateTime> {
        let later = self.times.get(self.times.partition_point(|time| *time <= wall.time()));
        if let Some(time) = later.filter(|_| self.is_on(wall.date())) {
            return Some(wall.date().to_datetime(*time));
        }
        let mut days = std::iter::successors(wall.date().tomorrow().ok(), |day| day.tomorrow().ok()).take(FAR);
        let day = days.find(|day| self.is_on(*day))?;
        self.times.first().map(|time| day.to_datetime(*time))
    }

    /// The last time that is not after another, if it is on the same day or so many days before.
    pub(super) fn until(&self, wall: DateTime, days: usize) -> Option<DateTime> {
        let earlier = self.times.partition_point(|time| *time <= wall.time()).checked_sub(1);
        let earlier = earlier.and_then(|index| self.times.get(index));
        if let Some(time) = earlier.filter(|_| self.is_on(wall.date())) {
            return Some(wall.date().to_datetime(*time));
        }
        let mut days = std::iter::successors(wall.date().yesterday().ok(), |day| day.yesterday().ok()).take(days);
        let day = days.find(|day| self.is_on(*day))?;
        self.times.last().map(|time| day.to_datetime(*time))
    }

    fn is_on(&self, day: Date) -> bool {
        let in_month = self.days_of_month.allowed.contains(&day.day());
        let in_week = self.days_of_week.allowed.contains(&day.weekday().to_sunday_zero_offset());
        // As cron has it: two restrictions on days are alternatives.
        let alternatives = !self.days_of_month.any && !self.days_of_week.any;
        let on_day = if alternatives { in_month || in_week } else { in_month && in_week };
        on_day && self.months.allowed.contains(&day.month())
    }
}

impl Field {
    /// Reads a list of values, ranges and steps.
    fn read(&self, text: &str) -> Result<Values, String> {
        let mut values = Values::default();
        for entry in text.split(',') {
            let (range, step) = match entry.split_once('/') {
                None => (entry, 1),
                Some((range, step)) if range.contains(['*', '-']) => (range, self.step(step)?),
                Some((start, step)) => {
                    let problem = format!("the step in {entry:?} has no range to go through");
                    return Err(format!("{problem}: write {start}-{}/{step}", self.last));
                }
            };
            let (first, last) = self.range(range)?;
            values.any |= range == "*" && step == 1;
            values.allowed.extend((first..=last).step_by(step.into()));
        }
        Ok(values)
    }

    fn range(&self, text: &str) -> Result<(i8, i8), String> {
        // A week that is counted by steps ends on Saturday, or Sunday would be met at both ends.
        let last_of_all = if self.last == SUNDAY_AT_THE_END { SUNDAY_AT_THE_END - 1 } else { self.last };
        let Some((start, end)) = text.split_once('-') else {
            return if text == "*" {
                Ok((self.first, last_of_all))
            } else {
                self.value(text).map(|value| (value, value))
            };
        };
        let (first, last) = match (self.value(start)?, self.value(end)?) {
            (first, 0) if self.last == SUNDAY_AT_THE_END && first > 0 => (first, SUNDAY_AT_THE_END),
            range => range,
        };
        if first > last {
            return Err(format!(
                "the range {text:?} of the {} ends before it starts: write {start}-{last_of_all},{}-{end}",
                self.title, self.first
            ));
        }
        Ok((first, last))
    }

    fn value(&self, text: &str) -> Result<i8, String> {
        let named = (self.first..).zip(self.names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let number = number(text).filter(|number| (self.first..=self.last).contains(number));
        named.map(|(value, _)| value).or(number).ok_or_else(|| {
            let Self { title, first, last, names } = self;
            let names = match names {
                [start, .., end] => format!(" or a name from {start} to {end}"),
                _ => String::new(),
            };
            format!("{text:?} is no {title}, which is a number from {first} to {last}{names}: {EXAMPLE}")
        })
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        let step = number(text).filter(|step| (1..=self.last).contains(step));
        step.map(i8::unsigned_abs).ok_or_else(|| {
            let Self { title, last, .. } = self;
            format!("{text:?} is no step of the {title}, which is a number from 1 to {last}: {EXAMPLE}")
        })
    }
}

/// A number without any sign.
fn number(text: &str) -> Option<i8> {
    text.chars().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
