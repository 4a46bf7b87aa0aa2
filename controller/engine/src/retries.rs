//! What was tried in vain, so that it is not tried again at every sweep: it would keep others from their turn.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::edit::{Change, Demand, Edit, Withheld};
use crate::facts::Inventory;
use crate::kind::Kind;
use crate::plan::{Failure, Outcome, ResourceOutcome};

/// How long to wait after failures in a row.
#[derive(Clone, Copy)]
struct Pace {
    first: Duration,
    last: Duration,
}

/// For what no later try mends: only a change of the resource does.
const NEVER: Pace = Pace { first: Duration::MAX, last: Duration::MAX };

/// For what may pass in a moment. Never so long that whoever keeps changing a group could switch its repair off.
const SOON: Pace = Pace { first: Duration::from_secs(1), last: Duration::from_secs(5 * 60) };

/// For what somebody has to mend: each try is a change set and an AWS call.
const LATER: Pace = Pace { first: Duration::from_secs(60), last: Duration::from_secs(60 * 60) };

impl Pace {
    fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Failed(Failure::RuntimeBlocked) => Some(NEVER),
            Outcome::Failed(failure) => Some(if failure.may_pass() { SOON } else { LATER }),
            Outcome::Withheld(Withheld::ChangeSetTooLarge | Withheld::NotActive(_) | Withheld::WouldLose(_)) => {
                Some(LATER)
            }
            Outcome::Withheld(Withheld::ForeignChange | Withheld::JournalUnavailable | Withheld::UpdateInProgress) => {
                Some(SOON)
            }
            Outcome::Verified | Outcome::Withheld(_) => None,
        }
    }

    fn pause(self, failures: u32) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.last)
    }
}

/// The resources of one cell whose last try was in vain.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    tried: BTreeMap<String, Tried>,
}

#[derive(Clone, Debug)]
struct Tried {
    /// What was to be changed, for whom.
    edits: Vec<(Change, Vec<Demand>)>,
    /// What came of the last try.
    last: Outcome,
    /// Tries in vain in a row.
    failures: u32,
    next: Timestamp,
}

impl Retries {
    /// Notes what came of a sweep.
    pub fn note(&mut self, outcomes: &[ResourceOutcome]) {
        for ResourceOutcome { id, edits, outcome, finished_at, .. } in outcomes {
            if *outcome == Outcome::Verified {
                self.tried.remove(id);
            } else if let Some(pace) = Pace::of(outcome) {
                let failures = self.tried.get(id).map_or(0, |tried| tried.failures).saturating_add(1);
                let next = finished_at.checked_add(pace.pause(failures)).unwrap_or(Timestamp::MAX);
                let edits = edits.iter().map(|edit| (edit.change.clone(), edit.demands.clone())).collect();
                self.tried.insert(id.clone(), Tried { edits, last: outcome.clone(), failures, next });
            }
        }
    }

    /// Lets go what waits for a change of its resource, if that changed, came or went from one look to the next.
    pub fn heed(&mut self, kind: Kind, before: &Inventory, now: &Inventory) {
        self.tried.retain(|id, tried| tried.next != Timestamp::MAX || now.shows_as_before(kind, id, before));
    }

    /// Forgets resources that nobody has wanted to change for so long that it is not the same trouble any more.
    pub fn prune(&mut self, now: Timestamp) {
        self.tried.retain(|_, tried| now.duration_since(tried.next) < LATER.last.try_into().unwrap_or_default());
    }

    /// What came of the last try, if these are the edits that were tried and it is too early for the next one. Other edits,
    /// or the same ones for another generation of a baseline, need not wait.
    pub fn waits(&self, resource: &str, edits: &[Edit], now: Timestamp) -> Option<&Outcome> {
        let tried = self.tried.get(resource)?;
        let same = edits.iter().map(|edit| (&edit.change, &edit.demands));
        let same = same.eq(tried.edits.iter().map(|(change, demands)| (change, demands)));
        (same && now < tried.next).then_some(&tried.last)
    }

