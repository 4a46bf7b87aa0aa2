//! Planning one security group: one plan per rule over all controls and baselines that want to change it.
//!
//! What baselines forbid adds up, what they allow intersects. Demands that are held (mode `Audit`, a field that is not
//! named, …) never mix with those that may be carried out: they are shown as a second, withheld edit.

use std::collections::BTreeMap;

use super::ProposedEdit;
use super::narrow::{Remains, narrow};
use crate::address::{AddressSet, PublicSize};
use crate::controls::security_group::{Bound, GroupView, Remedy};
use crate::desired::{ActiveControl, Desired, Scope};
use crate::edit::{Change, Demand, Edit, Operation, Withheld};
use crate::evaluate::impact;
use crate::exposure::{Audience, opens_every_port};
use crate::facts::{Grant, Rule, SecurityGroup, Tags};
use crate::finding::Severity;
use crate::traffic::TrafficSet;

/// Who asks for something, how urgently, and why it is not done if that is settled.
#[derive(Clone, Debug)]
struct Asker {
    demand: Demand,
    severity: Severity,
    hold: Option<Withheld>,
}

impl Asker {
    fn new(desired: &Desired, active: &ActiveControl, held: Option<Withheld>) -> Self {
        Self {
            demand: Demand {
                baseline: desired.reference.clone(),
                control: active.control.about.id,
            },
            severity: active.severity,
            hold: active.hold.clone().or(held),
        }
    }

    fn enforced(&self) -> bool {
        self.hold.is_none()
    }
}

/// One control of one baseline wants one rule narrowed.
#[derive(Clone, Debug)]
struct Keep {
    asker: Asker,
    within: Vec<Bound>,
    must_narrow: bool,
}

/// Everything that is asked of one group.
#[derive(Debug, Default)]
struct Demands {
    keeps: BTreeMap<usize, Vec<Keep>>,
    requires: BTreeMap<Rule, Vec<Asker>>,
    descriptions: BTreeMap<usize, BTreeMap<String, Vec<Asker>>>,
    tags: BTreeMap<String, BTreeMap<String, Vec<Asker>>>,
}

impl Demands {
    fn gather(view: &GroupView<'_>, in_scope: &[(&Desired, Scope)]) -> Self {
        let mut demands = Self::default();
        for (desired, scope) in in_scope {
            for active in desired
                .controls
                .iter()
                .filter(|active| scope.includes(active.control))
            {
                for remedy in active
                    .control
                    .remedy
                    .map(|remedy| remedy(&desired.parameters, view))
                    .unwrap_or_default()
                {
                    demands.add(desired, active, remedy);
                }
            }
        }
        demands
    }

    fn add(&mut self, desired: &Desired, active: &ActiveControl, remedy: Remedy) {
        match remedy {
            Remedy::Keep {
                rule,
                within,
                must_narrow,
                held,
            } => {
                let asker = Asker::new(desired, active, held);
                self.keeps.entry(rule).or_default().push(Keep {
                    asker,
                    within,
                    must_narrow,
                });
            }
            Remedy::Require(rule) => {
                let beyond =
                    (!desired.grant.may_add.allows(&rule)).then_some(Withheld::AccountGrant);
                self.requires
                    .entry(rule)
                    .or_default()
                    .push(Asker::new(desired, active, beyond));
            }
            Remedy::Describe { rule, text } => {
                let asker = Asker::new(desired, active, None);
                self.descriptions
                    .entry(rule)
                    .or_default()
                    .entry(text)
                    .or_default()
                    .push(asker);
            }
            Remedy::Tag(tags) => {
                for (key, value) in tags {
                    let asker = Asker::new(desired, active, None);
                    self.tags
                        .entry(key)
                        .or_default()
                        .entry(value)
                        .or_default()
                        .push(asker);
                }
            }
        }
    }
}

/// What is to become of one rule.
#[derive(Clone, Debug)]
struct Settled {
    after: Vec<Grant>,
    askers: Vec<Asker>,
}

