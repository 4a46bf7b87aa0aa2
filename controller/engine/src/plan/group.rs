//! Planning one security group: the demands of all baselines become as few edits as possible.
//!
//! Demands that are held (mode `Audit`, a field that is not named, …) never mix with those that may be carried out:
//! they are shown as further, withheld edits.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::ProposedEdit;
use super::conflict::{Outlook, declared, is_enforced, is_standing};
use super::demands::{Asker, Demands, Requirers, Say, agreed, carried_out, chosen, put_together, reason};
use super::settle::{Change as Narrowed, Settlement};
use crate::address::{AddressSet, PublicSize};
use crate::controls::Catalogue;
use crate::controls::security_group::{GroupView, SecurityGroups};
use crate::edit::{Change, Edit, Operation, Withheld};
use crate::exposure::Audience;
use crate::facts::{Grant, Rule, Tags};
use crate::finding::Severity;
use crate::questions::Question;
use crate::traffic::TrafficSet;

/// The edits of one group, held or not.
pub(crate) fn plan(
    view: &GroupView<'_>,
    questions: &[Question<'_, SecurityGroups>],
    say: &Say<'_>,
) -> Vec<ProposedEdit> {
    let demands = Demands::gather(view, questions, say);
    let rules = &view.group.rules;
    let mut settled = Settlement::new(rules, &demands, &[], |asker| asker.enforced());
    let mut outlook = Outlook::default();
    let mut required: Vec<&Grant> =
        demands.requires.iter().filter(|(_, requirers)| is_standing(requirers)).map(|(grant, _)| grant).collect();
    if !required.is_empty() {
        outlook = Outlook::new(view, questions, say, &demands, &settled);
        required.retain(|grant| outlook.conflict(grant).is_none());
        settled = Settlement::new(rules, &demands, &required, |asker| asker.enforced());
    }
    let planner = Planner {
        everything: Settlement::new(rules, &demands, &required, |_| true),
        view,
        demands: &demands,
        settled,
        outlook,
        required,
    };
    planner.edits()
}

struct Planner<'p, 'd> {
    view: &'p GroupView<'p>,
    demands: &'p Demands<'d>,
    /// What becomes of the rules by the demands that may be carried out.
    settled: Settlement<'d>,
    /// What would become of them by all demands.
    everything: Settlement<'d>,
    outlook: Outlook<'d>,
    /// Required grants that nobody forbids.
    required: Vec<&'p Grant>,
}

/// A rule that changes, what becomes of it, and why that is held back if it is.
struct Fate<'f, 'd> {
    rule: &'f Rule,
    change: &'f Narrowed<'d>,
    hold: Option<Withheld>,
}

impl<'p, 'd> Planner<'p, 'd> {
    fn edits(&self) -> Vec<ProposedEdit> {
        let standing: Vec<&Grant> = self.settled.standing(self.rules()).collect();
        let fates = self.fates(&standing);
        let mut edits: Vec<ProposedEdit> =
            fates.iter().map(|(index, fate)| self.narrowing_edit(*index, fate)).collect();
        edits.extend(self.inexact_edits());
        edits.extend(self.held_narrowing_edits());
        edits.extend(self.adding_edits(&standing, most_urgent_that_awaits(&edits)));
        edits.extend(self.describing_edits(&fates));
        edits.extend(self.tagging_edits());
        edits
    }

    fn rules(&self) -> &'p [Rule] {
        &self.view.group.rules
    }

    fn fates<'s>(&'s self, standing: &[&Grant]) -> BTreeMap<usize, Fate<'s, 'd>> {
        let fate = |(index, change): (&usize, &'s Narrowed<'d>)| {
            let rule = self.rules().get(*index)?;
            let hold = self.outlook.forbids(&rule.grant, &change.remains, self.view.lists);
            let hold = hold.or_else(|| self.awaits(&rule.grant, standing));
            Some((*index, Fate { rule, change, hold }))
        };
        self.settled.changes.iter().filter_map(fate).collect()
    }

    /// A rule for a prefix list can let in what a required rule is to let in from now on. That one is added first, and
    /// seen at the next sweep, before the list loses its access.
    fn awaits(&self, before: &Grant, standing: &[&Grant]) -> Option<Withheld> {
        let audience = Audience::of(&before.peer, self.view.lists);
        let may_hold = |net: IpNet| match audience {
            Audience::Networks(nets) => nets.iter().any(|other| other.contains(&net) || net.contains(other)),
            Audience::Unknown => true,
            Audience::Network(_) | Audience::Trusted => false,
        };
        let overlaps = |grant: &&&Grant| {
            grant.direction == before.direction
                && TrafficSet::from(grant.traffic).meets(before.traffic)
                && grant.peer.as_network().is_some_and(may_hold)
        };
        let missing = |grant: &&&Grant| !standing.iter().any(|other| other.covers(grant));
        let awaited = self.required.iter().filter(overlaps).find(missing)?;
        let requirers: Vec<Asker<'d>> =
            self.demands.requires.get(*awaited)?.iter().map(|(_, asker)| asker.clone()).collect();
        // What keeps the required rule from being added keeps the list from losing its access.
        Some(reason(&requirers).unwrap_or(Withheld::RequiredFirst))
    }

    fn narrowing_edit(&self, index: usize, fate: &Fate<'_, 'd>) -> ProposedEdit {
        let mut askers = fate.change.askers.clone();
        let stamp = self.merged_description(index, fate);
        let text = stamp.as_ref().map(|(text, _)| (*text).clone());
        askers.extend(stamp.into_iter().flat_map(|(_, describing)| describing));
        self.narrowing(fate.rule, &fate.change.after, text, &askers, fate.hold.clone())
    }

    /// The description that a changing rule gets in passing, and who asks for it.
    fn merged_description(&self, index: usize, fate: &Fate<'_, 'd>) -> Option<(&String, Vec<Asker<'d>>)> {
        let texts = self.demands.descriptions.get(&index)?;
        agreed(texts).filter(|_| fate.hold.is_none() && !fate.change.after.is_empty())
    }

    fn inexact_edits(&self) -> impl Iterator<Item = ProposedEdit> {
        self.settled.inexact.iter().filter_map(|(index, askers)| {
            let rule = self.rules().get(*index)?;
            Some(self.inexact(rule, askers, Withheld::NoExactForm))
        })
    }

    /// What the held demands would do beyond the others.
    fn held_narrowing_edits(&self) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (index, keeps) in &self.demands.keeps {
            let Some(rule) = self.rules().get(*index) else {
                continue;
            };
            let is_held = |asker: &&Asker<'d>| !asker.enforced();
            let held: Vec<Asker<'d>> = keeps.iter().flat_map(|keep| &keep.askers).filter(is_held).cloned().collect();
            let remains =
                |settlement: &Settlement<'d>| settlement.changes.get(index).map(|change| change.remains.clone());
            if let Some(change) = self.everything.changes.get(index)
                && let Some(reason) = reason(&held)
                && remains(&self.settled) != remains(&self.everything)
            {
                edits.push(self.narrowing(rule, &change.after, None, &held, Some(reason)));
            }
            let inexact = self.everything.inexact.get(index).into_iter().flatten();
            let inexact: Vec<Asker<'d>> = inexact.filter(is_held).cloned().collect();
            edits.extend(reason(&inexact).map(|reason| self.inexact(rule, &inexact, reason)));
        }
        edits
    }

    fn narrowing(
        &self,
        rule: &Rule,
        after: &[Grant],
        text: Option<String>,
        askers: &[Asker<'d>],
        hold: Option<Withheld>,
    ) -> ProposedEdit {
        let description = text.or_else(|| rule.description.clone());
        let after: Vec<Rule> =
            after.iter().map(|grant| Rule { grant: grant.clone(), description: description.clone() }).collect();
        let exposed = exposed(self.view, rule, &after);
        let change = Change::Rule { before: Some(rule.clone()), after };
        self.edit(change.operation(), change, askers, exposed, hold)
    }

    /// An edit that cannot be written down: what may remain is not shown.
    fn inexact(&self, rule: &Rule, askers: &[Asker<'d>], reason: Withheld) -> ProposedEdit {
        let exposed = exposed(self.view, rule, &[]);
        let change = Change::Rule { before: Some(rule.clone()), after: Vec::new() };
        self.edit(Operation::NarrowGrant, change, askers, exposed, Some(reason))
    }

    /// Required rules that are not there once the changes are made, also those that are there only until then. Each is as
    /// urgent as what awaits it: whoever keeps taking it away must not keep a way in open for longer.
    fn adding_edits(&self, standing: &[&Grant], at_least: Severity) -> Vec<ProposedEdit> {
        let missing = |(grant, requirers): &(&Grant, &Requirers<'d>)| {
            if is_enforced(requirers) {
                !standing.iter().any(|other| other.covers(grant))
            } else {
                !self.rules().iter().any(|rule| rule.grant.covers(grant))
            }
        };
        let requires = self.demands.requires.iter().filter(missing);
        let mut edits: Vec<ProposedEdit> =
            requires.map(|(grant, requirers)| self.adding_edit(grant, requirers)).collect();
        for ProposedEdit { edit, .. } in edits.iter_mut().filter(|proposed| proposed.hold.is_none()) {
            edit.severity = edit.severity.max(at_least);
        }
        edits
    }

    fn adding_edit(&self, grant: &Grant, requirers: &Requirers<'d>) -> ProposedEdit {
        let all: Vec<Asker<'d>> = requirers.iter().map(|(_, asker)| asker.clone()).collect();
        let (mut askers, mut hold) = carried_out(&all);
        let mut description = declared(requirers);
        if let Some(conflict) = self.outlook.conflict(grant) {
            hold = Some(Withheld::Conflicting(conflict.forbidders.clone()));
        } else if let Some((text, describing)) = self.outlook.descriptions(grant).and_then(agreed) {
            description = Some(text.clone());
            askers.extend(describing);
        }
        let rule = Rule { grant: grant.clone(), description };
        let change = Change::Rule { before: None, after: vec![rule] };
        self.edit(Operation::AddGrant, change, &askers, 0, hold)
    }

    fn describing_edits(&self, fates: &BTreeMap<usize, Fate<'_, 'd>>) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (index, texts) in &self.demands.descriptions {
            let Some(rule) = self.rules().get(*index) else {
                continue;
            };
            let settled = |fate: &Fate<'_, 'd>| {
                let goes = fate.hold.is_none() && fate.change.after.is_empty();
                goes || self.merged_description(*index, fate).is_some()
            };
            if fates.get(index).is_some_and(settled) {
                continue;
            }
            for (text, askers) in texts {
                let (askers, hold) = chosen(text, askers, texts);
                let after = Rule { grant: rule.grant.clone(), description: Some(text.clone()) };
                let change = Change::Rule { before: Some(rule.clone()), after: vec![after] };
                edits.push(self.edit(Operation::DescribeGrant, change, &askers, 0, hold));
            }
        }
        edits
    }

    fn tagging_edits(&self) -> Vec<ProposedEdit> {
        let mut edits = Vec::new();
        for (key, values) in &self.demands.tags {
            for (value, askers) in values {
                let (askers, hold) = chosen(value, askers, values);
                let after = Tags::from([(key.clone(), value.clone())]);
                let change = Change::Tags { before: Tags::new(), after };
                edits.push(self.edit(Operation::AddTags, change, &askers, 0, hold));
            }
        }
        edits
    }

    fn edit(
        &self,
        operation: Operation,
        change: Change,
        askers: &[Asker<'d>],
        exposed: u128,
        hold: Option<Withheld>,
    ) -> ProposedEdit {
        let (demands, severity) = put_together(askers);
        let edit = Edit {
            resource: self.view.group.id.clone(),
            operation,
            change,
            demands,
            severity,
            exposed,
            impact: SecurityGroups::impact(self.view),
        };
        ProposedEdit { edit, hold }
    }
}

/// The worst severity of the edits that are made once the required rules are there.
fn most_urgent_that_awaits(edits: &[ProposedEdit]) -> Severity {
    let awaiting = edits.iter().filter(|proposed| proposed.hold == Some(Withheld::RequiredFirst));
    awaiting.map(|proposed| proposed.edit.severity).max().unwrap_or(Severity::Low)
}

/// Ports times public addresses that a rule loses. IPv6 is scaled so that the whole of either family weighs the same.
fn exposed(view: &GroupView<'_>, before: &Rule, after: &[Rule]) -> u128 {
    const V6_TO_V4: u32 = 93;
    let kept: TrafficSet =
        after.iter().filter(|rule| rule.grant.peer == before.grant.peer).map(|rule| rule.grant.traffic).collect();
    let ports = TrafficSet::from(before.grant.traffic).difference(&kept).size();
    let audience = Audience::of(&before.grant.peer, view.lists);
    let PublicSize { v4, v6 } = audience.nets().iter().copied().collect::<AddressSet>().public_size();
    u128::from(ports) * (u128::from(v4) + (v6 >> V6_TO_V4))
}
