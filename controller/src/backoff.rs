//! Ever longer pauses for what keeps failing, per object: kube's controller has one pause for all.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts failures in a row, per name.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Pauses from `first`, doubling, up to `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: Mutex::default() }
    }

    /// The pause after one more failure.
    pub fn next(&self, name: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name.to_owned()).or_default();
        let pause = self.first.saturating_mul(2u32.saturating_pow(*count)).min(self.last);
        *count = count.saturating_add(1);
        pause
    }

    /// Forgets every other name.
    pub fn keep(&self, names: &BTreeSet<String>) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name));
    }

    /// Forgets the failures of a name.
    pub fn forget(&self, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last_and_start_again() {
        let backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));
        let pauses: Vec<u64> = (0..6).map(|_| backoff.next("a").as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(backoff.next("b").as_secs(), 5);
        backoff.forget("a");
        assert_eq!(backoff.next("a").as_secs(), 5);
    }
}
