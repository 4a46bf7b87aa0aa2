//! Maintenance windows: the times at which a baseline may write.

mod schedule;
#[cfg(test)]
mod tests;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::schedule::Schedule;
use crate::controls::InvalidParameter;
use crate::duration::{self, Duration};
use crate::finding::Severity;

/// A window stays open at most so long.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// The end of openings that follow each other is looked for so far ahead.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// An opening that may still last began at most so many days ago on the wall clock: it lasts a day at most, and a zone
/// that crosses the date line skips another.
const RECENT: usize = 3;

/// What need not wait for a window when nothing else is written.
const SPARED: &[Severity] = &[Severity::Critical];

/// When a baseline may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When the window opens, as cron writes it: minute, hour, day of month, month and day of week, such as 0 2 * * 2,4
    /// for 02:00 on Tuesdays and Thursdays. Takes lists, ranges, steps such as */15, and names such as MON or JAN. Where
    /// both day of month and day of week are restricted, either of them is enough.
    #[schemars(
        length(min = 9, max = 100),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^ *[^ ]+( +[^ ]+){4} *$')",
            "message": "schedule has five fields (minute, hour, day of month, month, day of week), such as 0 2 * * 2,4"
        }])
    )]
    pub schedule: String,
    /// The time zone of the schedule, as an IANA name such as Europe/Berlin or UTC. Where clocks go forward over an
    /// opening, it opens right after; where they go back over it, it opens once, at the first of the two times.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// How long the window stays open, as a duration of at most 24h such as 2h, 90m or 1h30m. It is time that passes, also
    /// where clocks change in between.
    #[schemars(transform = Duration { field: "duration", examples: "2h, 90m or 1h30m", shortest: "1s", longest: "24h" })]
    pub duration: String,
    /// Severities of violations that are put right at once, whether the window is open or not. Left out: Critical alone.
    /// An empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub except_severities: Option<Vec<Severity>>,
}

/// A [`Window`] that is in order.
#[derive(Clone, Debug)]
pub struct OpenTimes {
    schedule: Schedule,
    zone: TimeZone,
    duration: SignedDuration,
    spared: Vec<Severity>,
}

/// Whether a window is open at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Open {
        /// The first moment at which it is closed. Openings that overlap or touch are one; of one that has more than a day
        /// left, this is a time at which it may well go on, at least a day away.
        until: Timestamp,
    },
    /// It is closed.
    Closed {
        /// The first moment at which it is open.
        opens: Timestamp,
    },
}

impl OpenTimes {
    /// Prepares a window for use. `field` is where it stands below `spec`.
    ///
    /// # Errors
    /// A schedule that cannot be read or never happens, an unknown time zone, or a duration that cannot be read, is zero or is longer than [`LONGEST`].
    pub fn new(field: &'static str, window: &Window) -> Result<Self, InvalidParameter> {
        let Window { schedule, time_zone, duration, except_severities } = window;
        let invalid = |part: &str, problem: String| InvalidParameter::new(format!("{field}.{part}"), problem);
        Ok(Self {
            schedule: Schedule::new(schedule).map_err(|problem| invalid("schedule", problem))?,
            zone: zone(time_zone).map_err(|problem| invalid("timeZone", problem))?,
            duration: bounded(duration).map_err(|problem| invalid("duration", problem))?,
            spared: except_severities.clone().unwrap_or_else(|| SPARED.to_vec()),
        })
    }

    /// Whether an edit of this severity need not wait.
    pub fn spares(&self, severity: Severity) -> bool {
        self.spared.contains(&severity)
    }

    /// Whether the window is open.
    pub fn at(&self, now: Timestamp) -> Opening {
        match self.end(now).filter(|end| now < *end) {
            Some(end) => Opening::Open { until: self.last_end(end, later(now, AHEAD)) },
            None => Opening::Closed { opens: self.next(now).unwrap_or(Timestamp::MAX) },
        }
    }

    /// The end of the openings of which each begins before, or when, the one before it ends.
    fn last_end(&self, mut end: Timestamp, enough: Timestamp) -> Timestamp {
        while end < enough {
            match self.end(end).filter(|next| *next > end) {
                Some(next) => end = next,
                None => break,
            }
        }
        end
    }

    /// When the latest opening ends that has begun, unless it ended long ago.
    fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let wall = self.zone.to_datetime(now);
        // Clocks that were put back have shown later times already.
        let wall = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Fold { before, after } => wall.saturating_add(before.duration_since(after)),
            _ => wall,
        };
        let before = |wall: &DateTime| self.schedule.until(wall.saturating_sub(SignedDuration::from_mins(1)), RECENT);
        let openings = std::iter::successors(self.schedule.until(wall, RECENT), before);
        let begun = openings.filter_map(|wall| self.instant(wall)).find(|opening| *opening <= now);
        begun.map(|opening| later(opening, self.duration))
    }

    /// The first opening after a time.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.schedule.after(self.zone.to_datetime(now));
        let openings = std::iter::successors(first, |wall| self.schedule.after(*wall));
        openings.map_while(|wall| self.instant(wall)).find(|opening| *opening > now)
    }

    /// The first moment at which clocks show this time or, where they skip it, a later one.
    fn instant(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let shortly_before = after.to_timestamp(wall).ok()?;
                self.zone.following(shortly_before).next().map(|change| change.timestamp())
            }
        }
    }
}

fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

fn zone(name: &str) -> Result<TimeZone, String> {
    // Not those of the machine: they may be older, or missing.
    let known = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
    known.ok_or_else(|| format!("there is no time zone {name:?}: write an IANA name such as Europe/Berlin or UTC"))
}

fn bounded(text: &str) -> Result<SignedDuration, String> {
    const EXAMPLES: &str = "write one such as 2h, 90m or 1h30m";
    let duration = duration::parse(text).ok_or_else(|| format!("{text:?} is no duration: {EXAMPLES}"))?;
    if duration.is_zero() || duration > LONGEST {
        return Err(format!("a window stays open for more than 0 and at most 24h, not for {text}: {EXAMPLES}"));
    }
    Ok(duration)
}
