//! Undo: puts back what a change set changed, on the word of a person, by the same line as every other change.

mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::live::{Wanted, read_live};
use crds::{BaselineExemption, BaselineExemptionSpec, ChangeSet, EditRecord, Outcome as Came, Phase};
use engine::approval::{ChangeSetName, Undo, Warrant};
use engine::controls::{listed, resources};
use engine::edit::{Change, Demand, Edit, Impact, Withheld};
use engine::facts::{Inventory, Live, ReadFailure, Resource, Tags};
use engine::kind::Cell;
use engine::plan::{Outcome, Permitted, PermittedResource, Plan, Target};
use engine::property::Property;
use engine::rails::still_allowed;
use engine::sequence::State;
use engine::spec::{ExemptResources, Match};
use engine::undo::{Made, undo};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
pub use orders::{Order, Orders};

use crate::act::{Acting, act};
use crate::context::Context;
use crate::journal::{FIELD_MANAGER, Journal, baseline, baselines, location};
use crate::kubernetes::within;

/// An exemption that was made is seen within so long, or the next try goes on.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Why nothing is undone where nothing is as it was left.
const CHANGED_SINCE: &str = "what it changed was changed again by somebody else, or is gone: put it back by hand";

/// Carries out the orders of a cell.
pub async fn carry_out(context: &Context, inventory: &Inventory, journal: &mut Journal, acting: &Acting<'_>) {
    for order in context.rollbacks.due(journal.cell(), Timestamp::now()) {
        if (acting.authority)().lease_left.is_none() {
            return;
        }
        if !context.objects.knows_approval(&order.uid) {
            context.rollbacks.end(&order, None);
            continue;
        }
        // On the heap: a chain of calls as deep as this one does not fit onto the stack of a worker in a debug build.
        let tried = Box::pin(carry_out_one(context, inventory, journal, &order, acting)).await;
        let now = Timestamp::now();
        match tried {
            Ok(Tried::Undone(set, how_far)) => {
                for baseline in baselines(&set) {
                    context.ledger().wave(baseline).fail(now, was_undone(&set));
                }
                journal.rolled_back(&set, &order.approval, &how_far, now).await;
                context.rollbacks.end(&order, None);
            }
            Ok(Tried::Refused(why)) => context.rollbacks.end(&order, Some(why)),
            Ok(Tried::Waits(why)) => context.rollbacks.put_off(&order, why, now),
            Err(error) => {
                tracing::warn!(%error, change_set = order.set.name_any(), "Not undone yet: trying again");
                context.rollbacks.put_off(
                    &order,
                    "it could not be undone yet: the controller's log tells why".to_owned(),
                    now,
                );
            }
        }
    }
}

/// What came of an order.
enum Tried {
    /// The change set as it is now, and how far it was undone.
    Undone(Box<ChangeSet>, String),
    /// It never will be; why.
    Refused(String),
    /// It is tried again; what it waits for.
    Waits(String),
}

async fn carry_out_one(
    context: &Context,
    inventory: &Inventory,
    journal: &mut Journal,
    order: &Order,
    acting: &Acting<'_>,
) -> anyhow::Result<Tried> {
    let sets: Api<ChangeSet> = Api::namespaced(context.client.clone(), &order.set.namespace().unwrap_or_default());
    let set = within(sets.get(&order.set.name_any())).await?;
    match set.phase() {
        Phase::Applying => return Ok(Tried::Waits("its edits are still being made".to_owned())),
        Phase::RolledBack => return Ok(Tried::Refused("it is undone already".to_owned())),
        _ => {}
    }
    let cell = journal.cell().clone();
    let touched = touched(&set);
    let Ok(found) = changed(&set, &touched, &cell, inventory) else {
        return Ok(Tried::Waits(format!("the {} could not be read", cell.kind.resources())));
    };
    let wanted: Vec<Wanted<'_>> = found
        .iter()
        .map(|(Resource { resource_type, id, .. }, properties)| Wanted {
            resource_type: *resource_type,
            id,
            properties,
            with_tags: true,
        })
        .collect();
    let live = read_live(acting.connection, &wanted, Timestamp::now).await?;
    let (mut resources, mut back) = (Vec::new(), Vec::new());
    for (resource, _) in &found {
        match live.get(resource.id).and_then(|live| plan(order, &set, *resource, live)) {
            Some(planned) if planned.edits.is_empty() => back.push(resource.id.to_owned()),
            Some(resource) => resources.push(resource),
            None => {}
        }
    }
    if back.is_empty() && resources.is_empty() {
        return Ok(Tried::Refused(CHANGED_SINCE.to_owned()));
    }
    match held(&resources, acting) {
        // What its owner has closed to the namespace is not undone by surprise once it is open again.
        Some(held @ Withheld::AccountGrant) => return Ok(Tried::Refused(held.explain())),
        Some(held) => return Ok(Tried::Waits(held.explain())),
        None => {}
    }
    exempt(context, order, &set, &resources).await?;
    let stage = Permitted { resources, to_propose: Vec::new(), withheld: Vec::new() };
    let plan = Plan { cell, stage };
    let applied = Box::pin(act(plan, journal, acting)).await;
    for outcome in applied.stage.outcomes {
        match outcome.outcome {
            Outcome::Verified => back.push(outcome.id),
            Outcome::Withheld(Withheld::ForeignChange) => {}
            other => return Ok(Tried::Waits(format!("{}: {}", outcome.id, other.explain()))),
        }
    }
    if back.is_empty() {
        return Ok(Tried::Refused(CHANGED_SINCE.to_owned()));
    }
    let how_far = how_far(&touched, &back);
    Ok(Tried::Undone(Box::new(set), how_far))
}