    /// How long it is until the next try of any resource.
    pub fn next_due(&self, now: Timestamp) -> Option<Duration> {
        let waiting = self.tried.values().map(|tried| tried.next).filter(|next| *next > now && *next != Timestamp::MAX);
        waiting.min().map(|next| next.duration_since(now).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::Warrant;
    use crate::edit::{BaselineRef, Impact, Operation};
    use crate::facts::{Location, SecurityGroup, Source, Tags};
    use crate::finding::Severity;

    const DENIED: Outcome = Outcome::Failed(Failure::WriteDenied);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn edit(tag: &str, generation: i64) -> Edit {
        let baseline = BaselineRef {
            kind: crate::kind::Kind::SecurityGroup,
            namespace: "team".to_owned(),
            name: "edge".to_owned(),
            uid: String::new(),
            generation,
        };
        Edit {
            resource: "sg-1".to_owned(),
            operation: Operation::AddTags,
            change: Change::Tags { before: Tags::new(), after: [(tag.to_owned(), String::new())].into() },
            demands: vec![Demand { baseline, control: "sg-tagged" }],
            severity: Severity::Low,
            exposed: 0,
            impact: Impact::None,
        }
    }

    fn tried(outcome: &Outcome, second: i64) -> ResourceOutcome {
        ResourceOutcome {
            id: "sg-1".to_owned(),
            edits: vec![edit("owner", 1)],
            warrant: Warrant::Baselines,
            outcome: outcome.clone(),
            calls_verified: 0,
            request_ids: Vec::new(),
            finished_at: at(second),
        }
    }

    /// The pauses after so many failures in a row.
    fn pauses(outcome: &Outcome, count: usize) -> Vec<u64> {
        let mut retries = Retries::default();
        let pause = |_| {
            retries.note(&[tried(outcome, 0)]);
            retries.next_due(at(0)).unwrap().as_secs()
        };
        (0..count).map(pause).collect()
    }

    #[test]
    fn pauses_double_up_to_the_last_and_what_may_pass_begins_sooner() {
        assert_eq!(pauses(&DENIED, 8), [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        let foreign = Outcome::Withheld(Withheld::ForeignChange);
        assert_eq!(pauses(&foreign, 11), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        // Whoever undoes a repair before it is read back must not switch it off.
        assert_eq!(pauses(&Outcome::Failed(Failure::NotVerified), 11), pauses(&foreign, 11));
    }

    #[test]
    fn the_same_edits_wait_and_others_or_those_of_another_generation_do_not() {
        let mut retries = Retries::default();
        retries.note(&[tried(&DENIED, 0)]);
        let waits = |edits: &[Edit], second| retries.waits("sg-1", edits, at(second)).cloned();
        assert_eq!(waits(&[edit("owner", 1)], 59), Some(DENIED));
        assert_eq!(waits(&[edit("owner", 1)], 60), None);
        assert_eq!(waits(&[edit("owner", 2)], 59), None);
        assert_eq!(waits(&[edit("team", 1)], 59), None);
        assert_eq!(waits(&[edit("owner", 1), edit("team", 1)], 59), None);
        assert_eq!(retries.waits("sg-2", &[edit("owner", 1)], at(59)), None);
        let unexpected = Edit { impact: Impact::Unknown, ..edit("owner", 1) };
        assert_eq!(waits(&[unexpected], 59), Some(DENIED), "what hangs on the group is no other edit");
    }

    #[test]
    fn what_no_later_try_mends_waits_until_the_resource_changes() {
        let look = |groups: &[(&str, &str)]| {
            let group = |(id, name): &(&str, &str)| SecurityGroup {
                id: (*id).to_owned(),
                name: (*name).to_owned(),
                description: String::new(),
                owner: "111122223333".to_owned(),
                vpc: "vpc-1".to_owned(),
                tags: Tags::new(),
                rules: Vec::new(),
            };
            let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
            let mut inventory = Inventory::unread(location);
            inventory.security_groups = Source::complete(groups.iter().map(group).collect(), at(0));
            inventory
        };
        let before = look(&[("sg-1", "web")]);
        let waits = |now: &Inventory| {
            let mut retries = Retries::default();
            retries.note(&[tried(&Outcome::Failed(Failure::RuntimeBlocked), 0)]);
            retries.heed(Kind::SecurityGroup, &before, now);
            retries.prune(at(1_000_000_000));
            assert_eq!(retries.next_due(at(0)), None);
            retries.waits("sg-1", &[edit("owner", 1)], at(1_000_000_000)).is_some()
        };
        assert!(waits(&look(&[("sg-1", "web"), ("sg-2", "new")])));
        assert!(waits(&Inventory::unread(before.location.clone())), "nothing was seen");
        assert!(!waits(&look(&[("sg-1", "changed")])));
        assert!(!waits(&look(&[])));
    }

    #[test]
    fn what_was_verified_or_not_wanted_for_long_is_forgotten_and_what_was_not_tried_is_not() {
        let mut retries = Retries::default();
        retries.note(&[tried(&DENIED, 0)]);
        retries.note(&[tried(&Outcome::Withheld(Withheld::NotLeader), 30)]);
        assert_eq!(retries.next_due(at(30)), Some(Duration::from_secs(30)));
        retries.prune(at(60 + 3599));
        assert_eq!(retries.tried.len(), 1);
        assert_eq!(retries.next_due(at(61)), None);
        retries.prune(at(60 + 3600));
        assert_eq!(retries.tried.len(), 0);
        retries.note(&[tried(&DENIED, 0)]);
        retries.note(&[tried(&Outcome::Verified, 1)]);
        assert_eq!(retries.next_due(at(1)), None);
    }
}
