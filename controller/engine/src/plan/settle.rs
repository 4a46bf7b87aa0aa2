//! One plan per rule over all controls and baselines that want to change it: what they forbid adds up, what they allow
//! intersects, and what a baseline requires stays.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::demands::{Asker, Demands, Keep};
use super::narrow::{MOST_GRANTS, Remains, narrow};
use crate::controls::security_group::Bound;
use crate::exposure::opens_every_port;
use crate::facts::{Grant, Rule};
use crate::traffic::TrafficSet;

/// What becomes of the rules that have to change.
#[derive(Debug, Default)]
pub(super) struct Settlement<'d> {
    /// By position of the rule.
    pub(super) changes: BTreeMap<usize, Change<'d>>,
    /// Demands that cannot be met exactly, by position of the rule.
    pub(super) inexact: BTreeMap<usize, Vec<Asker<'d>>>,
}

/// What is to become of one rule.
#[derive(Debug)]
pub(super) struct Change<'d> {
    /// What remains of it.
    pub(super) remains: Vec<Grant>,
    /// That, but for what other rules of the group let through anyway.
    pub(super) after: Vec<Grant>,
    pub(super) askers: Vec<Asker<'d>>,
}

impl<'d> Settlement<'d> {
    /// Meets the demands of those who `count`, and keeps what is `required` and there.
    pub(super) fn new(
        rules: &[Rule],
        demands: &Demands<'d>,
        required: &[&Grant],
        count: impl Fn(&Asker<'d>) -> bool + Copy,
    ) -> Self {
        let mut settlement = Self::default();
        for (index, keeps) in &demands.keeps {
            let keeps: Vec<Keep<'d>> = keeps.iter().filter_map(|keep| those(keep, count)).collect();
            if let Some(rule) = rules.get(*index).filter(|_| !keeps.is_empty()) {
                settlement.settle(*index, &rule.grant, keeps, required);
            }
        }
        settlement.spare_what_comes_back(rules);
        settlement.drop_repetition(rules);
        settlement
    }

    fn settle(&mut self, index: usize, rule: &Grant, mut keeps: Vec<Keep<'d>>, required: &[&Grant]) {
        let kept: Vec<Bound> = required
            .iter()
            .filter(|grant| grant.direction == rule.direction)
            .map(|grant| Bound { traffic: TrafficSet::from(grant.traffic), peer: Some(grant.peer.clone()) })
            .collect();
        for keep in &mut keeps {
            keep.within.extend(kept.iter().cloned());
        }
        let keeps: Vec<&Keep<'d>> = keeps.iter().collect();
        let (met, unmet, remains) = match remains(rule, &keeps) {
            Remains::NoExactForm => as_many_as_possible(rule, keeps),
            exact => (keeps, Vec::new(), exact),
        };
        let askers = |keeps: Vec<&Keep<'d>>| keeps.into_iter().flat_map(|keep| keep.askers.iter().cloned()).collect();
        if let Remains::Grants(remains) = remains {
            let change = Change { after: remains.clone(), remains, askers: askers(met) };
            self.changes.insert(index, change);
        }
        if !unmet.is_empty() {
            self.inexact.insert(index, askers(unmet));
        }
    }

    /// A rule that is just what is to remain of another stays: EC2 refuses to add it a second time.
    fn spare_what_comes_back(&mut self, rules: &[Rule]) {
        let comes_back = |index: &usize| {
            let grant = rules.get(*index).map(|rule| &rule.grant);
            let others = self.changes.iter().filter(|(other, _)| *other != index);
            others.flat_map(|(_, change)| &change.remains).any(|remains| Some(remains) == grant)
        };
        let spared: Vec<usize> = self.changes.keys().copied().filter(comes_back).collect();
        for index in spared {
            self.changes.remove(&index);
        }
    }

    /// Drops from what takes a rule's place whatever other rules let through anyway: EC2 refuses duplicates, and
    /// every rule counts against the quota.
    fn drop_repetition(&mut self, rules: &[Rule]) {
        let mut standing: Vec<Grant> = rules
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.changes.contains_key(index))
            .map(|(_, rule)| rule.grant.clone())
            .collect();
        for change in self.changes.values_mut() {
            change.after.retain(|grant| !standing.iter().any(|other| other.covers(grant)));
            standing.extend(change.after.iter().cloned());
        }
    }

