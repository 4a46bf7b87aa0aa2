//! Clocks that are wrong: time that jumps lets nothing be written that would not be written otherwise.

use std::time::Duration;

use engine::budget::Ledger;
use engine::facts::LiveGroup;
use engine::rails::FRESHNESS;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::limits::{changed, fleet, later, limited};
use super::{Case, NOW, live};

const LEASE: Option<Duration> = Some(Duration::from_secs(60));

fn read_at(case: &Case, at: Timestamp) -> LiveGroup {
    LiveGroup { read_at: at, ..live(&case.groups[0]) }
}

#[test]
fn a_read_of_another_time_permits_nothing() {
    let case = Case::new();
    let permits =
        |at: Timestamp| case.permit(&case, &read_at(&case, at), LEASE).map(|_| ()).map_err(|held| held.reason());
    let moved = |by: SignedDuration| NOW.checked_add(by).unwrap();
    assert_eq!([NOW, moved(-FRESHNESS)].map(permits), [Ok(()), Ok(())]);
    let moment = SignedDuration::from_millis(1);
    for off in [moment, -FRESHNESS - moment, SignedDuration::from_mins(10), SignedDuration::from_mins(-10)] {
        assert_eq!(permits(moved(off)), Err("IncompleteKnowledge"), "{off}");
    }
}

#[test]
fn a_clock_that_goes_back_gives_no_budget_back() {
    let case = limited(fleet(3, 0), json!({"budget": {"perHour": 2}}));
    let mut ledger = Ledger::default();
    let (first, _reserved) = case.reserve(&mut ledger, later(10));
    assert_eq!(changed(&first), ["sg-bad-00", "sg-bad-01"]);
    for minutes in [0, 10, 5, 69] {
        let (again, _reserved) = case.reserve(&mut ledger, later(minutes));
        assert_eq!(changed(&again), ["sg-bad-00", "sg-bad-01"], "no third at minute {minutes}");
    }
}
