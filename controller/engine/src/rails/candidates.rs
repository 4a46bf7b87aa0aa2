//! Resources that may be changed, and whether each has room for what is added before anything is removed.

use std::collections::BTreeMap;

use super::EDITS_PER_RESOURCE;
use crate::approval::ChangeSetName;
use crate::edit::{Change, Edit, Withheld};
use crate::exposure::PrefixLists;
use crate::facts::{Inventory, Peer, Resource, Rule, SecurityGroup};
use crate::kind::Kind;
use crate::plan::WithheldEdit;
use crate::tenancy::Account;

/// What resources may hold.
pub(super) struct Room<'a> {
    groups: BTreeMap<&'a str, &'a SecurityGroup>,
    lists: PrefixLists<'a>,
    rules_per_group: u32,
}

impl<'a> Room<'a> {
    pub(super) fn new(kind: Kind, inventory: &'a Inventory, account: &Account) -> Self {
        Self {
            // Only security groups have a quota of their own.
            groups: if kind == Kind::SecurityGroup { super::groups(inventory) } else { BTreeMap::new() },
            lists: inventory.prefix_lists.facts().ok(),
            rules_per_group: account.rules_per_group,
        }
    }

    fn has(&self, resource: &str, planned: &[Edit], edit: &Edit) -> bool {
        self.groups.get(resource).is_none_or(|group| has_room(group, planned, edit, self))
    }
}

/// A resource that may be changed, and what may be changed in it.
pub(super) struct Candidate<'a> {
    pub(super) resource: Resource<'a>,
    pub(super) edits: Vec<Edit>,
    /// The approved change set that the edits are in.
    pub(super) change_set: Option<ChangeSetName>,
}

/// Resources that may be changed, by their worst edit. What a change set of its own covers is changed for itself.
pub(super) struct Candidates<'a> {
    room: Room<'a>,
    worst_first: Vec<Candidate<'a>>,
    places: BTreeMap<(&'a str, Option<ChangeSetName>), usize>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(room: Room<'a>) -> Self {
        Self { room, worst_first: Vec::new(), places: BTreeMap::new() }
    }

    /// Adds an edit, or gives it back if the change set or the resource has no room for it.
    pub(super) fn add(
        &mut self,
        resource: Resource<'a>,
        edit: Edit,
        change_set: Option<ChangeSetName>,
    ) -> Option<WithheldEdit> {
        let place = (resource.id, change_set.clone());
        let known = self.places.get(&place).and_then(|place| self.worst_first.get_mut(*place));
        let planned = known.as_ref().map(|candidate| candidate.edits.as_slice()).unwrap_or_default();
        if planned.len() >= EDITS_PER_RESOURCE {
            return Some(WithheldEdit { edit, reason: Withheld::SweepLimit });
        }
        if !self.room.has(resource.id, planned, &edit) {
            return Some(WithheldEdit { edit, reason: Withheld::RuleQuota });
        }
        match known {
            Some(candidate) => candidate.edits.push(edit),
            None => {
                self.places.insert(place, self.worst_first.len());
                self.worst_first.push(Candidate { resource, edits: vec![edit], change_set });
            }
        }
        None
    }

    pub(super) fn worst_first(self) -> Vec<Candidate<'a>> {
        self.worst_first
    }
}

/// Whether the group has room for everything that is added before anything is removed.
///
/// The quota holds per direction and address family. A prefix list counts with its maximum in both families,
/// a referenced group once in both (Amazon VPC quotas, "Rules per security group").
fn has_room(group: &SecurityGroup, planned: &[Edit], edit: &Edit, room: &Room<'_>) -> bool {
    let Room { groups: _, lists, rules_per_group: quota } = *room;
    let new: Vec<&Rule> = added(edit).collect();
    let standing = || group.rules.iter().chain(planned.iter().flat_map(added)).chain(new.iter().copied());
    new.iter().all(|rule| {
        let direction = rule.grant.direction;
        let used =
            standing().filter(|other| other.grant.direction == direction).map(|other| weight(&other.grant.peer, lists));
        let (v4, v6) =
            used.fold((0u32, 0u32), |(v4, v6), weight| (v4.saturating_add(weight.0), v6.saturating_add(weight.1)));
        let (needs_v4, needs_v6) = weight(&rule.grant.peer, lists);
        (needs_v4 == 0 || v4 <= quota) && (needs_v6 == 0 || v6 <= quota)
    })
}

/// The rules that an edit adds beside those that are there. A rule that is rewritten in place adds none.
fn added(edit: &Edit) -> impl Iterator<Item = &Rule> {
    let rules: &[Rule] = match &edit.change {
        Change::Rule { after, .. } if edit.change.in_place().is_none() => after,
        Change::Restore { rule, .. } => std::slice::from_ref(rule),
        Change::Rule { .. } | Change::Tags { .. } | Change::Properties(_) => &[],
    };
    rules.iter()
}

fn weight(peer: &Peer, lists: PrefixLists<'_>) -> (u32, u32) {
    match peer {
        Peer::V4(_) => (1, 0),
        Peer::V6(_) => (0, 1),
        Peer::Group { .. } => (1, 1),
        Peer::PrefixList(id) => {
            let most = lists.and_then(|lists| lists.get(id)).and_then(|list| u32::try_from(list.max_entries).ok());
            let most = most.unwrap_or(1);
            (most, most)
        }
    }
}
