//! What would be done once everything that is proposed is approved, beside what is done anyway.

use std::collections::BTreeSet;

use super::ProposedEdit;
use crate::desired::Desired;
use crate::edit::{BaselineRef, Change, Edit, Withheld};
use crate::facts::{Grant, Rule};
use crate::property::Property;

/// The controls of baselines that ask for approval.
#[derive(Debug, Default)]
pub(super) struct Proposing<'d>(BTreeSet<(&'d BaselineRef, &'static str)>);

impl<'d> Proposing<'d> {
    pub(super) fn new(desired: &'d [Desired]) -> Self {
        let proposing = |desired: &'d Desired| {
            let controls = desired.controls.iter().filter(|active| active.hold == Some(Withheld::Approval));
            controls.map(|active| (&desired.reference, active.about.id))
        };
        Self(desired.iter().flat_map(proposing).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn asks_for(&self, edit: &Edit) -> bool {
        edit.demands.iter().any(|demand| self.0.contains(&(&demand.baseline, demand.control)))
    }

    /// Puts what is done `anyway` and what is done `once_approved` into one plan. Where both change the same part of a group,
    /// nobody has to wait for an approval: the rest is proposed on what is there afterwards.
    pub(super) fn beside(&self, anyway: Vec<ProposedEdit>, once_approved: Vec<ProposedEdit>) -> Vec<ProposedEdit> {
        let unheld = || anyway.iter().filter(|proposed| proposed.hold.is_none());
        let changed: BTreeSet<Part<'_>> = unheld().flat_map(|proposed| parts(&proposed.edit.change)).collect();
        let waits = |proposed: ProposedEdit| match proposed.hold {
            Some(_) => Some(proposed),
            None if parts(&proposed.edit.change).iter().any(|part| changed.contains(part)) => None,
            None => Some(ProposedEdit { hold: Some(Withheld::Approval), ..proposed }),
        };
        let mine = once_approved.into_iter().filter(|proposed| self.asks_for(&proposed.edit));
        let proposals: Vec<ProposedEdit> = mine.filter_map(waits).collect();
        let others = |proposed: &ProposedEdit| proposed.hold.is_none() || !self.asks_for(&proposed.edit);
        anyway.iter().filter(|proposed| others(proposed)).cloned().chain(proposals).collect()
    }
}

/// What an edit changes of a resource.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'e> {
    Rule(&'e Rule),
    Grant(&'e Grant),
    Tag(&'e str),
    Property(&'e Property),
}

fn parts(change: &Change) -> Vec<Part<'_>> {
    match change {
        Change::Rule { before: Some(before), .. } => vec![Part::Rule(before)],
        Change::Rule { before: None, after } => after.iter().map(|rule| Part::Grant(&rule.grant)).collect(),
        Change::Restore { rule, .. } => vec![Part::Grant(&rule.grant)],
        Change::Tags { after, .. } => after.keys().map(|key| Part::Tag(key)).collect(),
        Change::Properties(changes) => changes.iter().map(|change| Part::Property(&change.property)).collect(),
    }
}
