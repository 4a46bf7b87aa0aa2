//! What holds an edit back: each rail alone, at planning and right before a write.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by a panic")]

mod canary;
mod clock;
mod exemptions;
mod lambda;
mod limits;
mod people;
mod readiness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::approval::{ChangeSetName, Warrant};
use engine::call::Call;
use engine::controls::Parameters;
use engine::desired::{Baseline, Desired};
use engine::edit::{BaselineRef, Withheld};
use engine::evaluate::{Keep, MAX_AGE, evaluate};
use engine::exempt::{Exempting, Exemption};
use engine::facts::{
    Direction, Grant, InterfaceUse, Inventory, Live, LiveGroup, LiveRule, Location, PrefixList, PrefixListEntries,
    Rule, SecurityGroup, Source, Tags,
};
use engine::kind::{Cell, Kind};
use engine::permit::Permit;
use engine::plan::{Failure, Outcome, Permitted, ResourceOutcome, plan};
use engine::rails::{self, Authority, Circumstances, EDITS_PER_RESOURCE, Moment, RESOURCES_PER_SWEEP};
use engine::remediation::Remediation;
use engine::report::report;
use engine::sequence::group::sequence;
use engine::spec::{Accounts, CodeMode, InfrastructureAsCode, Mode};
use engine::tenancy::{Account, Namespace};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const ACCOUNT: &str = "111122223333";
const OTHER_ACCOUNT: &str = "444455556666";

/// An account in which one baseline closes SSH on one group, and every rail lets it through.
#[derive(Clone)]
struct Case {
    groups: Vec<SecurityGroup>,
    lists: BTreeMap<String, PrefixList>,
    usage: Option<BTreeMap<String, InterfaceUse>>,
    account: Account,
    baselines: Vec<Baseline>,
    exemptions: Vec<Exemption>,
    leading: bool,
    circumstances: Circumstances,
    approved: BTreeSet<ChangeSetName>,
}

impl Case {
    fn new() -> Self {
        let grant = json!({
            "name": "security",
            "maxMode": "Enforce",
            "mayAddRules": {"cidrs": ["10.0.0.0/8"], "ports": ["tcp/443"]},
        });
        Self {
            groups: vec![group("sg-0", "shop", &["tcp/22 0.0.0.0/0"])],
            lists: BTreeMap::new(),
            usage: Some(BTreeMap::new()),
            account: Account {
                name: "prod".to_owned(),
                labels: BTreeMap::new(),
                account_id: ACCOUNT.to_owned(),
                regions: vec!["eu-west-1".to_owned()],
                namespaces: vec![serde_json::from_value(grant).unwrap()],
                writable: true,
                write_distrust: None,
                writes_stopped: false,
                changes_per_hour: 100,
                rules_per_group: 60,
            },
            baselines: vec![baseline("edge", json!({"internet": {"denyPresets": ["Admin"]}}))],
            exemptions: Vec::new(),
            leading: true,
            circumstances: Circumstances::default(),
            approved: BTreeSet::new(),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::new();
        change(&mut case);
        case
    }

    fn inventory(&self) -> Inventory {
        Inventory {
            security_groups: Source::complete(self.groups.clone(), NOW),
            network_interfaces: match &self.usage {
                Some(usage) => Source::complete(usage.clone(), NOW),
                None => Source::failed(engine::facts::ReadFailure::AccessDenied, NOW),
            },
            prefix_lists: Source::complete(self.lists.clone(), NOW),
            ..Inventory::unread(location())
        }
    }

    fn desired(&self) -> Vec<Desired> {
        let accounts = std::slice::from_ref(&self.account);
        let accepted = self.baselines.iter().filter_map(|baseline| baseline.accept(accounts).ok());
        let exemptions: Vec<Exempting> = self.exemptions.iter().filter_map(|one| one.accept().ok()).collect();
        accepted.filter_map(|accepted| Some(accepted.in_cell(&location())?.exempted(&exemptions))).collect()
    }

    fn permitted(&self) -> Permitted {
        let (desired, inventory) = (self.desired(), self.inventory());
        let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, NOW, Keep::All);
        let plan = plan(&desired, &inventory, &evaluation);
        let plan =
            rails::hold_for_now(rails::hold_for_good(plan, &inventory, &self.account), &self.account, self.leading);
        let moment = Moment { desired: &desired, circumstances: &self.circumstances, now: NOW };
        rails::apply(plan, &inventory, &self.account, moment).stage
    }

