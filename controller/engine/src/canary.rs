//! The canary: a baseline changes a few resources in use first, and the rest once nothing went wrong with them for a while.
//!
//! A canary is of one generation of a baseline: whoever edits it begins anew. It goes wrong if a change of the baseline is
//! not read back as planned, or if a person undoes one; from then on everything waits for an approval.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::controls::InvalidParameter;
use crate::duration::{self, Duration};
use crate::edit::Withheld;
use crate::facts::Location;
use crate::tenancy::Assignment;

/// What is changed first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.resources) != (has(self.accounts) || has(self.regions))",
    "message": "a canary is either so many resources, or accounts and regions: write resources, or accounts, regions or both"
}]))]
pub struct Canary {
    /// So many resources are changed first, the worst ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub resources: Option<i32>,
    /// Names of the AWSAccounts in which everything is changed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub accounts: Vec<String>,
    /// Regions in which everything is changed first. With accounts: these regions of those accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub regions: Vec<String>,
    /// How long the changes of the canary stand before the rest follows, as a duration such as 30m or 24h. Left out: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Duration { field: "soak", examples: "30m or 24h", shortest: "1s", longest: "168h" })]
    pub soak: Option<String>,
}

const SOAK: SignedDuration = SignedDuration::from_mins(30);

/// A [`Canary`] that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    scope: Scope,
    soak: SignedDuration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Resources(usize),
    Cells(Vec<Location>),
}

impl First {
    /// Prepares a canary for use in the accounts and regions of its baseline.
    ///
    /// # Errors
    /// A soak time that is none, or a canary that is nowhere: nothing would ever be changed.
    pub fn new(canary: &Canary, cells: &[Assignment]) -> Result<Self, InvalidParameter> {
        let Canary { resources, accounts, regions, soak } = canary;
        let soak = match soak {
            None => SOAK,
            Some(text) => duration::parse(text).ok_or_else(|| {
                InvalidParameter::new(
                    "remediation.canary.soak",
                    format!("{text:?} is no duration: write one such as 30m"),
                )
            })?,
        };
        if let Some(count) = resources {
            return Ok(Self { scope: Scope::Resources(usize::try_from(*count).unwrap_or(1)), soak });
        }
        let is_first = |cell: &&Assignment| {
            (accounts.is_empty() || accounts.contains(&cell.account))
                && (regions.is_empty() || regions.contains(&cell.location.region))
        };
        let first: Vec<Location> = cells.iter().filter(is_first).map(|cell| cell.location.clone()).collect();
        if first.is_empty() && !cells.is_empty() {
            let problem = "none of its accounts and regions is one of the baseline: name one that spec.accounts and spec.regions cover";
            return Err(InvalidParameter::new("remediation.canary", problem));
        }
        Ok(Self { scope: Scope::Cells(first), soak })
    }

    /// The accounts and regions in which everything is changed first; empty where the canary is so many resources.
    pub fn cells(&self) -> &[Location] {
        match &self.scope {
            Scope::Resources(_) => &[],
            Scope::Cells(cells) => cells,
        }
    }
}

/// How far a baseline has got with its canary.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The canary is being changed.
    Begun,
    /// It was changed, and stands until then.
    Soaking(Timestamp),
    /// It went wrong; this is how.
    Failed(String),
    /// The rest may follow.
    Passed,
}

/// So many failures of a canary are remembered: a baseline may go on for years.
const MOST_FAILURES: usize = 20;

/// What was changed on behalf of one generation of a baseline, and what went wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wave {
    /// Resources in use, and when each was first changed.
    changed: BTreeMap<(Location, String), Timestamp>,
    failures: BTreeSet<(Timestamp, String)>,
    /// When somebody last said that it may go on after a failure.
    resumed: Option<Timestamp>,
    /// When nothing was left to change in the accounts and regions of the canary.
    settled: Option<Timestamp>,
}

