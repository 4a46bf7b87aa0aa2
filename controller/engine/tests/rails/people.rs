//! What waits for people, for time, or for somebody else to stop: approvals, windows, contests.

use std::collections::{BTreeMap, BTreeSet};

use engine::approval::{ChangeSetName, Decision, Proposal, Undo, Warrant};
use engine::budget::Ledger;
use engine::edit::Withheld;
use engine::facts::{InterfaceUse, PrefixList, PrefixListEntries};
use engine::plan::{Permitted, PermittedResource};
use engine::rails::{self, Authority};
use engine::rivals::{Part, Subject};
use engine::spec::Mode;
use engine::tenancy::Namespace;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{ACCOUNT, Case, LEASE, NOW, SSH, baseline, group, live, reasons};

/// What is to be proposed, as resource ids, and the reasons for which nothing is done.
fn proposed(case: &Case) -> (Vec<String>, Vec<&'static str>) {
    let Permitted { resources, to_propose, withheld } = case.permitted();
    assert_eq!(resources, []);
    let held = withheld.iter().map(|held| held.reason.reason()).filter(|reason| *reason != "NotNamed").collect();
    (to_propose.into_iter().map(|resource| resource.target.id).collect(), held)
}

/// The first edit that waits for an approval, in a change set on which that was decided.
fn proposal(case: &Case, decision: Decision) -> Proposal {
    let permitted = case.permitted();
    let edit = &permitted.to_propose[0].edits[0];
    Proposal {
        name: ChangeSetName { namespace: "security".to_owned(), name: "edge-1".to_owned() },
        baseline: edit.demands[0].baseline.clone(),
        proposed_at: NOW,
        decision,
        changes: BTreeSet::from([(edit.resource.clone(), edit.change.clone())]),
    }
}

fn proposing() -> Case {
    Case::with(|case| {
        case.baselines[0].mode = Mode::Propose;
        // What nobody names is proposed as well: here there is nothing of it.
        case.groups[0].rules[0].description = Some("the way in of the administrators".to_owned());
    })
}

#[test]
fn what_is_proposed_is_made_once_its_change_set_is_approved_and_as_long_as_it_is() {
    let case = proposing();
    assert_eq!(proposed(&case), (vec!["sg-0".to_owned()], vec!["Approval"]));
    let decided = |decision| {
        let mut case = case.clone();
        case.circumstances.proposals = vec![proposal(&case, decision)];
        case
    };
    assert_eq!(proposed(&decided(Decision::Open)), (vec![], vec!["Approval"]));
    assert_eq!(proposed(&decided(Decision::Rejected)), (vec![], vec!["Rejected"]));
    let mut approved = decided(Decision::Approved);
    assert_eq!(approved.outcome().0, [SSH]);
    let live = live(&approved.groups[0]);
    let refused = approved.permit(&approved, &live, LEASE).err();
    assert_eq!(refused, Some(Withheld::Approval), "the approval was taken back");
    approved.approved.insert(ChangeSetName { namespace: "security".to_owned(), name: "edge-1".to_owned() });
    assert!(approved.permit(&approved, &live, LEASE).is_ok());
}

#[test]
fn an_approval_is_of_one_edit_for_one_generation_of_one_baseline() {
    let case = proposing();
    let approved = proposal(&case, Decision::Approved);
    let proposes_anew = |change: fn(&mut Case)| {
        let mut case = case.clone();
        case.circumstances.proposals = vec![approved.clone()];
        change(&mut case);
        proposed(&case).0.len()
    };
    assert_eq!(proposes_anew(|case| case.baselines[0].reference.generation = 2), 1);
    assert_eq!(proposes_anew(|case| case.baselines[0].reference.uid.push_str("-again")), 1);
    assert_eq!(proposes_anew(|case| case.groups[0].rules[0].description = Some("another rule by now".to_owned())), 1);
}

/// Two baselines of two namespaces that ask for one edit, which was rejected for the one.
fn rejected_for_one(other: Mode) -> Case {
    let mut case = proposing();
    let rejected = proposal(&case, Decision::Rejected);
    let mut baseline = baseline("central", json!({"internet": {"denyPresets": ["Admin"]}}));
    (baseline.mode, baseline.reference.namespace) = (other, "central".to_owned());
    let grant = json!({"name": "central", "maxMode": "Enforce"});
    case.account.namespaces.push(serde_json::from_value(grant).unwrap());
    case.baselines.push(baseline);
    case.circumstances.proposals = vec![rejected];
    case
}