    /// The rules that go or are narrowed, and the reasons for which others are not.
    fn outcome(&self) -> (Vec<String>, Vec<&'static str>) {
        let Permitted { resources, withheld, .. } = self.permitted();
        let name = |edit: &engine::edit::Edit| match &edit.change {
            engine::edit::Change::Rule { before: Some(before), .. } => before.grant.to_string(),
            engine::edit::Change::Rule { before: None, after } => format!("add {}", after[0].grant),
            other => format!("{other:?}"),
        };
        let made = resources.iter().flat_map(|resource| &resource.edits).map(name).collect();
        (made, withheld.iter().map(|held| held.reason.reason()).collect())
    }

    /// Asks for the permit of the first call of the first resource; `now` is what holds by then.
    fn permit(&self, now: &Self, live: &LiveGroup, lease_left: Option<Duration>) -> Result<Permit, Withheld> {
        let permitted = self.permitted();
        let resource = &permitted.resources[0];
        let step = &sequence(&resource.edits, &self::live(&self.groups[0])).unwrap()[0];
        let expected = resource.target.planned.clone();
        let desired = now.desired();
        let account = (!now.account.name.is_empty()).then_some(&now.account);
        let authority = Authority {
            desired: &desired,
            account,
            approved: &now.approved,
            namespaces: &[],
            lease_left,
            write_timeout: Duration::from_secs(5),
        };
        rails::permit(&location(), resource, step.call.clone(), &expected, &Live::Group(live.clone()), &authority, NOW)
    }
}

fn location() -> Location {
    Location { account: ACCOUNT.to_owned(), region: "eu-west-1".to_owned() }
}

fn cell() -> Cell {
    Cell { kind: Kind::SecurityGroup, location: location() }
}

fn rule(text: &str) -> Rule {
    let (traffic, peer) = text.split_once(' ').unwrap();
    let grant = Grant { direction: Direction::Ingress, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() };
    Rule { grant, description: None }
}

fn group(id: &str, name: &str, rules: &[&str]) -> SecurityGroup {
    let mut rules: Vec<Rule> = rules.iter().map(|text| rule(text)).collect();
    rules.sort();
    SecurityGroup {
        id: id.to_owned(),
        name: name.to_owned(),
        description: "front end of the shop".to_owned(),
        owner: ACCOUNT.to_owned(),
        vpc: "vpc-1".to_owned(),
        tags: Tags::new(),
        rules,
    }
}

fn live(group: &SecurityGroup) -> LiveGroup {
    let rule = |(number, rule): (usize, &Rule)| LiveRule {
        id: format!("sgr-{number}"),
        rule: rule.clone(),
        tags: Tags::new(),
    };
    let rules = group.rules.iter().enumerate().map(rule).collect();
    LiveGroup { id: group.id.clone(), rules, tags: group.tags.clone(), read_at: NOW }
}

fn baseline(name: &str, parameters: Value) -> Baseline {
    let reference = BaselineRef {
        kind: Kind::SecurityGroup,
        namespace: "security".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        generation: 1,
    };
    Baseline {
        reference,
        created: NOW,
        namespace: Namespace { name: "security".to_owned(), labels: BTreeMap::new() },
        suspended: false,
        accounts: Accounts { names: vec!["prod".to_owned()], match_labels: BTreeMap::new() },
        regions: Vec::new(),
        select: serde_json::from_value(json!({"all": true})).unwrap(),
        mode: Mode::Enforce,
        overrides: Vec::new(),
        infrastructure_as_code: InfrastructureAsCode { mode: CodeMode::Audit, tags: None },
        remediation: Remediation::default(),
        parameters: Parameters::SecurityGroup(serde_json::from_value(parameters).unwrap()),
    }
}

fn tag(case: &mut Case, key: &str, value: &str) {
    case.groups[0].tags.insert(key.to_owned(), value.to_owned());
}

const SSH: &str = "tcp/22 from 0.0.0.0/0";

