//! Facts that are read resource by resource, each with an age of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{ReadFailure, Source};

/// How often something is read again, and how long it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So long after a read the next one is due.
    pub every: SignedDuration,
    /// The same after a read in vain.
    pub again: SignedDuration,
    /// Older facts judge nothing: their controls say `Unknown`.
    pub max_age: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: SignedDuration::ZERO, again: SignedDuration::ZERO, max_age: SignedDuration::ZERO }
    }
}

impl Pace {
    /// The pace of a source that is to be read every so often, of which a whole round takes `round` at the rate that
    /// the account leaves: never faster than that. A fact is too old once two rounds went by without it. What could not be
    /// read is tried again within minutes, as far as the rate allows: a missing permission may be there by then.
    pub fn of(wanted: SignedDuration, round: SignedDuration) -> Self {
        /// What a sweep takes beside its reads, and retries.
        const SLACK: SignedDuration = SignedDuration::from_mins(10);
        const AGAIN: SignedDuration = SignedDuration::from_mins(10);
        let (every, again) = (wanted.max(round), wanted.min(AGAIN).max(round));
        let max_age = every.saturating_mul(2).saturating_add(SLACK);
        Self { every, again, max_age }
    }
}

/// The latest reads of one thing, by the id of the resource. Copies share the facts.
#[derive(Clone, Debug)]
pub struct Gathered<T> {
    readings: Arc<BTreeMap<String, Source<T>>>,
    pace: Pace,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { readings: Arc::default(), pace: Pace::default() }
    }
}

impl<T: Clone> Gathered<T> {
    /// From reads at a pace.
    pub fn new(readings: BTreeMap<String, Source<T>>, pace: Pace) -> Self {
        Self { readings: Arc::new(readings), pace }
    }

    /// What was read of a resource, if it is whole and not too old.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn of(&self, id: &str, now: Timestamp) -> Result<&T, ReadFailure> {
        let reading = self.readings.get(id).ok_or(ReadFailure::NotReadYet)?;
        let facts = reading.facts()?;
        reading.fresh(now, self.pace.max_age).is_some().then_some(facts).ok_or(ReadFailure::NotReadYet)
    }

    /// When a resource was last read, whether in vain or not.
    pub fn read_at(&self, id: &str) -> Option<Timestamp> {
        self.readings.get(id).map(Source::read_at)
    }

    /// Whether a read is due.
    pub fn is_due(&self, id: &str, now: Timestamp) -> bool {
        self.readings.get(id).is_none_or(|reading| {
            let pause = if reading.facts().is_ok() { self.pace.every } else { self.pace.again };
            now.duration_since(reading.read_at()) >= pause
        })
    }

    /// Notes a read.
    pub fn note(&mut self, id: &str, reading: Source<T>) {
        Arc::make_mut(&mut self.readings).insert(id.to_owned(), reading);
    }

    /// Forgets a read: what it says may be so no longer.
    pub fn forget(&mut self, id: &str) {
        if self.readings.contains_key(id) {
            Arc::make_mut(&mut self.readings).remove(id);
        }
    }

    /// Reads from now on at this pace, and forgets resources that are gone.
    pub fn keep(&mut self, pace: Pace, is_there: impl Fn(&str) -> bool) {
        self.pace = pace;
        if self.readings.keys().any(|id| !is_there(id)) {
            Arc::make_mut(&mut self.readings).retain(|id, _| is_there(id));
        }
    }

    /// When the oldest fact of some resources was read; `None` while that of one never was.
    pub fn oldest<'i>(&self, mut ids: impl Iterator<Item = &'i str>) -> Option<Timestamp> {
        ids.try_fold(Timestamp::MAX, |oldest, id| Some(oldest.min(self.read_at(id)?)))
    }

    /// Why something could not be read, for the first resource of which that is so for another reason than its turn.
    pub fn failure(&self) -> Option<ReadFailure> {
        self.readings.values().find_map(|reading| reading.facts().err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    #[test]
    fn a_fact_that_is_too_old_is_not_known() {
        let pace = Pace::of(MINUTE, SignedDuration::ZERO);
        let mut gathered = Gathered::<u8>::new(BTreeMap::new(), pace);
        let start = Timestamp::UNIX_EPOCH;
        assert_eq!(gathered.of("a", start), Err(ReadFailure::NotReadYet));
        assert!(gathered.is_due("a", start));
        gathered.note("a", Source::complete(7, start));
        assert_eq!(gathered.of("a", start + pace.max_age), Ok(&7));
        assert!(gathered.is_due("a", start + MINUTE));
        assert_eq!(gathered.of("a", start + pace.max_age + MINUTE), Err(ReadFailure::NotReadYet));
        gathered.note("a", Source::failed(ReadFailure::AccessDenied, start));
        assert_eq!(gathered.of("a", start), Err(ReadFailure::AccessDenied));
        gathered.keep(pace, |id| id != "a");
        assert_eq!(gathered.read_at("a"), None);
    }

    #[test]
    fn a_round_that_takes_longer_than_wanted_sets_the_pace() {
        assert_eq!(Pace::of(MINUTE, MINUTE * 5).every, MINUTE * 5);
        assert_eq!(Pace::of(MINUTE * 30, MINUTE * 5).every, MINUTE * 30);
    }

    #[test]
    fn what_could_not_be_read_is_tried_again_within_minutes_as_far_as_the_rate_allows() {
        let start = Timestamp::UNIX_EPOCH;
        let due = |wanted: SignedDuration, round: SignedDuration, after: SignedDuration| {
            let mut gathered = Gathered::<u8>::new(BTreeMap::new(), Pace::of(wanted, round));
            gathered.note("denied", Source::failed(ReadFailure::AccessDenied, start));
            gathered.note("read", Source::complete(7, start));
            (gathered.is_due("denied", start + after), gathered.is_due("read", start + after))
        };
        let day = MINUTE * 60 * 24;
        assert_eq!(due(day, MINUTE, MINUTE * 9), (false, false));
        assert_eq!(due(day, MINUTE, MINUTE * 10), (true, false));
        assert_eq!(due(day, MINUTE * 30, MINUTE * 29), (false, false));
        assert_eq!(due(MINUTE, SignedDuration::ZERO, MINUTE), (true, true));
    }
}
