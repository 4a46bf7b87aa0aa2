//! What may hold an edit back: the plan-wide rails, and the permit for each single write.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::call::Call;
use crate::controls::security_group::REQUIRED_RULES_PRESENT;
use crate::desired::Desired;
use crate::edit::{Change, Edit, Withheld};
use crate::evaluate::arn;
use crate::exposure::PrefixLists;
use crate::facts::{Inventory, LiveGroup, Location, Peer, Rule, SecurityGroup};
use crate::permit::Permit;
use crate::plan::{Permitted, PermittedResource, Plan, Proposed, ProposedEdit, WithheldEdit, with_a_say};
use crate::retries::Retries;
use crate::sequence::State;
use crate::tenancy::Account;

/// At most so many resources are changed in one sweep of a cell, the worst first.
pub const RESOURCES_PER_SWEEP: usize = 20;

/// At most so many edits are made to one resource in one sweep: they have to fit into one change set.
pub const EDITS_PER_RESOURCE: usize = 50;

/// A write rests on a read that is at most this old.
pub const FRESHNESS: SignedDuration = SignedDuration::from_secs(10);

/// What holds in this process, at the moment of planning.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Whether the process leads.
    pub leading: bool,
    /// What was tried in vain.
    pub retries: &'a Retries,
    /// The time.
    pub now: Timestamp,
}

/// Holds back every edit that may not be made now, and orders the rest by resource, worst first.
pub fn apply(plan: Plan<Proposed>, inventory: &Inventory, account: &Account, moment: Moment<'_>) -> Plan<Permitted> {
    let Plan { location, stage: Proposed { edits, baselines } } = plan;
    let (mut permitted, mut candidates) = (Permitted::default(), Candidates::default());
    let Ok(groups) = inventory.security_groups.facts() else {
        return Plan { location, stage: permitted };
    };
    let groups: BTreeMap<&str, &SecurityGroup> = groups.iter().map(|group| (group.id.as_str(), group)).collect();
    let lists = inventory.prefix_lists.facts().ok();
    for ProposedEdit { edit, hold } in edits {
        let Some(group) = groups.get(edit.resource.as_str()) else {
            continue;
        };
        let held = hold
            .or_else(|| account_holds(account))
            .or_else(|| (!moment.leading).then_some(Withheld::NotLeader))
            .or_else(|| owner(group, &location));
        match held {
            Some(reason) => permitted.withheld.push(WithheldEdit { edit, reason }),
            None => permitted.withheld.extend(candidates.add(group, edit, lists, account.rules_per_group)),
        }
    }
    for (group, edits) in candidates.worst_first {
        admit(&mut permitted, PermittedResource { group: group.clone(), edits, baselines: baselines.clone() }, moment);
    }
    permitted
        .withheld
        .sort_by(|one, other| one.edit.worst_first(&other.edit).then_with(|| one.reason.cmp(&other.reason)));
    Plan { location, stage: permitted }
}

fn account_holds(account: &Account) -> Option<Withheld> {
    if !account.writable {
        Some(Withheld::ReadOnlyAccount)
    } else if account.writes_stopped {
        Some(Withheld::WritesStopped)
    } else {
        account.write_distrust.clone().map(Withheld::WriteRoleUnproven)
    }
}