#[test]
fn what_every_rail_lets_through_is_done() {
    let (made, held) = Case::new().outcome();
    assert_eq!(made, [SSH]);
    assert_eq!(held, [""; 0]);
}

/// Why nothing is done. `NotNamed` apart, the reason of recommended controls that nobody has named.
fn reasons(case: &Case) -> Vec<&'static str> {
    let (made, mut held) = case.outcome();
    assert_eq!(made, [""; 0], "something is done although {held:?}");
    held.retain(|reason| *reason != "NotNamed");
    held
}

#[test]
fn each_rail_holds_an_edit_back_and_names_itself() {
    let cases: [(&str, Case); 12] = [
        ("Audit", Case::with(|case| case.baselines[0].mode = Mode::Audit)),
        (
            "Audit",
            Case::with(|case| {
                let over = json!([{"control": "sg-no-open-admin-ports", "mode": "Audit"}]);
                case.baselines[0].overrides = serde_json::from_value(over).unwrap();
            }),
        ),
        ("ReadOnlyAccount", Case::with(|case| case.account.writable = false)),
        ("WritesStopped", Case::with(|case| case.account.writes_stopped = true)),
        ("NotLeader", Case::with(|case| case.leading = false)),
        ("OwnedByOtherAccount", Case::with(|case| case.groups[0].owner = OTHER_ACCOUNT.to_owned())),
        ("InfrastructureAsCode", Case::with(|case| tag(case, "aws:cloudformation:stack-name", "shop"))),
        ("InfrastructureAsCode", Case::with(|case| tag(case, "ManagedBy", "Terraform"))),
        ("ManagedByService", Case::with(|case| tag(case, "kubernetes.io/cluster/one", "owned"))),
        ("ManagedByService", Case::with(|case| case.groups[0].name = "eks-cluster-sg-one".to_owned())),
        ("NoExactForm", Case::with(|case| case.groups[0] = group("sg-0", "shop", &["all 0.0.0.0/0"]))),
        (
            "ReportOnly",
            Case::with(|case| {
                case.groups[0] = group("sg-0", "shop", &["tcp/20-80 0.0.0.0/0"]);
                let report = json!({"internet": {"denyPresets": ["Admin"], "onOverlap": "Report"}});
                case.baselines[0] = baseline("edge", report);
            }),
        ),
    ];
    for (expected, case) in cases {
        assert_eq!(reasons(&case), [expected]);
    }
}

#[test]
fn a_field_that_nobody_names_is_reported_until_an_override_names_it() {
    let mut case = Case::with(|case| case.baselines[0] = baseline("edge", json!({"hygiene": {}})));
    let (made, held) = case.outcome();
    assert_eq!((made.len(), held), (0, vec!["NotNamed"]));
    let over = json!([{"control": "sg-no-open-admin-ports", "mode": "Enforce"}]);
    case.baselines[0].overrides = serde_json::from_value(over).unwrap();
    assert_eq!(case.outcome().0, [SSH]);
}

#[test]
fn a_cluster_that_only_uses_a_group_does_not_own_it_and_code_may_be_overruled() {
    assert_eq!(Case::with(|case| tag(case, "kubernetes.io/cluster/one", "shared")).outcome().0, [SSH]);
    let overruled = Case::with(|case| {
        tag(case, "ManagedBy", "Terraform");
        case.baselines[0].infrastructure_as_code.mode = CodeMode::Enforce;
    });
    assert_eq!(overruled.outcome().0, [SSH]);
}

#[test]
fn a_mode_beyond_the_grant_or_a_group_outside_of_it_has_no_effect() {
    let beyond = Case::with(|case| case.account.namespaces[0].max_mode = Mode::Audit);
    assert!(beyond.desired().is_empty());
    let outside = Case::with(|case| {
        case.account.namespaces[0].select = Some(serde_json::from_value(json!({"vpcIds": ["vpc-2"]})).unwrap());
    });
    assert_eq!(outside.desired().len(), 1);
    assert_eq!(outside.outcome(), (Vec::new(), Vec::new()));
}