#[test]
fn what_one_namespace_rejects_others_do_all_the_same() {
    let blast_radius = || Withheld::BlastRadius("6 of 20 resources".to_owned());
    let enforced = |who_asks: &[usize]| {
        let mut case = rejected_for_one(Mode::Enforce);
        case.baselines[0].mode = Mode::Enforce;
        let asking = who_asks.iter().map(|index| (case.baselines[*index].reference.clone(), blast_radius()));
        case.circumstances.too_many = asking.collect();
        case
    };
    for case in [enforced(&[]), enforced(&[0])] {
        assert_eq!(case.outcome(), (vec![SSH.to_owned()], vec!["Rejected"]), "the one is told so");
        let made = case.permitted().resources;
        let for_whom: Vec<_> = made[0].edits[0].demands.iter().map(|demand| &demand.baseline.namespace).collect();
        assert_eq!(for_whom, ["central"]);
    }
    let asks_too = [rejected_for_one(Mode::Propose), enforced(&[0, 1])];
    for case in asks_too {
        let proposed = case.permitted().to_propose;
        assert_eq!(proposed[0].edits[0].demands[0].baseline.namespace, "central", "its own people are asked");
    }
    let mut alone = enforced(&[0]);
    alone.baselines.pop();
    assert_eq!(reasons(&alone), ["Rejected"]);
}

#[test]
fn what_is_enforced_waits_for_nobody_who_only_proposes() {
    let mut case = Case::new();
    let mut other = baseline("proposing", json!({"internet": {"denyPresets": ["Admin", "Database"]}}));
    other.mode = Mode::Propose;
    case.baselines.push(other);
    case.groups[0] = group("sg-0", "shop", &["tcp/22 0.0.0.0/0", "tcp/3306 0.0.0.0/0"]);
    let Permitted { resources, to_propose, .. } = case.permitted();
    let grants = |resources: &[engine::plan::PermittedResource]| {
        let edits = resources.iter().flat_map(|resource| &resource.edits);
        let rules = edits.filter_map(|edit| match &edit.change {
            engine::edit::Change::Rule { before: Some(before), after } if after.is_empty() => {
                Some(before.grant.to_string())
            }
            _ => None,
        });
        rules.collect::<Vec<_>>()
    };
    assert_eq!(grants(&resources), [SSH]);
    assert_eq!(grants(&to_propose), ["tcp/3306 from 0.0.0.0/0"]);
}

#[test]
fn an_approval_lifts_neither_what_holds_the_account_nor_a_window_nor_an_exemption_nor_a_budget() {
    let mut approved = proposing();
    approved.circumstances.proposals = vec![proposal(&approved, Decision::Approved)];
    assert_eq!(approved.outcome(), (vec![SSH.to_owned()], vec![]));
    let held = |change: &dyn Fn(&mut Case)| {
        let mut case = approved.clone();
        change(&mut case);
        case.outcome()
    };
    let none = || Vec::<String>::new();
    assert_eq!(held(&|case| case.account.writable = false), (none(), vec!["ReadOnlyAccount"]));
    assert_eq!(held(&|case| case.account.writes_stopped = true), (none(), vec!["WritesStopped"]));
    assert_eq!(held(&|case| case.leading = false), (none(), vec!["NotLeader"]));
    let windowed = windowed(CLOSED, json!({}));
    let remediation = windowed.baselines[0].remediation.clone();
    let in_use = |case: &mut Case| {
        (case.usage, case.baselines[0].remediation) = (windowed.usage.clone(), remediation.clone());
    };
    assert_eq!(held(&in_use), (none(), vec!["Window"]));
    let exemption = super::exemptions::exemption(
        &["sg-no-open-admin-ports", "sg-world-ingress-only-allowed-ports"],
        json!({"names": ["*"]}),
    );
    let exempt = held(&|case| case.exemptions = vec![exemption.clone()]);
    assert_eq!(exempt.0, none());
    let mut spent = approved.clone();
    spent.account.changes_per_hour = 0;
    let (permitted, _reserved) = spent.reserve(&mut Ledger::default(), NOW);
    assert_eq!((permitted.resources, permitted.withheld[0].reason.reason()), (vec![], "Budget"));
}

#[test]
fn an_undo_is_made_only_where_the_account_lets_its_namespace_write() {
    let case = Case::new();
    let (permitted, name) = (case.permitted(), |text: &str| text.to_owned());
    let change_set = ChangeSetName { namespace: name("security"), name: name("edge-1") };
    let undo = Undo { change_set: change_set.clone(), approval: name("word"), by: name("ana") };
    let resource = PermittedResource { warrant: Warrant::Rollback(undo), ..permitted.resources[0].clone() };
    let (approved, namespaces) =
        (BTreeSet::from([change_set]), [Namespace { name: name("security"), labels: BTreeMap::new() }]);
    let refused = |change: &dyn Fn(&mut Case)| {
        let mut now = case.clone();
        change(&mut now);
        let authority = Authority {
            desired: &[],
            account: Some(&now.account),
            approved: &approved,
            namespaces: &namespaces,
            lease_left: LEASE,
            write_timeout: std::time::Duration::from_secs(5),
        };
        rails::still_allowed(&super::location(), &resource, &authority, NOW).err()
    };
    let ungranted = Some(Withheld::AccountGrant);
    assert_eq!(refused(&|_| ()), None, "no baseline is needed");
    assert_eq!(refused(&|now| now.account.namespaces[0].max_mode = Mode::Propose), None);
    assert_eq!(refused(&|now| now.account.namespaces[0].max_mode = Mode::Audit), ungranted);
    assert_eq!(refused(&|now| now.account.namespaces.clear()), ungranted);
    assert_eq!(refused(&|now| now.account.regions = vec![name("us-east-1")]), ungranted);
    let select = json!({"vpcIds": ["vpc-2"]});
    let elsewhere =
        |now: &mut Case| now.account.namespaces[0].select = Some(serde_json::from_value(select.clone()).unwrap());
    assert_eq!(refused(&elsewhere), ungranted);
}