impl Wave {
    /// Notes that a resource in use was changed.
    pub fn change(&mut self, location: &Location, resource: &str, at: Timestamp) {
        let first = self.changed.entry((location.clone(), resource.to_owned())).or_insert(at);
        *first = at.min(*first);
    }

    /// Forgets a resource that was not changed after all. One that had been changed before stays.
    pub(crate) fn spare(&mut self, location: &Location, resource: &str, at: Timestamp) {
        let place = (location.clone(), resource.to_owned());
        if self.changed.get(&place) == Some(&at) {
            self.changed.remove(&place);
        }
    }

    /// Notes when a resource that was noted beforehand was done with: it stands from then on.
    pub(crate) fn stand(&mut self, location: &Location, resource: &str, noted_at: Timestamp, at: Timestamp) {
        let place = (location.clone(), resource.to_owned());
        if let Some(known) = self.changed.get_mut(&place).filter(|known| **known == noted_at) {
            *known = at.max(noted_at);
        }
    }

    /// Notes that something went wrong.
    pub fn fail(&mut self, at: Timestamp, why: String) {
        self.failures.insert((at, why));
        self.forget_failures();
    }

    /// Notes that somebody let it go on. What had not gone wrong by then is not forgiven.
    pub fn resume(&mut self, at: Timestamp) {
        self.resumed = self.resumed.max(Some(at));
        self.forget_failures();
    }

    /// Of what was forgiven the first tells as much as all. Of the rest the first say how it went wrong, and the last that it
    /// did whatever was forgiven before.
    fn forget_failures(&mut self) {
        let first = self.failures.first().cloned();
        let is_forgiven = |at: &Timestamp| self.resumed.is_some_and(|resumed| *at <= resumed);
        self.failures.retain(|failure| !is_forgiven(&failure.0) || Some(failure) == first.as_ref());
        while self.failures.len() > MOST_FAILURES
            && let Some(last_but_one) = self.failures.iter().nth_back(1).cloned()
        {
            self.failures.remove(&last_but_one);
        }
    }