#[test]
fn an_unreadable_list_holds_back_its_own_rule_and_no_other() {
    let case = Case::with(|case| {
        case.groups[0] = group("sg-0", "shop", &["tcp/22 0.0.0.0/0", "tcp/3389 pl-1"]);
        let entries = PrefixListEntries::Unreadable;
        let list = PrefixList { owner: ACCOUNT.to_owned(), version: 1, max_entries: 5, entries };
        case.lists.insert("pl-1".to_owned(), list);
    });
    assert_eq!(case.outcome().0, [SSH]);
}

#[test]
fn facts_that_are_too_old_judge_nothing_and_change_nothing() {
    let case = Case::new();
    let (desired, inventory) = (case.desired(), case.inventory());
    let judged = |age: SignedDuration| {
        let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, NOW + age, Keep::All);
        let edits = plan(&desired, &inventory, &evaluation).stage.edits.len();
        (evaluation.failure.is_some(), !evaluation.baselines[0].findings.is_empty(), edits)
    };
    assert_eq!(judged(MAX_AGE), (false, true, 1));
    assert_eq!(judged(MAX_AGE + SignedDuration::from_secs(1)), (true, false, 0));
}

#[test]
fn an_override_of_what_the_spec_leaves_out_is_refused_with_the_field_to_write() {
    let mut overridden = Case::new().baselines.remove(0);
    let over = json!([{"control": "sg-icmp-limited", "mode": "Enforce"}]);
    overridden.overrides = serde_json::from_value(over).unwrap();
    let refusal = overridden.accept(&[Case::new().account]).unwrap_err();
    assert!(refusal.message.contains("write spec.internet.icmp"), "{refusal}");
}

#[test]
fn a_default_group_is_closed_only_while_it_is_known_that_nobody_uses_it() {
    let close = |usage: Option<InterfaceUse>, known: bool| {
        Case::with(|case| {
            case.groups[0] = group("sg-0", "default", &["tcp/8443 10.0.0.0/8"]);
            case.baselines[0] = baseline("edge", json!({"defaultGroup": {"close": true}}));
            case.usage = known.then(|| usage.into_iter().map(|used| ("sg-0".to_owned(), used)).collect());
        })
    };
    let used = InterfaceUse { interfaces: 1, ..InterfaceUse::default() };
    assert_eq!(close(None, true).outcome().0, ["tcp/8443 from 10.0.0.0/8"]);
    assert_eq!(reasons(&close(Some(used), true)), ["InUse"]);
    assert_eq!(reasons(&close(None, false)), ["IncompleteKnowledge"]);
}

#[test]
fn what_one_baseline_requires_and_another_forbids_is_left_as_it_is() {
    let required = json!({"required": {"ingress": [{"traffic": "tcp/443", "peer": "10.0.0.0/8"}]}});
    let sources = json!({"sources": {"cidrs": ["192.168.0.0/16"]}});
    let case = |rules: &[&str]| {
        Case::with(|case| {
            case.groups[0] = group("sg-0", "shop", rules);
            case.baselines = vec![baseline("needs", required.clone()), baseline("forbids", sources.clone())];
        })
    };
    assert_eq!(reasons(&case(&["tcp/443 10.0.0.0/8"])), ["Conflicting", "Conflicting"]);
    assert_eq!(reasons(&case(&[])), ["Conflicting"]);
}

#[test]
fn a_required_rule_beyond_what_the_namespace_may_add_is_refused() {
    let required = |port: &str| json!({"required": {"ingress": [{"traffic": port, "peer": "10.0.0.0/8"}]}});
    let case = |port: &str| Case::with(|case| case.baselines[0] = baseline("edge", required(port)));
    assert!(case("tcp/443").outcome().0.contains(&"add tcp/443 from 10.0.0.0/8".to_owned()));
    assert!(case("tcp/8443").desired().is_empty());
}

#[test]
fn the_worst_twenty_groups_go_first_and_the_rest_follows() {
    let case = Case::with(|case| {
        let ssh = |number| group(&format!("sg-{number:02}"), "shop", &["tcp/22 0.0.0.0/0"]);
        let mysql = |number| group(&format!("sg-0{number}"), "shop", &["tcp/3306 0.0.0.0/0"]);
        case.groups = (0..5).map(mysql).chain((5..27).map(ssh)).collect();
        case.baselines[0] = baseline("edge", json!({"internet": {"denyPresets": ["Admin", "Database"]}}));
    });
    let permitted = case.permitted();
    let changed: Vec<&str> = permitted.resources.iter().map(|resource| resource.target.id.as_str()).collect();
    assert_eq!(changed.len(), RESOURCES_PER_SWEEP);
    assert_eq!((changed[0], changed[19]), ("sg-05", "sg-24"));
    let waiting = permitted.withheld.iter().filter(|held| held.reason == Withheld::SweepLimit).count();
    assert_eq!(waiting, 27 - RESOURCES_PER_SWEEP);
}