/// The edits of one group, held or not.
pub(super) fn plan(view: &GroupView<'_>, in_scope: &[(&Desired, Scope)]) -> Vec<ProposedEdit> {
    let in_scope: Vec<_> = in_scope
        .iter()
        .filter(|(_, scope)| *scope != Scope::Outside)
        .copied()
        .collect();
    let demands = Demands::gather(view, &in_scope);
    let planner = Planner {
        view,
        in_scope: &in_scope,
        demands: &demands,
    };
    let enforced = planner.narrowed();
    let missing = planner.missing(&enforced);
    let conflicts = planner.conflicts(&enforced, &missing);
    let mut edits = planner.narrowing_edits(&enforced, &conflicts);
    edits.extend(planner.held_narrowing_edits(&enforced));
    edits.extend(planner.adding_edits(missing, &conflicts));
    edits.extend(planner.describing_edits(&enforced));
    edits.extend(planner.tagging_edits());
    edits
}

/// A required rule that some baseline forbids, and which.
struct Conflict {
    required: Grant,
    requirers: Vec<String>,
    forbidders: Vec<String>,
}

struct Planner<'p> {
    view: &'p GroupView<'p>,
    in_scope: &'p [(&'p Desired, Scope)],
    demands: &'p Demands,
}

impl Planner<'_> {
    fn group(&self) -> &SecurityGroup {
        self.view.group
    }

    fn rule(&self, index: usize) -> Option<&Rule> {
        self.group().rules.get(index)
    }

    /// What becomes of each rule by the demands that may be carried out. `None` where no exact form exists.
    fn narrowed(&self) -> BTreeMap<usize, Option<Settled>> {
        let mut settled = BTreeMap::new();
        for (index, keeps) in &self.demands.keeps {
            let Some(rule) = self.rule(*index) else {
                continue;
            };
            let enforced: Vec<&Keep> = keeps.iter().filter(|keep| keep.asker.enforced()).collect();
            if enforced.is_empty() {
                continue;
            }
            match remains(rule, &enforced) {
                Remains::Unchanged => {}
                Remains::NoExactForm => {
                    settled.insert(*index, None);
                }
                Remains::Grants(after) => {
                    let askers = enforced.iter().map(|keep| keep.asker.clone()).collect();
                    settled.insert(*index, Some(Settled { after, askers }));
                }
            }
        }
        self.without_repetition(settled)
    }

    /// Drops from what takes a rule's place whatever other rules let through anyway: EC2 refuses duplicates, and
    /// every rule counts against the quota.
    fn without_repetition(
        &self,
        mut settled: BTreeMap<usize, Option<Settled>>,
    ) -> BTreeMap<usize, Option<Settled>> {
        let changed = |index: usize| settled.get(&index).is_some_and(Option::is_some);
        let rules = self.group().rules.iter().enumerate();
        let mut standing: Vec<Grant> = rules
            .filter(|(index, _)| !changed(*index))
            .map(|(_, rule)| rule.grant.clone())
            .collect();
        for change in settled.values_mut().flatten() {
            change
                .after
                .retain(|grant| !standing.iter().any(|other| other.covers(grant)));
            standing.extend(change.after.iter().cloned());
        }
        settled
    }

    /// The grants of the group once the changes are made.
    fn standing(&self, settled: &BTreeMap<usize, Option<Settled>>) -> Vec<Grant> {
        let mut standing = Vec::new();
        for (index, rule) in self.group().rules.iter().enumerate() {
            match settled.get(&index) {
                Some(Some(change)) => standing.extend(change.after.iter().cloned()),
                Some(None) | None => standing.push(rule.grant.clone()),
            }
        }
        standing
    }

    /// Required rules that are not there once the changes are made, also those that are there only until then.
    fn missing(&self, settled: &BTreeMap<usize, Option<Settled>>) -> Vec<(&Rule, &Vec<Asker>)> {
        let (before, after) = (self.standing(&BTreeMap::new()), self.standing(settled));
        let lacks = |standing: &[Grant], rule: &Rule| {
            !standing.iter().any(|grant| grant.covers(&rule.grant))
        };
        let missing = |(rule, askers): &(&Rule, &Vec<Asker>)| {
            if askers.iter().any(Asker::enforced) {
                lacks(&after, rule)
            } else {
                lacks(&before, rule)
            }
        };
        self.demands.requires.iter().filter(missing).collect()
    }

    /// Required rules that the controls of some baseline would take away again.
    fn conflicts(
        &self,
        settled: &BTreeMap<usize, Option<Settled>>,
        missing: &[(&Rule, &Vec<Asker>)],
    ) -> Vec<Conflict> {
        let enforced = || {
            self.demands
                .requires
                .iter()
                .filter(|(_, askers)| askers.iter().any(Asker::enforced))
        };
        if enforced().next().is_none() {
            return Vec::new();
        }
        let mut group = self.group().clone();
        let plain = |grant: Grant| Rule {
            grant,
            description: None,
        };
        group.rules = self.standing(settled).into_iter().map(plain).collect();
        group
            .rules
            .extend(missing.iter().map(|(rule, _)| plain(rule.grant.clone())));
        group
            .rules
            .extend(enforced().map(|(rule, _)| plain(rule.grant.clone())));
        group.rules.sort();
        group.rules.dedup();
        let mut view = GroupView::new(&group, None, self.view.lists);
        view.usage = self.view.usage;
        let demands = Demands::gather(&view, self.in_scope);
        let conflict = |(required, askers): (&Rule, &Vec<Asker>)| {
            let index = group
                .rules
                .iter()
                .position(|rule| rule.grant == required.grant)?;
            let against = demands
                .keeps
                .get(&index)
                .into_iter()
                .flatten()
                .filter(|keep| keep.asker.enforced());
            let forbidders = against
                .filter(|keep| narrow(&required.grant, &[&keep.within]) != Remains::Unchanged);
            let forbidders = baselines(forbidders.map(|keep| &keep.asker));
            let requirers = baselines(askers.iter().filter(|asker| asker.enforced()));
            (!forbidders.is_empty()).then(|| Conflict {
                required: required.grant.clone(),
                requirers,
                forbidders,
            })
        };
        enforced().filter_map(conflict).collect()
    }

    fn narrowing_edits(
        &self,
        settled: &BTreeMap<usize, Option<Settled>>,
        conflicts: &[Conflict],
    ) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (index, change) in settled {
            let Some(rule) = self.rule(*index) else {
                continue;
            };
            match change {
                Some(Settled { after, askers }) => {
                    let hold = self.conflict_of(&rule.grant, settled, conflicts);
                    edits.push(self.narrowing(*index, rule, after, askers, hold));
                }
                None => {
                    let keeps = self.demands.keeps.get(index).into_iter().flatten();
                    let askers: Vec<Asker> = keeps
                        .map(|keep| keep.asker.clone())
                        .filter(Asker::enforced)
                        .collect();
                    edits.push(self.inexact(rule, &askers, Withheld::NoExactForm));
                }
            }
        }
        edits
    }

    /// The baselines that require what an edit would take away.
    fn conflict_of(
        &self,
        before: &Grant,
        settled: &BTreeMap<usize, Option<Settled>>,
        conflicts: &[Conflict],
    ) -> Option<Withheld> {
        let standing = self.standing(settled);
        let takes = |conflict: &&Conflict| {
            let Some(peer) = before.peer.intersection(&conflict.required.peer) else {
                return false;
            };
            let shared = TrafficSet::from(before.traffic)
                .intersection(&TrafficSet::from(conflict.required.traffic));
            let still =
                |grant: &&Grant| grant.direction == before.direction && grant.peer.contains(&peer);
            let kept: TrafficSet = standing
                .iter()
                .filter(still)
                .map(|grant| grant.traffic)
                .collect();
            before.direction == conflict.required.direction && !shared.is_subset(&kept)
        };
        let others: Vec<String> = conflicts
            .iter()
            .filter(takes)
            .flat_map(|conflict| conflict.requirers.clone())
            .collect();
        (!others.is_empty()).then(|| Withheld::Conflicting(sorted(others)))
    }

    /// What the held demands would do beyond the others.
    fn held_narrowing_edits(
        &self,
        settled: &BTreeMap<usize, Option<Settled>>,
    ) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (index, keeps) in &self.demands.keeps {
            let Some(rule) = self.rule(*index) else {
                continue;
            };
            let held: Vec<Asker> = keeps
                .iter()
                .map(|keep| keep.asker.clone())
                .filter(|asker| !asker.enforced())
                .collect();
            let Some(reason) = reason(&held) else {
                continue;
            };
            let all: Vec<&Keep> = keeps.iter().collect();
            match remains(rule, &all) {
                Remains::Unchanged => {}
                Remains::NoExactForm => edits.push(self.inexact(rule, &held, reason)),
                Remains::Grants(after) => {
                    let already = settled
                        .get(index)
                        .and_then(Option::as_ref)
                        .map(|change| &change.after);
                    if already != Some(&after) {
                        edits.push(self.narrowing(*index, rule, &after, &held, Some(reason)));
                    }
                }
            }
        }
        edits
    }

    fn narrowing(
        &self,
        index: usize,
        rule: &Rule,
        after: &[Grant],
        askers: &[Asker],
        hold: Option<Withheld>,
    ) -> ProposedEdit {
        let description = self.description(index).or_else(|| rule.description.clone());
        let after: Vec<Rule> = after
            .iter()
            .map(|grant| Rule {
                grant: grant.clone(),
                description: description.clone(),
            })
            .collect();
        let exposed = exposed(self.view, rule, &after);
        let change = Change::Rule {
            before: Some(rule.clone()),
            after,
        };
        self.edit(change.operation(), change, askers, exposed, hold)
    }

    /// An edit that cannot be written down: what may remain is not shown.
    fn inexact(&self, rule: &Rule, askers: &[Asker], reason: Withheld) -> ProposedEdit {
        let exposed = exposed(self.view, rule, &[]);
        let change = Change::Rule {
            before: Some(rule.clone()),
            after: Vec::new(),
        };
        self.edit(
            Operation::NarrowGrant,
            change,
            askers,
            exposed,
            Some(reason),
        )
    }

    fn adding_edits(
        &self,
        missing: Vec<(&Rule, &Vec<Asker>)>,
        conflicts: &[Conflict],
    ) -> Vec<ProposedEdit> {
        let edit = |(rule, askers): (&Rule, &Vec<Asker>)| {
            let enforced: Vec<Asker> = askers
                .iter()
                .filter(|asker| asker.enforced())
                .cloned()
                .collect();
            let change = Change::Rule {
                before: None,
                after: vec![rule.clone()],
            };
            let conflict = conflicts
                .iter()
                .find(|conflict| conflict.required == rule.grant);
            let (askers, hold) = if enforced.is_empty() {
                (askers.clone(), reason(askers))
            } else {
                (
                    enforced,
                    conflict.map(|conflict| Withheld::Conflicting(conflict.forbidders.clone())),
                )
            };
            self.edit(Operation::AddGrant, change, &askers, 0, hold)
        };
        missing.into_iter().map(edit).collect()
    }

    /// The one description that enforced demands agree on for a rule.
    fn description(&self, index: usize) -> Option<String> {
        let texts = self.demands.descriptions.get(&index)?;
        let mut enforced = texts
            .iter()
            .filter(|(_, askers)| askers.iter().any(Asker::enforced));
        let (text, _) = enforced.next()?;
        enforced.next().is_none().then(|| text.clone())
    }

    fn describing_edits(&self, settled: &BTreeMap<usize, Option<Settled>>) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (index, texts) in &self.demands.descriptions {
            let Some(rule) = self.rule(*index) else {
                continue;
            };
            if settled.get(index).is_some_and(Option::is_some) && self.description(*index).is_some()
            {
                continue;
            }
            for (text, askers) in texts {
                let hold = agreed(text, texts).or_else(|| reason(askers));
                let after = Rule {
                    grant: rule.grant.clone(),
                    description: Some(text.clone()),
                };
                let change = Change::Rule {
                    before: Some(rule.clone()),
                    after: vec![after],
                };
                edits.push(self.edit(Operation::DescribeGrant, change, askers, 0, hold));
            }
        }
        edits
    }

    fn tagging_edits(&self) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (key, values) in &self.demands.tags {
            for (value, askers) in values {
                let hold = agreed(value, values).or_else(|| reason(askers));
                let after = Tags::from([(key.clone(), value.clone())]);
                let change = Change::Tags {
                    before: Tags::new(),
                    after,
                };
                edits.push(self.edit(Operation::AddTags, change, askers, 0, hold));
            }
        }
        edits
    }

    fn edit(
        &self,
        operation: Operation,
        change: Change,
        askers: &[Asker],
        exposed: u128,
        hold: Option<Withheld>,
    ) -> ProposedEdit {
        let mut demands: Vec<Demand> = askers.iter().map(|asker| asker.demand.clone()).collect();
        demands.sort();
        demands.dedup();
        let edit = Edit {
            resource: self.group().id.clone(),
            operation,
            change,
            demands,
            severity: askers
                .iter()
                .map(|asker| asker.severity)
                .max()
                .unwrap_or(Severity::Low),
            exposed,
            impact: impact(self.view),
        };
        ProposedEdit { edit, hold }
    }
}