    /// Notes that nothing is left to change in the accounts and regions of the canary. What comes up later is not part of it.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        self.settled.get_or_insert(now);
    }

    /// When the soak time ends, if it has begun.
    pub(crate) fn soaks_until(&self, first: &First, now: Timestamp) -> Option<Timestamp> {
        match self.stage(first, now) {
            Stage::Soaking(until) => Some(until),
            Stage::Begun | Stage::Failed(_) | Stage::Passed => None,
        }
    }

    /// Whether nothing was left to change in the accounts and regions of the canary.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// Why everything waits for an approval, if the canary went wrong.
    pub(crate) fn failure(&self, first: &First, now: Timestamp) -> Option<Withheld> {
        match self.stage(first, now) {
            Stage::Failed(why) => Some(Withheld::CanaryFailed(why)),
            Stage::Begun | Stage::Soaking(_) | Stage::Passed => None,
        }
    }

    /// Why a resource in use has to wait for the canary.
    pub(crate) fn holds(&self, first: &First, location: &Location, resource: &str, now: Timestamp) -> Option<Withheld> {
        let until = match self.stage(first, now) {
            // What is made all the same was approved.
            Stage::Passed | Stage::Failed(_) => return None,
            Stage::Begun => None,
            Stage::Soaking(until) => Some(until),
        };
        let is_first = match &first.scope {
            Scope::Cells(cells) => cells.contains(location),
            Scope::Resources(count) => {
                self.changed.len() < *count || self.changed.contains_key(&(location.clone(), resource.to_owned()))
            }
        };
        (!is_first).then_some(Withheld::Canary(until))
    }

    fn stage(&self, first: &First, now: Timestamp) -> Stage {
        let ends = self.ends(first);
        let in_time = self.failures.iter().filter(|(at, _)| ends.is_none_or(|ends| *at < ends));
        let (forgiven, standing): (Vec<_>, Vec<_>) =
            in_time.partition(|(at, _)| self.resumed.is_some_and(|resumed| *at <= resumed));
        match (standing.into_iter().min(), ends) {
            (Some((_, why)), _) => Stage::Failed(why.clone()),
            (None, _) if !forgiven.is_empty() => Stage::Passed,
            (None, None) => Stage::Begun,
            (None, Some(ends)) if now < ends => Stage::Soaking(ends),
            (None, Some(_)) => Stage::Passed,
        }
    }

    /// When the changes of the canary have stood long enough, once all of them are made.
    fn ends(&self, first: &First) -> Option<Timestamp> {
        let soaked = |last: Timestamp| last.saturating_add(first.soak).unwrap_or(Timestamp::MAX);
        match &first.scope {
            Scope::Resources(count) => {
                let mut times: Vec<Timestamp> = self.changed.values().copied().collect();
                times.sort_unstable();
                times.get(count.saturating_sub(1)).copied().map(soaked)
            }
            Scope::Cells(cells) => {
                let (within, beyond): (Vec<_>, Vec<_>) =
                    self.changed.iter().partition(|((location, _), _)| cells.contains(location));
                // An earlier process has let the rest follow.
                let followed = beyond.into_iter().map(|(_, at)| *at).min();
                let settled = self.settled.map(|settled| {
                    let last = within.into_iter().map(|(_, at)| *at).filter(|at| *at <= settled).max();
                    last.map_or(settled, soaked)
                });
                followed.into_iter().chain(settled).min()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cell(region: &str) -> Location {
        Location { account: "111122223333".to_owned(), region: region.to_owned() }
    }

    fn resources(count: usize) -> First {
        First { scope: Scope::Resources(count), soak: SignedDuration::from_hours(1) }
    }

    fn here() -> First {
        First { scope: Scope::Cells(vec![cell("here")]), soak: SignedDuration::from_hours(1) }
    }

    fn changed(resources: &[(&str, &str, i64)]) -> Wave {
        let mut wave = Wave::default();
        resources.iter().for_each(|(region, id, second)| wave.change(&cell(region), id, at(*second)));
        wave
    }

    #[test]
    fn so_many_resources_go_first_and_the_rest_waits_until_they_have_stood() {
        let held = |wave: &Wave, id: &str, second| wave.holds(&resources(2), &cell("here"), id, at(second));
        let begun = changed(&[("here", "sg-1", 10)]);
        assert_eq!((held(&begun, "sg-2", 11), held(&begun, "sg-1", 11)), (None, None));
        let both = changed(&[("here", "sg-1", 10), ("there", "sg-2", 20), ("here", "sg-1", 30)]);
        let until = Some(Withheld::Canary(Some(at(20 + HOUR))));
        assert_eq!([21, 19 + HOUR].map(|now| held(&both, "sg-3", now)), [until.clone(), until]);
        assert_eq!(held(&both, "sg-1", 21), None, "what is changed again counts once");
        assert_eq!(held(&both, "sg-3", 20 + HOUR), None);
    }

    #[test]
    fn what_was_reserved_and_not_changed_leaves_room_for_another() {
        let mut wave = changed(&[("here", "sg-1", 10)]);
        wave.change(&cell("here"), "sg-1", at(20));
        wave.spare(&cell("here"), "sg-1", at(20));
        assert!(wave.holds(&resources(1), &cell("here"), "sg-2", at(21)).is_some(), "it was changed before");
        wave.spare(&cell("here"), "sg-1", at(10));
        assert_eq!(wave.holds(&resources(1), &cell("here"), "sg-2", at(21)), None);
    }

    #[test]
    fn other_cells_wait_until_the_first_have_nothing_left_and_have_stood() {
        let held = |wave: &Wave, region: &str, second| wave.holds(&here(), &cell(region), "sg-9", at(second));
        let mut wave = changed(&[("here", "sg-1", 10)]);
        assert_eq!((held(&wave, "here", 11), held(&wave, "there", 5 * HOUR)), (None, Some(Withheld::Canary(None))));
        wave.settle(at(30));
        wave.change(&cell("here"), "sg-2", at(40));
        wave.settle(at(50));
        assert_eq!(
            held(&wave, "there", 60),
            Some(Withheld::Canary(Some(at(10 + HOUR)))),
            "later drift lengthens nothing"
        );
        assert_eq!(held(&wave, "there", 10 + HOUR), None);
        let mut nothing = Wave::default();
        nothing.settle(at(30));
        assert_eq!(held(&nothing, "there", 30), None, "where nothing was changed nothing has to stand");
        let followed = changed(&[("here", "sg-1", 10), ("there", "sg-2", 20)]);
        assert_eq!(held(&followed, "there", 21), None, "an earlier process let the rest follow");
    }

    #[test]
    fn a_canary_that_goes_wrong_stops_the_rest_until_somebody_lets_it_go_on() {
        let failed = |wave: &Wave, second| wave.failure(&resources(1), at(second)).map(|held| held.reason());
        let mut wave = changed(&[("here", "sg-1", 10)]);
        wave.resume(at(15));
        assert!(wave.holds(&resources(1), &cell("here"), "sg-2", at(16)).is_some(), "nothing had gone wrong by then");
        wave.fail(at(20), "sg-1 is not as planned".to_owned());
        assert_eq!([20, 90 * HOUR].map(|now| failed(&wave, now)), [Some("CanaryFailed"); 2], "no time heals it");
        wave.resume(at(30));
        assert_eq!(failed(&wave, 31), None);
        assert_eq!(wave.holds(&resources(1), &cell("here"), "sg-2", at(31)), None, "the rest follows");
    }

    #[test]
    fn what_goes_wrong_after_the_canary_stops_nothing() {
        let mut wave = changed(&[("here", "sg-1", 10)]);
        wave.fail(at(10 + HOUR), "sg-2 is not as planned".to_owned());
        assert_eq!(wave.failure(&resources(1), at(2 * HOUR)), None);
    }

    #[test]
    fn however_much_goes_wrong_little_is_remembered_and_nothing_is_forgiven_with_it() {
        let mut wave = changed(&[("here", "sg-1", 10)]);
        (100..1000).for_each(|second| wave.fail(at(second), format!("failure {second}")));
        assert_eq!(wave.failures.len(), MOST_FAILURES);
        let failed = |wave: &Wave| wave.failure(&resources(1), at(2000));
        assert_eq!(failed(&wave), Some(Withheld::CanaryFailed("failure 100".to_owned())));
        wave.resume(at(998));
        assert_eq!(failed(&wave), Some(Withheld::CanaryFailed("failure 999".to_owned())));
        wave.resume(at(999));
        assert_eq!((failed(&wave), wave.failures.len()), (None, 1));
        assert_eq!(wave.holds(&resources(1), &cell("here"), "sg-2", at(2000)), None, "the rest follows");
    }

    #[test]
    fn a_canary_that_is_nowhere_is_refused() {
        let canary = Canary { accounts: vec!["staging".to_owned()], ..Canary::default() };
        let grant = crate::tenancy::Grant {
            max_mode: crate::spec::Mode::Enforce,
            selection: None,
            may_add: crate::tenancy::MayAdd::default(),
        };
        let assignment = |account: &str| Assignment {
            account: account.to_owned(),
            location: cell(account),
            named: true,
            grant: grant.clone(),
        };
        let refused = First::new(&canary, &[assignment("prod")]).unwrap_err().to_string();
        assert!(refused.contains("remediation.canary") && refused.contains("spec.accounts"), "{refused}");
        let first = First::new(&canary, &[assignment("prod"), assignment("staging")]).unwrap();
        assert_eq!((first.cells(), first.soak), ([cell("staging")].as_slice(), SOAK));
        let soak = Canary { soak: Some("soon".to_owned()), resources: Some(1), ..Canary::default() };
        assert!(First::new(&soak, &[]).is_err());
    }
}