/// What came of the resources of a plan, if all of them fared alike.
fn all(permitted: &Permitted, outcome: &Outcome) -> Vec<ResourceOutcome> {
    let fared = |resource: &engine::plan::PermittedResource| ResourceOutcome {
        id: resource.target.id.clone(),
        edits: resource.edits.clone(),
        warrant: Warrant::Baselines,
        outcome: outcome.clone(),
        calls_verified: usize::from(*outcome == Outcome::Verified),
        request_ids: Vec::new(),
        finished_at: NOW,
    };
    permitted.resources.iter().map(fared).collect()
}

#[test]
fn twenty_groups_that_cannot_be_written_do_not_keep_others_from_their_turn() {
    let mut case = Case::with(|case| {
        let ssh = |number| group(&format!("sg-{number:02}"), "shop", &["tcp/22 0.0.0.0/0"]);
        case.groups = (0..27).map(ssh).collect();
    });
    let denied = Outcome::Failed(Failure::WriteDenied);
    let first = case.permitted();
    case.circumstances.retries.note(&all(&first, &denied));
    let second = case.permitted();
    let changed: Vec<&str> = second.resources.iter().map(|resource| resource.target.id.as_str()).collect();
    assert_eq!(changed, ["sg-20", "sg-21", "sg-22", "sg-23", "sg-24", "sg-25", "sg-26"]);
    let waits = |held: &engine::plan::WithheldEdit| held.reason == Withheld::BackingOff(Box::new(denied.clone()));
    assert_eq!(second.withheld.iter().filter(|held| waits(held)).count(), RESOURCES_PER_SWEEP);
    case.circumstances.retries.note(&all(&second, &denied));
    assert_eq!(case.permitted().resources.len(), 0, "nothing is tried again at once");
    case.baselines[0].reference.generation = 2;
    assert_eq!(case.permitted().resources.len(), RESOURCES_PER_SWEEP, "another generation need not wait");
}

#[test]
fn what_is_not_tried_again_yet_is_reported_as_what_it_failed_with() {
    let mut case = Case::new();
    let inventory = case.inventory();
    let evaluation = evaluate(Kind::SecurityGroup, &case.desired(), &inventory, NOW, Keep::All);
    let tell = |case: &Case, outcomes: Vec<ResourceOutcome>| {
        let plan = engine::plan::Plan { cell: cell(), stage: case.permitted() };
        report(&evaluation, &plan.applied(outcomes), NOW)
    };
    let outcomes = all(&case.permitted(), &Outcome::Failed(Failure::WriteDenied));
    let told = tell(&case, outcomes.clone());
    assert_eq!(told[0].failures, BTreeMap::from([("WriteDenied", 1)]));
    case.circumstances.retries.note(&outcomes);
    assert_eq!(tell(&case, Vec::new()), told);
}