/// What all of some demands leave of a rule.
fn remains(rule: &Rule, keeps: &[&Keep]) -> Remains {
    let bounds: Vec<&[Bound]> = keeps.iter().map(|keep| keep.within.as_slice()).collect();
    let must_narrow = keeps.iter().any(|keep| keep.must_narrow);
    let every_port = |grants: &[Grant]| {
        grants
            .iter()
            .any(|grant| grant.peer == rule.grant.peer && opens_every_port(grant.traffic))
    };
    match narrow(&rule.grant, &bounds) {
        Remains::Unchanged if must_narrow => Remains::NoExactForm,
        Remains::Grants(after) if must_narrow && every_port(&after) => Remains::NoExactForm,
        remains => remains,
    }
}

/// Why demands that are all held are not carried out: the reason of the most urgent one.
fn reason(askers: &[Asker]) -> Option<Withheld> {
    if askers.iter().any(Asker::enforced) {
        return None;
    }
    askers
        .iter()
        .max_by_key(|asker| asker.severity)
        .and_then(|asker| asker.hold.clone())
}

/// The baselines that ask for another value, if enforced demands do not agree on one.
fn agreed(value: &str, values: &BTreeMap<String, Vec<Asker>>) -> Option<Withheld> {
    let enforced = |askers: &&Vec<Asker>| askers.iter().any(Asker::enforced);
    values.get(value).filter(enforced)?;
    let others = values
        .iter()
        .filter(|(other, askers)| *other != value && enforced(askers));
    let others = baselines(
        others
            .flat_map(|(_, askers)| askers)
            .filter(|asker| asker.enforced()),
    );
    (!others.is_empty()).then_some(Withheld::Conflicting(others))
}

fn baselines<'a>(askers: impl Iterator<Item = &'a Asker>) -> Vec<String> {
    sorted(
        askers
            .map(|asker| asker.demand.baseline.to_string())
            .collect(),
    )
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

/// Ports times public addresses that a rule loses. IPv6 is scaled so that the whole of either family weighs the same.
fn exposed(view: &GroupView<'_>, before: &Rule, after: &[Rule]) -> u128 {
    const V6_TO_V4: u32 = 93;
    let kept: TrafficSet = after
        .iter()
        .filter(|rule| rule.grant.peer == before.grant.peer)
        .map(|rule| rule.grant.traffic)
        .collect();
    let ports = TrafficSet::from(before.grant.traffic)
        .difference(&kept)
        .size();
    let audience = Audience::of(&before.grant.peer, view.lists);
    let PublicSize { v4, v6 } = audience
        .nets()
        .iter()
        .copied()
        .collect::<AddressSet>()
        .public_size();
    u128::from(ports) * (u128::from(v4) + (v6 >> V6_TO_V4))
}
