//! How many change sets of each baseline wait, over all cells: cells side by side propose no more than a person can read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::kind::Cell;

/// So many change sets of one baseline wait at most; what does not fit is counted.
pub const MOST: usize = 10;

/// Change sets that wait, by the uid of the baseline and by cell.
#[derive(Debug, Default)]
pub struct Pending(Mutex<BTreeMap<String, BTreeMap<Cell, usize>>>);

impl Pending {
    /// How many more of a baseline there may be.
    pub fn room(&self, uid: &str) -> usize {
        MOST.saturating_sub(self.total(uid))
    }

    /// Takes the place of one more, if there is one.
    pub fn take(&self, uid: &str, cell: &Cell) -> bool {
        let mut pending = self.lock();
        let cells = pending.entry(uid.to_owned()).or_default();
        let has_room = cells.values().sum::<usize>() < MOST;
        if has_room {
            *cells.entry(cell.clone()).or_default() += 1;
        }
        has_room
    }

    /// Sets how many there are in one cell.
    pub fn set(&self, cell: &Cell, by_uid: &BTreeMap<String, usize>) {
        let mut pending = self.lock();
        for cells in pending.values_mut() {
            cells.remove(cell);
        }
        for (uid, count) in by_uid {
            pending.entry(uid.clone()).or_default().insert(cell.clone(), *count);
        }
        pending.retain(|_, cells| !cells.is_empty());
    }

    /// Where any wait.
    pub fn cells(&self) -> BTreeSet<Cell> {
        self.lock().values().flat_map(|cells| cells.keys().cloned()).collect()
    }

    /// How many there are of a baseline.
    pub fn total(&self, uid: &str) -> usize {
        self.lock().get(uid).map_or(0, |cells| cells.values().sum())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Cell, usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use engine::facts::Location;
    use engine::kind::Kind;

    use super::*;

    #[test]
    fn cells_side_by_side_share_ten_places() {
        let location = |region: &str| Location { account: "111122223333".to_owned(), region: region.to_owned() };
        let cell = |region: &str| Cell { kind: Kind::SecurityGroup, location: location(region) };
        let (pending, one, two) = (Pending::default(), cell("eu-west-1"), cell("us-east-1"));
        assert_eq!((0..8).filter(|_| pending.take("u", &one)).count(), 8);
        assert_eq!((0..8).filter(|_| pending.take("u", &two)).count(), 2);
        assert_eq!((pending.room("u"), pending.room("other")), (0, MOST));
        pending.set(&one, &BTreeMap::from([("u".to_owned(), 1)]));
        assert_eq!((pending.total("u"), pending.room("u")), (3, 7));
        pending.set(&one, &BTreeMap::new());
        pending.set(&two, &BTreeMap::new());
        assert_eq!(pending.total("u"), 0);
    }
}