#[test]
fn a_group_with_more_edits_than_a_change_set_holds_is_changed_in_parts() {
    let case = Case::with(|case| {
        let texts: Vec<String> = (0..60).map(|number| format!("tcp/22 {}.0.0.0/7", 2 * (number + 20))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        case.groups[0] = group("sg-0", "shop", &texts);
    });
    let permitted = case.permitted();
    assert_eq!(permitted.resources[0].edits.len(), EDITS_PER_RESOURCE);
    assert!(permitted.withheld.iter().any(|held| held.reason == Withheld::SweepLimit));
}

#[test]
fn a_full_group_is_narrowed_in_place_or_not_at_all() {
    let full = |text: &str| {
        Case::with(|case| {
            case.groups[0] = group("sg-0", "shop", &[text, "tcp/443 10.0.0.0/8"]);
            case.account.rules_per_group = 2;
        })
    };
    assert_eq!(full("tcp/22-30 0.0.0.0/0").outcome().0, ["tcp/22-30 from 0.0.0.0/0"]);
    assert_eq!(reasons(&full("tcp/20-80 0.0.0.0/0")), ["RuleQuota"]);
}

const LEASE: Option<Duration> = Some(Duration::from_secs(15));

#[test]
fn a_permit_names_the_group_and_the_call() {
    let case = Case::new();
    let permit = case.permit(&case, &live(&case.groups[0]), LEASE).unwrap();
    assert!(matches!(permit.call(), Call::Revoke { rule_ids, .. } if rule_ids == &["sgr-0"]));
}

#[test]
fn whoever_withdraws_authority_after_the_plan_stops_the_write() {
    let planned = Case::new();
    let withdrawn: [(Withheld, Case); 11] = [
        (Withheld::BaselineChanged, Case::with(|case| case.baselines.clear())),
        (Withheld::BaselineChanged, Case::with(|case| case.baselines[0].reference.generation = 2)),
        (Withheld::BaselineChanged, Case::with(|case| case.baselines[0].reference.uid.push_str("-again"))),
        (Withheld::Audit, Case::with(|case| case.baselines[0].mode = Mode::Audit)),
        (Withheld::AccountGrant, Case::with(|case| case.account.name.clear())),
        (Withheld::ReadOnlyAccount, Case::with(|case| case.account.writable = false)),
        (Withheld::WritesStopped, Case::with(|case| case.account.writes_stopped = true)),
        (Withheld::BaselineChanged, Case::with(|case| case.account.namespaces.clear())),
        (Withheld::BaselineChanged, Case::with(|case| case.account.namespaces[0].max_mode = Mode::Audit)),
        (
            Withheld::AccountGrant,
            Case::with(|case| {
                let other = json!({"vpcIds": ["vpc-2"]});
                case.account.namespaces[0].select = Some(serde_json::from_value(other).unwrap());
            }),
        ),
        (
            Withheld::BaselineChanged,
            Case::with(|case| {
                let over = json!([{"control": "sg-no-open-admin-ports", "mode": "Off"}]);
                case.baselines[0].overrides = serde_json::from_value(over).unwrap();
            }),
        ),
    ];
    for (expected, now) in withdrawn {
        assert_eq!(planned.permit(&now, &live(&planned.groups[0]), LEASE).err(), Some(expected));
    }
}

#[test]
fn a_baseline_that_had_no_say_in_the_plan_stops_the_write_and_one_that_only_watches_does_not() {
    let planned = Case::new();
    let with = |mode| {
        Case::with(|case| {
            let required = json!({"required": {"ingress": [{"traffic": "tcp/443", "peer": "10.0.0.0/8"}]}});
            case.baselines.push(baseline("other", required));
            case.baselines[1].mode = mode;
        })
    };
    let permit = |now: &Case| planned.permit(now, &live(&planned.groups[0]), LEASE).err();
    assert_eq!(permit(&with(Mode::Enforce)), Some(Withheld::BaselineChanged));
    assert_eq!(permit(&with(Mode::Audit)), None);
}

#[test]
fn without_enough_of_the_lease_nothing_is_written() {
    let case = Case::new();
    for left in [None, Some(Duration::ZERO), Some(Duration::from_secs(5))] {
        assert_eq!(case.permit(&case, &live(&case.groups[0]), left).err(), Some(Withheld::NotLeader), "{left:?}");
    }
}

#[test]
fn a_group_that_is_not_as_it_was_or_was_read_too_long_ago_is_not_written() {
    let case = Case::new();
    let found = live(&case.groups[0]);
    let mut changed = found.clone();
    changed.rules[0].rule.description = Some("by hand".to_owned());
    let mut other = found.clone();
    other.id = "sg-1".to_owned();
    let mut old = found.clone();
    old.read_at = NOW - Duration::from_secs(11);
    let mut future = found.clone();
    future.read_at = NOW + Duration::from_secs(1);
    for (expected, live) in [
        (Withheld::ForeignChange, changed),
        (Withheld::ForeignChange, other),
        (Withheld::IncompleteKnowledge, old),
        (Withheld::IncompleteKnowledge, future),
    ] {
        assert_eq!(case.permit(&case, &live, LEASE).err(), Some(expected));
    }
}