/// A window that is closed now, at midnight on a Thursday.
const CLOSED: &str = "0 2 * * *";

fn windowed(schedule: &str, more: Value) -> Case {
    Case::with(|case| {
        let mut remediation =
            json!({"window": {"schedule": schedule, "timeZone": "UTC", "duration": "1h", "exceptSeverities": []}});
        remediation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        case.baselines[0].remediation = serde_json::from_value(remediation).unwrap();
        let uses = InterfaceUse { interfaces: 2, ..InterfaceUse::default() };
        case.usage = Some(BTreeMap::from([("sg-0".to_owned(), uses)]));
    })
}

#[test]
fn what_can_break_connections_waits_for_the_window() {
    let closed = windowed(CLOSED, json!({}));
    assert_eq!(reasons(&closed), ["Window"]);
    assert_eq!(windowed("0 0 * * *", json!({})).outcome().0, [SSH]);
    let unused = Case { usage: Some(BTreeMap::new()), ..closed.clone() };
    assert_eq!(unused.outcome().0, [SSH]);
    let mut critical = closed.clone();
    critical.baselines[0].remediation.window.as_mut().unwrap().except_severities = None;
    assert_eq!(critical.outcome().0, [SSH]);
    let emergency = |until| windowed(CLOSED, json!({"emergency": {"until": until, "reason": "INC-77"}}));
    assert_eq!(emergency("1970-01-01T01:00:00Z").outcome().0, [SSH]);
    assert_eq!(reasons(&emergency("1969-12-31T23:00:00Z")), ["Window"]);
}

#[test]
fn a_window_that_closes_after_the_plan_stops_the_write() {
    let (open, closed) = (windowed("0 0 * * *", json!({})), windowed(CLOSED, json!({})));
    let refused = open.permit(&closed, &live(&open.groups[0]), LEASE).err();
    assert_eq!(refused.as_ref().map(Withheld::reason), Some("Window"));
}

fn rules(resource: &str) -> Subject {
    Subject { resource: resource.to_owned(), part: Part::Rules }
}

#[test]
fn what_somebody_keeps_undoing_waits_at_ever_longer_intervals() {
    let mut case = Case::new();
    for minute in [-30, -20, -10] {
        let at = NOW.checked_add(SignedDuration::from_mins(minute)).unwrap();
        case.circumstances.contests.restore(&rules("sg-0"), "sg-no-open-admin-ports", at);
    }
    assert_eq!(case.outcome().0, [SSH], "the pause after the third repair is over");
    case.circumstances.contests.restore(&rules("sg-0"), "sg-no-open-admin-ports", NOW);
    assert_eq!(reasons(&case), ["Contested"]);
}

/// A group that lacks a required rule, and lets in a list of these addresses that lets that in for the time being.
fn unprobed(listed: &str) -> Case {
    Case::with(|case| {
        let entries = PrefixListEntries::Known(vec![listed.parse().unwrap()]);
        let list = PrefixList { owner: ACCOUNT.to_owned(), version: 1, max_entries: 5, entries };
        case.lists.insert("pl-1".to_owned(), list);
        case.groups[0] = group("sg-0", "shop", &["tcp/20-443 pl-1"]);
        let required = json!({"ingress": [{"traffic": "tcp/443", "peer": "10.1.0.0/16"}]});
        case.baselines[0] = baseline("edge", json!({"internet": {"denyPresets": ["Admin"]}, "required": required}));
    })
}

/// How long the required rule has to wait if it was taken away every minute.
fn wait_for_required(mut case: Case) -> SignedDuration {
    for minute in -40..=0 {
        let at = NOW.checked_add(SignedDuration::from_mins(minute)).unwrap();
        case.circumstances.contests.restore(&rules("sg-0"), "sg-required-rules-present", at);
    }
    let contested = |held: engine::plan::WithheldEdit| match held.reason {
        Withheld::Contested(contest) => Some(contest.next.duration_since(NOW)),
        _ => None,
    };
    case.permitted().withheld.into_iter().find_map(contested).unwrap()
}

/// Until it is there, nobody closes what lets it in for the time being: whoever keeps taking it away must not gain an hour.
#[test]
fn a_required_rule_that_the_repair_of_a_critical_finding_awaits_waits_no_longer_than_such_a_repair() {
    let (open, closed) = (unprobed("0.0.0.0/0"), unprobed("10.0.0.0/8"));
    let (made, held) = open.outcome();
    assert_eq!(made, ["add tcp/443 from 10.1.0.0/16"]);
    assert!(held.contains(&"RequiredFirst"), "{held:?}");
    assert!(!closed.outcome().1.contains(&"RequiredFirst"));
    let five_minutes = SignedDuration::from_mins(5);
    assert!(wait_for_required(open) <= five_minutes);
    assert!(wait_for_required(closed) > five_minutes);
}
