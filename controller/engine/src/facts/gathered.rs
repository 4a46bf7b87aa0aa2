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
    /// Older facts judge nothing: their controls say `Unknown`.
    pub max_age: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: SignedDuration::ZERO, max_age: SignedDuration::ZERO }
    }
}

impl Pace {
    /// The pace of a source that is to be read every so often, of which a whole round takes `round` at the rate that
    /// the account leaves: never faster than that. A fact is too old once two rounds went by without it.
    pub fn of(wanted: SignedDuration, round: SignedDuration) -> Self {
        /// What a sweep takes beside its reads, and retries.
        const SLACK: SignedDuration = SignedDuration::from_mins(10);
        let every = wanted.max(round);
        let max_age = every.saturating_mul(2).saturating_add(SLACK);
        Self { every, max_age }
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
        self.read_at(id).is_none_or(|at| now.duration_since(at) >= self.pace.every)
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
}