    /// Whether a grant is what remains of a rule on which every demand is met.
    pub(super) fn leaves(&self, grant: &Grant) -> bool {
        let met = self.changes.iter().filter(|(index, _)| !self.inexact.contains_key(index));
        met.flat_map(|(_, change)| &change.after).any(|after| after == grant)
    }

    /// The grants of the group once the changes are made.
    pub(super) fn standing<'s>(&'s self, rules: &'s [Rule]) -> impl Iterator<Item = &'s Grant> {
        rules.iter().enumerate().flat_map(|(index, rule)| {
            match self.changes.get(&index) {
                Some(change) => change.after.as_slice(),
                None => std::slice::from_ref(&rule.grant),
            }
            .iter()
        })
    }
}

/// A demand without those who do not count; `None` if nobody is left.
fn those<'d>(keep: &Keep<'d>, count: impl Fn(&Asker<'d>) -> bool + Copy) -> Option<Keep<'d>> {
    let askers: Vec<Asker<'d>> = keep.askers.iter().filter(|asker| count(asker)).cloned().collect();
    (!askers.is_empty()).then(|| Keep { askers, within: keep.within.clone(), must_narrow: keep.must_narrow })
}

/// What all of some demands leave of a rule.
pub(super) fn remains(rule: &Grant, keeps: &[&Keep<'_>]) -> Remains {
    let bounds: Vec<&[Bound]> = keeps.iter().map(|keep| keep.within.as_slice()).collect();
    let must_narrow = keeps.iter().any(|keep| keep.must_narrow);
    let every_port =
        |grants: &[Grant]| grants.iter().any(|grant| grant.peer == rule.peer && opens_every_port(grant.traffic));
    match narrow(rule, &bounds) {
        Remains::Unchanged if must_narrow => Remains::NoExactForm,
        Remains::Grants(after) if must_narrow && every_port(&after) => Remains::NoExactForm,
        remains => remains,
    }
}

/// The worst demands first; those that only forbid to stay as wide come last: the others narrow for them. The same
/// whatever the order of baselines, which would otherwise show in how the remains are cut into rules.
fn rank(keep: &&Keep<'_>) -> impl Ord + use<> {
    let severity = keep.askers.iter().map(|asker| asker.severity).max();
    let asker = keep.askers.iter().map(|asker| (asker.control, asker.baseline)).min();
    (keep.must_narrow, Reverse(severity), asker.map(|(control, baseline)| (control, baseline.clone())))
}

/// Meets demands, the worst first, and leaves out each that has no exact form beside those before it, so that no demand
/// keeps a worse one from being met.
///
/// A demand that is left out is met where it has an exact form after all: on some of the grants that remain.
fn as_many_as_possible<'k, 'd>(
    rule: &Grant,
    mut keeps: Vec<&'k Keep<'d>>,
) -> (Vec<&'k Keep<'d>>, Vec<&'k Keep<'d>>, Remains) {
    keeps.sort_by_cached_key(rank);
    let (mut met, mut unmet, mut left) = (Vec::new(), Vec::new(), Remains::Unchanged);
    for keep in keeps {
        met.push(keep);
        match remains(rule, &met) {
            Remains::NoExactForm => unmet.extend(met.pop()),
            exact => left = exact,
        }
    }
    if let Remains::Grants(grants) = &mut left {
        for keep in &unmet {
            if let Some(narrower) = met_in_part(grants, keep) {
                *grants = narrower;
                met.push(keep);
            }
        }
        unmet.retain(|keep| grants.iter().any(|grant| remains(grant, &[keep]) != Remains::Unchanged));
    }
    (met, unmet, left)
}

/// Some grants once a demand is met on those of them on which it has an exact form; `None` if that changes nothing.
fn met_in_part(grants: &[Grant], keep: &Keep<'_>) -> Option<Vec<Grant>> {
    let part = |grant: &Grant| match remains(grant, &[keep]) {
        Remains::Grants(part) => part,
        Remains::Unchanged | Remains::NoExactForm => vec![grant.clone()],
    };
    let mut parts: Vec<Grant> = grants.iter().flat_map(part).collect();
    parts.sort();
    parts.dedup();
    (parts != grants && parts.len() <= MOST_GRANTS).then_some(parts)
}
