//! What people decided on change sets: which edits may be made although they need an approval.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::edit::{BaselineRef, Change, Demand, Edit};

/// Names a change set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeSetName {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl fmt::Display for ChangeSetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// On whose word a resource is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warrant {
    /// That of the baselines that ask for it.
    #[default]
    Baselines,
    /// That of who approved this change set.
    Approval(ChangeSetName),
    /// That of who ordered an undo.
    Rollback(Undo),
}

/// A person's word to undo a change set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undo {
    /// The change set that is undone.
    pub change_set: ChangeSetName,
    /// Name of the approval that says so.
    pub approval: String,
    /// Who says so.
    pub by: String,
}

impl Warrant {
    /// The change set that somebody gave their word on.
    pub fn change_set(&self) -> Option<&ChangeSetName> {
        match self {
            Self::Baselines => None,
            Self::Approval(name) | Self::Rollback(Undo { change_set: name, .. }) => Some(name),
        }
    }
}

/// What people decided on a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Open,
    /// Its edits may be made.
    Approved,
    /// Its edits are not made on behalf of its baseline, and not proposed again.
    Rejected,
}

/// A change set that proposes edits, with what was decided on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Which change set.
    pub name: ChangeSetName,
    /// The generation of the baseline that it was made for: for another one it says nothing.
    pub baseline: BaselineRef,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// What was decided.
    pub decision: Decision,
    /// Its edits: ids of resources, and what is changed in each.
    pub changes: BTreeSet<(String, Change)>,
}

impl Proposal {
    /// Whether it holds an edit, for the baseline that asks for it now.
    pub fn holds(&self, edit: &Edit) -> bool {
        edit.demands.iter().any(|demand| demand.baseline == self.baseline)
            && self.changes.contains(&(edit.resource.clone(), edit.change.clone()))
    }
}

/// The proposal that an edit is in. Where it is in several, a rejection counts before an approval, and that before none.
pub fn proposal<'p>(proposals: &'p [Proposal], edit: &Edit) -> Option<&'p Proposal> {
    let weight = |proposal: &&Proposal| match proposal.decision {
        Decision::Rejected => 0,
        Decision::Approved => 1,
        Decision::Open => 2,
    };
    proposals.iter().filter(|proposal| proposal.holds(edit)).min_by_key(weight)
}

/// Takes apart what baselines ask for whose people rejected it, and what the others ask for. A rejection speaks for its own
/// baseline: nobody rejects what others want.
pub(crate) fn rejected_and_rest(proposals: &[Proposal], edit: Edit) -> (Option<Edit>, Option<Edit>) {
    let rejecting =
        proposals.iter().filter(|proposal| proposal.decision == Decision::Rejected && proposal.holds(&edit));
    let rejecting: BTreeSet<&BaselineRef> = rejecting.map(|proposal| &proposal.baseline).collect();
    let (rejected, rest): (Vec<Demand>, Vec<Demand>) =
        edit.demands.iter().cloned().partition(|demand| rejecting.contains(&demand.baseline));
    let of = |demands: Vec<Demand>| (!demands.is_empty()).then(|| Edit { demands, ..edit.clone() });
    (of(rejected), of(rest))
}