/// Who the resources are that a change set touched, each with the properties that it changed. Layers are listed only for who
/// asks for them: whether one is still there is for the next read to say.
fn changed<'a>(
    set: &ChangeSet,
    touched: &BTreeSet<&'a str>,
    cell: &'a Cell,
    inventory: &'a Inventory,
) -> Result<Vec<(Resource<'a>, BTreeSet<Property>)>, ReadFailure> {
    let known = resources(cell.kind, inventory)?.into_iter();
    let known: BTreeMap<&str, Resource<'a>> = known.map(|resource| (resource.id, resource)).collect();
    let find = |id: &&'a str| known.get(id).copied().or_else(|| Resource::layer_version(id, &cell.location));
    Ok(touched.iter().filter_map(find).map(|resource| (resource, properties(set, resource.id))).collect())
}

/// How many resources are as they were, and which are not.
fn how_far(touched: &BTreeSet<&str>, back: &[String]) -> String {
    const NAMED: usize = 20;
    let left: Vec<&str> = touched.iter().copied().filter(|id| !back.iter().any(|done| done == id)).collect();
    let mut text = format!("{} of {} resources are as they were before", back.len(), touched.len());
    if !left.is_empty() {
        let named: Vec<&str> = left.iter().copied().take(NAMED).collect();
        text.push_str(&format!("; changed since, or gone, and left alone: {}", named.join(", ")));
    }
    if left.len() > NAMED {
        text.push_str(&format!(" and {} more", left.len() - NAMED));
    }
    text
}

/// How a canary went wrong of which a change set was undone.
pub fn was_undone(set: &ChangeSet) -> String {
    format!("change set {} was undone", set.name_any())
}

/// The resources that a change set changed, or may have.
pub fn touched(set: &ChangeSet) -> BTreeSet<&str> {
    let outcomes = set.status.iter().flat_map(|status| &status.edits);
    outcomes.filter(|edit| edit.is_touched()).map(|edit| edit.resource.as_str()).collect()
}

/// Why nothing may be written right now: nothing is written down for it.
fn held(resources: &[PermittedResource], acting: &Acting<'_>) -> Option<Withheld> {
    let (authority, location) = ((acting.authority)(), acting.connection.location());
    let mut all = resources.iter();
    all.find_map(|resource| still_allowed(location, resource, &authority.as_authority(), Timestamp::now()).err())
}

/// The properties that a change set changed of a resource.
fn properties(set: &ChangeSet, id: &str) -> BTreeSet<Property> {
    let records = set.spec.edits.iter().filter(|edit| edit.resource == id);
    let changes = records.filter_map(EditRecord::change).flat_map(|change| match change {
        Change::Properties(changes) => changes,
        Change::Rule { .. } | Change::Restore { .. } | Change::Tags { .. } => Vec::new(),
    });
    changes.map(|change| change.property).collect()
}