/// Groups that may be changed, by their worst edit, and what may be changed in each.
#[derive(Default)]
struct Candidates<'a> {
    worst_first: Vec<(&'a SecurityGroup, Vec<Edit>)>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Candidates<'a> {
    /// Adds an edit, or gives it back if the change set or the group has no room for it.
    fn add(
        &mut self,
        group: &'a SecurityGroup,
        edit: Edit,
        lists: PrefixLists<'_>,
        quota: u32,
    ) -> Option<WithheldEdit> {
        let known = self.places.get(group.id.as_str()).and_then(|place| self.worst_first.get_mut(*place));
        let planned = known.as_ref().map(|(_, edits)| edits.as_slice()).unwrap_or_default();
        if planned.len() >= EDITS_PER_RESOURCE {
            return Some(WithheldEdit { edit, reason: Withheld::SweepLimit });
        }
        if !has_room(group, planned, &edit, lists, quota) {
            return Some(WithheldEdit { edit, reason: Withheld::RuleQuota });
        }
        match known {
            Some((_, edits)) => edits.push(edit),
            None => {
                self.places.insert(&group.id, self.worst_first.len());
                self.worst_first.push((group, vec![edit]));
            }
        }
        None
    }
}

/// Admits a resource to the plan, unless it was just tried in vain or the sweep has no room for it.
fn admit(permitted: &mut Permitted, resource: PermittedResource, moment: Moment<'_>) {
    let reason = match moment.retries.waits(&resource.group.id, &resource.edits, moment.now) {
        Some(last) => Withheld::BackingOff(Box::new(last.clone())),
        None if permitted.resources.len() >= RESOURCES_PER_SWEEP => Withheld::SweepLimit,
        None => return permitted.resources.push(resource),
    };
    let hold = |edit| WithheldEdit { edit, reason: reason.clone() };
    permitted.withheld.extend(resource.edits.into_iter().map(hold));
}

/// Tag keys by which a service of AWS or a controller in a cluster marks the groups that it manages; a trailing `*`
/// stands for any rest (control catalogue, part 2, item 6).
const SERVICE_TAGS: [&str; 7] = [
    "elbv2.k8s.aws/cluster",
    "aws:eks:cluster-name",
    "karpenter.sh/*",
    "GuardDutyManaged",
    "aws:elasticmapreduce:*",
    "elasticbeanstalk:*",
    "kubernetes.io/cluster/*",
];

/// Name prefixes of groups that services make without such a tag.
const SERVICE_NAMES: [(&str, &str); 4] = [
    ("eks-cluster-sg-", "Amazon EKS"),
    ("FMManagedSecurityGroup", "AWS Firewall Manager"),
    ("ElasticMapReduce-", "Amazon EMR"),
    ("GuardDutyManagedSecurityGroup-", "Amazon GuardDuty"),
];

/// Who owns a group so that it is not to be written, whatever the baselines say.
fn owner(group: &SecurityGroup, location: &Location) -> Option<Withheld> {
    if group.owner != location.account {
        return Some(Withheld::OwnedByOtherAccount(group.owner.clone()));
    }
    service(group).map(Withheld::ManagedByService)
}

fn service(group: &SecurityGroup) -> Option<String> {
    let by_name = SERVICE_NAMES
        .iter()
        .find(|(prefix, _)| group.name.starts_with(prefix))
        .map(|(_, service)| (*service).to_owned());
    let marks = |(key, value): &(&String, &String)| {
        SERVICE_TAGS.iter().any(|pattern| match pattern.strip_suffix('*') {
            // A cluster that merely uses a group tags it `shared`.
            Some(prefix) if prefix == "kubernetes.io/cluster/" => key.starts_with(prefix) && *value == "owned",
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    };
    by_name.or_else(|| group.tags.iter().find(marks).map(|(key, _)| format!("tag {key}")))
}

/// Whether the group has room for everything that is added before anything is removed.
///
/// The quota holds per direction and address family. A prefix list counts with its maximum in both families,
/// a referenced group once in both (Amazon VPC quotas, "Rules per security group").
fn has_room(group: &SecurityGroup, planned: &[Edit], edit: &Edit, lists: PrefixLists<'_>, quota: u32) -> bool {
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
        Change::Rule { .. } | Change::Tags { .. } => &[],
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

/// Who may write what, as it is right before a write.
#[derive(Clone, Debug)]
pub struct Authority<'a> {
    /// The accepted, unsuspended baselines of the cell, compiled anew.
    pub desired: &'a [Desired],
    /// The account; `None` if the object is gone.
    pub account: Option<&'a Account>,
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
    live: &LiveGroup,
    authority: &Authority<'_>,
    now: Timestamp,
) -> Result<Permit, Withheld> {
    still_allowed(location, resource, authority, now)?;
    let age = now.duration_since(live.read_at);
    if live.id != resource.group.id || State::of(live) != *expected {
        return Err(Withheld::ForeignChange);
    }
    if age > FRESHNESS || age < SignedDuration::ZERO {
        return Err(Withheld::IncompleteKnowledge);
    }
    Ok(Permit::new(location.clone(), resource.group.id.clone(), call))
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
    for edit in &resource.edits {
        still_demanded(location, &resource.group, edit, authority.desired, now)?;
    }
    // A baseline that had no say in the plan may contradict it.
    if with_a_say(authority.desired) == resource.baselines { Ok(()) } else { Err(Withheld::BaselineChanged) }
}

/// Whether every baseline that asked for an edit still asks for it, and may.
fn still_demanded(
    location: &Location,
    group: &SecurityGroup,
    edit: &Edit,
    desired: &[Desired],
    now: Timestamp,
) -> Result<(), Withheld> {
    let arn = arn(location, group);
    for demand in &edit.demands {
        let baseline =
            desired.iter().find(|desired| desired.reference == demand.baseline).ok_or(Withheld::BaselineChanged)?;
        let mut controls = baseline.controls.iter();
        let active = controls.find(|active| active.control.about.id == demand.control);
        let active = active.ok_or(Withheld::BaselineChanged)?;
        if !baseline.scope(group, &arn).includes(active.control) {
            return Err(Withheld::AccountGrant);
        }
        if let Some(by) = baseline.exemption(demand.control, group, &arn, now) {
            return Err(Withheld::Exempt(by.to_string()));
        }
        let held = active.hold.clone().or_else(|| baseline.code.forbids(&group.tags));
        held.map_or(Ok(()), Err)?;
        let may_add = |rule: &Rule| baseline.grant.may_add.allows(rule);
        if let Change::Rule { before: None, after } = &edit.change
            && demand.control == REQUIRED_RULES_PRESENT
            && !after.iter().all(may_add)
        {
            return Err(Withheld::AccountGrant);
        }
    }
    owner(group, location).map_or(Ok(()), Err)
}
