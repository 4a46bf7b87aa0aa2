//! The permit for each single write, handed out right before it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::owner::owner;
use super::{FRESHNESS, account_holds, window};
use crate::approval::{ChangeSetName, Undo, Warrant};
use crate::call::Call;
use crate::controls::security_group::REQUIRED_RULES_PRESENT;
use crate::desired::Desired;
use crate::edit::{Change, Edit, Withheld};
use crate::facts::{Live, Location, Resource, Rule};
use crate::permit::Permit;
use crate::plan::{PermittedResource, with_a_say};
use crate::sequence::State;
use crate::spec::Mode;
use crate::tenancy::{Account, Namespace, grant};

/// Who may write what, as it is right before a write.
#[derive(Clone, Debug)]
pub struct Authority<'a> {
    /// The accepted, unsuspended baselines of the cell, compiled anew.
    pub desired: &'a [Desired],
    /// The account; `None` if the object is gone.
    pub account: Option<&'a Account>,
    /// The change sets on which somebody gave the word that the edits rest on, and did not take it back.
    pub approved: &'a BTreeSet<ChangeSetName>,
    /// The namespaces in which somebody wants something undone.
    pub namespaces: &'a [Namespace],
    /// What is left of the lease by the monotonic clock; `None` for a process that does not lead.
    pub lease_left: Option<Duration>,
    /// The longest that the write can take: more than this must be left of the lease.
    pub write_timeout: Duration,
}

/// Hands out the right to make one call, now.
///
/// # Errors
/// The first thing that has changed since the edit was planned: authority, leadership, or the resource itself.
pub fn permit(
    location: &Location,
    resource: &PermittedResource,
    call: Call,
    expected: &State,
    live: &Live,
    authority: &Authority<'_>,
    now: Timestamp,
) -> Result<Permit, Withheld> {
    still_allowed(location, resource, authority, now)?;
    let age = now.duration_since(live.read_at());
    let is_it = live.id() == resource.target.id && resource.target.has_tags_of(live);
    if !is_it || State::of(live) != *expected {
        return Err(Withheld::ForeignChange);
    }
    if age > FRESHNESS || age < SignedDuration::ZERO {
        return Err(Withheld::IncompleteKnowledge);
    }
    Ok(Permit::new(location.clone(), resource.target.id.clone(), call))
}

/// Whether a resource may still be changed as planned, whatever has become of it.
///
/// # Errors
/// The first thing that has changed since: authority or leadership.
pub fn still_allowed(
    location: &Location,
    resource: &PermittedResource,
    authority: &Authority<'_>,
    now: Timestamp,
) -> Result<(), Withheld> {
    let account = authority.account.ok_or(Withheld::AccountGrant)?;
    account_holds(account).map_or(Ok(()), Err)?;
    if authority.lease_left.is_none_or(|left| left <= authority.write_timeout) {
        return Err(Withheld::NotLeader);
    }
    if resource.warrant.change_set().is_some_and(|name| !authority.approved.contains(name)) {
        return Err(Withheld::Approval);
    }
    owner(resource.target.resource(location)).map_or(Ok(()), Err)?;
    let approved = match &resource.warrant {
        Warrant::Baselines => false,
        Warrant::Approval(_) => true,
        // An undo has to work when the baseline is gone, but nowhere that the account's owner has closed to its namespace.
        Warrant::Rollback(Undo { change_set, .. }) => {
            let mut namespaces = authority.namespaces.iter();
            let namespace = namespaces.find(|namespace| namespace.name == change_set.namespace);
            let granted =
                namespace.is_some_and(|namespace| may_write(account, namespace, resource.target.resource(location)));
            return if granted { Ok(()) } else { Err(Withheld::AccountGrant) };
        }
    };
    for edit in &resource.edits {
        still_demanded(resource.target.resource(location), edit, authority.desired, approved, now)?;
    }
    // A baseline that had no say in the plan may contradict it.
    if with_a_say(authority.desired) == resource.baselines { Ok(()) } else { Err(Withheld::BaselineChanged) }
}

/// Whether an account lets a namespace write to a resource at all.
fn may_write(account: &Account, namespace: &Namespace, resource: Resource<'_>) -> bool {
    let grant = grant(account, namespace).ok().flatten();
    account.regions.contains(&resource.location.region)
        && grant.is_some_and(|grant| grant.max_mode > Mode::Audit && grant.shows(resource))
}

/// Whether every baseline that asked for an edit still asks for it, and may.
fn still_demanded(
    resource: Resource<'_>,
    edit: &Edit,
    desired: &[Desired],
    approved: bool,
    now: Timestamp,
) -> Result<(), Withheld> {
    for demand in &edit.demands {
        let baseline =
            desired.iter().find(|desired| desired.reference == demand.baseline).ok_or(Withheld::BaselineChanged)?;
        let mut controls = baseline.controls.iter();
        let active = controls.find(|active| active.about.id == demand.control);
        let active = active.ok_or(Withheld::BaselineChanged)?;
        if !baseline.scope(resource).includes(active.about) {
            return Err(Withheld::AccountGrant);
        }
        if let Some(by) = baseline.exemption(demand.control, resource, now) {
            return Err(Withheld::Exempt(by.to_string()));
        }
        let hold = active.hold.clone().filter(|hold| !(approved && *hold == Withheld::Approval));
        let held = hold.or_else(|| baseline.code.forbids(resource.tags));
        held.map_or(Ok(()), Err)?;
        let may_add = |rule: &Rule| baseline.grant.may_add.allows(rule);
        if let Change::Rule { before: None, after } = &edit.change
            && demand.control == REQUIRED_RULES_PRESENT
            && !after.iter().all(may_add)
        {
            return Err(Withheld::AccountGrant);
        }
    }
    window(edit, desired, now).map_or(Ok(()), Err)
}