/// The edits that put a resource back; `None` where it is not as it was left.
fn plan(order: &Order, set: &ChangeSet, resource: Resource<'_>, live: &Live) -> Option<PermittedResource> {
    let records = || set.spec.edits.iter().filter(|edit| edit.resource == resource.id);
    let mut outcomes = set.status.iter().flat_map(|status| &status.edits);
    let whole = outcomes.any(|edit| edit.resource == resource.id && edit.outcome == Came::Verified);
    let made: Option<Vec<Made>> = records().map(|record| made(record, whole)).collect();
    let change_set = ChangeSetName { namespace: set.namespace()?, name: set.name_any() };
    let demands = demands(set, records());
    let edit = |change| Edit::new(resource.id, change, demands.clone(), Impact::Unknown);
    let edits: Vec<Edit> = undo(&made?, live).ok()?.into_iter().map(edit).collect();
    let planned = match live {
        Live::Group(_) => State::of(live),
        Live::Function(_) => State::before(&edits),
    };
    // What tagging shows late is no reason to leave undone what was ordered.
    let tags = match live {
        Live::Function(function) => function.tags.as_ref().unwrap_or(resource.tags),
        Live::Group(_) => resource.tags,
    };
    Some(PermittedResource {
        target: Target::new(Resource { tags, ..resource }, planned),
        edits,
        baselines: Vec::new(),
        warrant: Warrant::Rollback(Undo { change_set, approval: order.approval.clone(), by: order.by.clone() }),
    })
}

fn made(record: &EditRecord, whole: bool) -> Option<Made> {
    let tags = record.before.first().map(|before| before.tags.clone()).unwrap_or_default();
    Some(Made { change: record.change()?, tags, whole })
}

/// In whose name the journal keeps the undo: that of the baseline and the controls that asked for the change.
fn demands<'r>(set: &ChangeSet, records: impl Iterator<Item = &'r EditRecord>) -> Vec<Demand> {
    let baseline = baseline(set);
    let named: BTreeSet<&str> = records.flat_map(|record| &record.controls).map(String::as_str).collect();
    let known = listed(baseline.kind).into_iter().map(|control| control.about.id).filter(|id| named.contains(id));
    known.map(|control| Demand { baseline: baseline.clone(), control }).collect()
}

/// Lets the findings on these resources stand for a while, so that nothing is repaired that was just put back, and waits
/// until that is seen.
async fn exempt(
    context: &Context,
    order: &Order,
    set: &ChangeSet,
    resources: &[PermittedResource],
) -> anyhow::Result<()> {
    let (namespace, location) = (set.namespace().unwrap_or_default(), location(set));
    let arns: Vec<String> = resources.iter().map(|resource| resource.target.resource(&location).arn()).collect();
    if arns.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<&str> = resources.iter().map(|resource| resource.target.id.as_str()).collect();
    let edits = set.spec.edits.iter().filter(|edit| ids.contains(edit.resource.as_str()));
    let controls: BTreeSet<String> = edits.flat_map(|edit| edit.controls.clone()).collect();
    let matches = Match { arns, tags: Tags::new(), ..Match::default() };
    let spec = BaselineExemptionSpec {
        controls: controls.into_iter().collect(),
        resources: ExemptResources { matches, accounts: Vec::new() },
        reason: format!(
            "change set {} was undone by {}: {}",
            set.name_any(),
            engine::report::cut(&order.by),
            engine::report::cut(&order.reason)
        ),
        ticket: order.reason.chars().take(128).collect(),
        expires: Time(Timestamp::now().checked_add(order.exempt_for)?),
    };
    // The uid tells it from what an approval of the same name has made before.
    let uid: String = order.uid.chars().take(8).collect();
    let name = format!("undo-{}-{uid}", crds::shortened(&set.name_any()));
    let mut number = 1;
    loop {
        let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        if make_exemption(context, &namespace, &name, &spec).await? {
            return Ok(());
        }
        number += 1;
    }
}

/// Makes an exemption and waits until it is seen. Whether one of that name lets as much stand, and long enough: an earlier try
/// may have made it for fewer resources, and may lie back for long.
async fn make_exemption(
    context: &Context,
    namespace: &str,
    name: &str,
    spec: &BaselineExemptionSpec,
) -> anyhow::Result<bool> {
    let api: Api<BaselineExemption> = Api::namespaced(context.client.clone(), namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match within(api.create(&params, &BaselineExemption::new(name, spec.clone()))).await {
        Ok(_) => {}
        Err(kube::Error::Api(answer)) if answer.is_already_exists() => {}
        Err(error) => return Err(error.into()),
    }
    let seen = async {
        loop {
            match context.objects.exemption(namespace, name) {
                Some(exemption) => return exemption,
                None => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    };
    let seen = tokio::time::timeout(SEEN_WITHIN, seen).await?.spec;
    let has = |arn: &String| seen.resources.matches.arns.contains(arn);
    let half = Timestamp::now().duration_until(spec.expires.0) / 2;
    Ok(spec.resources.matches.arns.iter().all(has) && Timestamp::now().duration_until(seen.expires.0) >= half)
}
