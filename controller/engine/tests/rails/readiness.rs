//! What a baseline in `Audit` would do if it were switched, and what would still hold it back.

use std::collections::BTreeMap;

use engine::desired::{Baseline, Desired};
use engine::edit::{BaselineRef, Risk};
use engine::evaluate::{Keep, evaluate};
use engine::facts::{InterfaceUse, Inventory, ReadFailure, SecurityGroup, Source};
use engine::kind::Kind;
use engine::plan::plan;
use engine::rails::{self, Circumstances, Moment};
use engine::readiness::{Beside, Others, Outlook, PER_SWEEP, QUIET_SWEEPS, Readiness, Usage, readiness};
use engine::spec::{CodeMode, Mode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Case, NOW, tag};

/// An account with one group that lets SSH in, which one baseline in `Audit` forbids.
fn audited() -> Case {
    Case::with(|case| {
        let grant = json!({
            "name": "security", "maxMode": "Enforce",
            "mayAddRules": {"cidrs": ["0.0.0.0/0"], "ports": ["tcp/0-65535"]},
        });
        case.account.namespaces = vec![serde_json::from_value(grant).unwrap()];
        case.baselines[0].mode = Mode::Audit;
    })
}

fn with(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = audited();
    change(&mut case);
    case
}

impl Case {
    fn of(&self, name: &str) -> Option<Readiness> {
        self.beside(&Others::default(), |desired, beside| readiness(&reference(name), desired, beside))
    }

    fn beside<T>(&self, others: &Others, look: impl FnOnce(&[Desired], Beside<'_>) -> T) -> T {
        let (desired, inventory) = (self.desired(), self.inventory());
        let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, NOW, Keep::Worst(50));
        look(&desired, Beside { inventory: &inventory, evaluation: &evaluation, account: &self.account, others })
    }

    /// What is found for the first baseline without what nobody has named.
    fn found(&self) -> Readiness {
        let mut found = self.of("edge").unwrap();
        found.withheld.remove("NotNamed");
        found
    }
}

fn group(id: &str, rules: &[&str]) -> SecurityGroup {
    super::group(id, "shop", rules)
}

fn reference(name: &str) -> BaselineRef {
    super::baseline(name, json!({})).reference
}

fn baseline(name: &str, mode: Mode, parameters: Value) -> Baseline {
    Baseline { mode, ..super::baseline(name, parameters) }
}

fn overridden(case: &mut Case, control: &str, mode: &str) {
    case.baselines[0].overrides = serde_json::from_value(json!([{"control": control, "mode": mode}])).unwrap();
}

/// One edit that closes something, on one resource.
fn one(usage: Usage) -> Readiness {
    Readiness {
        edits: BTreeMap::from([(Risk::ConnectivityRisk, 1)]),
        resources: BTreeMap::from([(usage, 1)]),
        ..Readiness::default()
    }
}

fn held(reason: &'static str) -> Readiness {
    Readiness { withheld: BTreeMap::from([(reason, 1)]), ..Readiness::default() }
}

#[test]
fn what_would_be_changed_is_counted_by_whether_it_is_used() {
    assert_eq!(audited().found(), one(Usage::Unused));
    let uses = InterfaceUse { interfaces: 1, ..InterfaceUse::default() };
    let used = with(|case| case.usage = Some(BTreeMap::from([("sg-0".to_owned(), uses)])));
    assert_eq!(used.found(), one(Usage::InUse));
    assert_eq!(with(|case| case.usage = None).found(), one(Usage::Unknown));
    let twice = with(|case| case.groups[0] = group("sg-0", &["tcp/22 0.0.0.0/0", "tcp/3389 0.0.0.0/0"])).found();
    assert_eq!((twice.edits[&Risk::ConnectivityRisk], twice.resources[&Usage::Unused]), (2, 1));
}

#[test]
fn what_would_hold_edits_back_is_counted_by_reason() {
    let code = |case: &mut Case| tag(case, "ManagedBy", "terraform");
    let cases: [(&str, Case); 8] = [
        ("ManagedByService", with(|case| tag(case, "elbv2.k8s.aws/cluster", "prod"))),
        ("OwnedByOtherAccount", with(|case| case.groups[0].owner = "444455556666".to_owned())),
        ("ReadOnlyAccount", with(|case| case.account.writable = false)),
        ("WritesStopped", with(|case| case.account.writes_stopped = true)),
        ("AccountGrant", with(|case| case.account.namespaces[0].max_mode = Mode::Audit)),
        ("Audit", with(|case| overridden(case, "sg-no-open-admin-ports", "Audit"))),
        (
            "RuleQuota",
            with(|case| {
                case.groups[0] = group("sg-0", &["tcp/20-80 0.0.0.0/0", "tcp/443 10.0.0.0/8"]);
                case.account.rules_per_group = 2;
            }),
        ),
        ("NoExactForm", with(|case| case.groups[0] = group("sg-0", &["all 0.0.0.0/0"]))),
    ];
    for (reason, case) in cases {
        assert_eq!(case.found(), held(reason), "{reason}");
    }
    let owned = with(code).found();
    assert_eq!(owned, Readiness { owned_by_code: 1, ..held("InfrastructureAsCode") });
    let written = with(|case| {
        code(case);
        case.baselines[0].infrastructure_as_code.mode = CodeMode::Enforce;
    });
    assert_eq!(written.found(), Readiness { owned_by_code: 1, ..one(Usage::Unused) });
}

#[test]
fn a_field_that_is_left_out_would_still_not_be_written() {
    let case = with(|case| case.baselines[0] = baseline("edge", Mode::Audit, json!({})));
    let found = case.of("edge").unwrap();
    assert!(found.withheld["NotNamed"] > 0, "{found:?}");
    assert_eq!((found.edits.len(), found.resources.len()), (0, 0));
}

#[test]
fn only_a_baseline_in_audit_has_any_also_where_overrides_go_further() {
    for mode in [Mode::Propose, Mode::Enforce] {
        assert_eq!(with(|case| case.baselines[0].mode = mode).of("edge"), None, "{mode}");
    }
    assert_eq!(with(|case| overridden(case, "sg-no-open-admin-ports", "Enforce")).found(), one(Usage::Unused));
    assert_eq!(with(|case| overridden(case, "sg-no-open-admin-ports", "Propose")).found(), held("Approval"));
    assert_eq!(audited().of("other"), None);
}

#[test]
fn each_baseline_is_switched_alone_beside_the_others_as_they_are() {
    let requires = json!({"required": {"ingress": [{"traffic": "tcp/22", "peer": "0.0.0.0/0"}]}, "internet": {"allowPorts": ["tcp/22"], "denyPresets": []}});
    let beside = |mode| with(|case| case.baselines.push(baseline("other", mode, requires.clone()))).found();
    assert_eq!(beside(Mode::Audit), one(Usage::Unused));
    assert_eq!(beside(Mode::Enforce), held("Conflicting"));
}

#[test]
fn who_contradicts_an_edit_of_somebody_else_is_told_without_one_of_its_own() {
    let requires = json!({"required": {"ingress": [{"traffic": "tcp/22", "peer": "0.0.0.0/0"}]}, "internet": {"allowPorts": ["tcp/22"], "denyPresets": []}});
    let case = with(|case| {
        case.groups[0] = group("sg-0", &[]);
        case.baselines.push(baseline("other", Mode::Enforce, requires));
    });
    assert_eq!(case.found(), held("Conflicting"));
}

#[test]
fn what_is_known_is_looked_at_anew_once_a_control_counts_anything_else_and_now_and_then() {
    let (before, mut outlook) = (audited(), Outlook::default());
    let renew = |outlook: &mut Outlook, case: &Case| {
        case.beside(&Others::default(), |desired, beside| outlook.renew(desired, beside));
        outlook.of(&reference("edge")).unwrap().edits.values().sum::<u64>()
    };
    assert_eq!(renew(&mut outlook, &before), 1);
    let worse = with(|case| case.groups.push(group("sg-1", &["tcp/22 0.0.0.0/0"])));
    assert_eq!(renew(&mut outlook, &worse), 2);
    let stopped = with(|case| {
        case.groups = worse.groups.clone();
        case.account.writes_stopped = true;
    });
    let seen: Vec<u64> = (0..=QUIET_SWEEPS).map(|_| renew(&mut outlook, &stopped)).collect();
    assert_eq!((seen.first(), seen.last()), (Some(&2), Some(&0)), "{seen:?}");
}

#[test]
fn what_others_changed_within_a_day_is_told_at_once_and_what_was_written_here_is_not_theirs() {
    let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
    let look = |port: u16| {
        let web = format!("tcp/{port} 10.0.0.0/8");
        let rules = [web.as_str(), "tcp/22 0.0.0.0/0"];
        with(|case| case.groups = vec![group("sg-0", &rules), group("sg-1", &rules), group("sg-2", &[&web])])
    };
    let (mut others, mut outlook) = (Others::default(), Outlook::default());
    let mut told = |others: &Others, case: &Case| {
        case.beside(others, |desired, beside| outlook.renew(desired, beside));
        outlook.of(&reference("edge")).unwrap().changed_by_others
    };
    let (one, two) = (look(443), look(8443));
    assert_eq!(told(&others, &one), 0);
    others.except(["sg-1".to_owned()], at(0));
    others.watch(Kind::SecurityGroup, &one.inventory(), &two.inventory(), at(4));
    assert_eq!(told(&others, &two), 1, "what AWS shows late was written here");
    others.watch(Kind::SecurityGroup, &two.inventory(), &one.inventory(), at(5));
    assert_eq!(told(&others, &one), 2);
    others.watch(Kind::SecurityGroup, &one.inventory(), &with(|case| case.groups.clear()).inventory(), at(6));
    assert_eq!(told(&others, &one), 2, "what is gone has not changed");
    others.watch(Kind::SecurityGroup, &one.inventory(), &one.inventory(), at(5 + 24 * 60));
    assert_eq!(told(&others, &one), 0);
}

#[test]
fn what_others_changed_while_nothing_could_be_read_is_told_and_what_was_written_here_before_is_not_theirs() {
    let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
    let look = |port: u16, read: Timestamp| {
        let rules = [format!("tcp/{port} 10.0.0.0/8"), "tcp/22 0.0.0.0/0".to_owned()];
        let rules = rules.each_ref().map(String::as_str);
        let groups = vec![group("sg-0", &rules), group("sg-1", &rules)];
        Inventory { security_groups: Source::complete(groups, read), ..audited().inventory() }
    };
    let failed = |read: Timestamp| {
        let security_groups = Source::failed(ReadFailure::EndpointUnavailable, read);
        Inventory { security_groups, ..audited().inventory() }
    };
    let case = with(|case| case.groups.push(group("sg-1", &["tcp/22 0.0.0.0/0"])));
    let told = |others: &Others| {
        case.beside(others, |desired, beside| readiness(&reference("edge"), desired, beside)).unwrap().changed_by_others
    };
    let mut others = Others::default();
    others.except(["sg-1".to_owned()], at(1));
    others.watch(Kind::SecurityGroup, &look(443, at(0)), &failed(at(2)), at(2));
    assert_eq!(told(&others), 0);
    others.watch(Kind::SecurityGroup, &look(443, at(0)), &look(8443, at(30)), at(30));
    assert_eq!(told(&others), 1, "sg-1 was written here after the last look");
    others.watch(Kind::SecurityGroup, &look(8443, at(30)), &look(443, at(40)), at(40));
    assert_eq!(told(&others), 2, "what is compared from now on is the new look");
}

/// The plan of the same baseline in `Enforce`, as the controller would make it.
#[test]
fn it_comes_true_once_the_mode_is_switched() {
    let groups = || {
        let texts = [&["tcp/22 0.0.0.0/0"][..], &["tcp/20-80 0.0.0.0/0"], &["all 0.0.0.0/0", "tcp/3389 ::/0"], &[]];
        let group = |(number, rules): (usize, &&[&str])| group(&format!("sg-{number}"), rules);
        texts.iter().enumerate().map(group).collect()
    };
    let predicted = with(|case| case.groups = groups()).of("edge").unwrap();
    let case = with(|case| {
        case.groups = groups();
        case.baselines[0].mode = Mode::Enforce;
    });
    let (desired, inventory) = (case.desired(), case.inventory());
    let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, NOW, Keep::Worst(50));
    let proposed = rails::hold_for_good(plan(&desired, &inventory, &evaluation), &inventory, &case.account);
    let moment = Moment { desired: &desired, circumstances: &Circumstances::default(), now: NOW };
    let permitted = rails::apply(proposed, &inventory, &case.account, moment).stage;
    let edits: usize = permitted.resources.iter().map(|resource| resource.edits.len()).sum();
    assert_eq!(predicted.edits.values().sum::<u64>(), u64::try_from(edits).unwrap());
    assert_eq!(predicted.resources.values().sum::<u64>(), u64::try_from(permitted.resources.len()).unwrap());
    assert_eq!(predicted.withheld.values().sum::<u64>(), u64::try_from(permitted.withheld.len()).unwrap());
    assert!(edits > 2 && !permitted.withheld.is_empty());
}

#[test]
fn many_baselines_have_their_turns_and_what_is_gone_is_forgotten() {
    let many = with(|case| {
        let parameters = || json!({"internet": {"denyPresets": ["Admin"]}});
        case.baselines = (0..5).map(|number| baseline(&number.to_string(), Mode::Audit, parameters())).collect();
        case.baselines.push(baseline("enforcing", Mode::Enforce, json!({})));
    });
    let (mut desired, inventory, mut outlook) = (many.desired(), many.inventory(), Outlook::default());
    let known = |outlook: &Outlook, desired: &[Desired]| {
        desired.iter().filter(|desired| outlook.of(&desired.reference).is_some()).count()
    };
    let renew = |outlook: &mut Outlook, desired: &[Desired]| {
        let evaluation = evaluate(Kind::SecurityGroup, desired, &inventory, NOW, Keep::Worst(50));
        let others = &Others::default();
        let beside = Beside { inventory: &inventory, evaluation: &evaluation, account: &many.account, others };
        outlook.renew(desired, beside);
    };
    for seen in [PER_SWEEP, 2 * PER_SWEEP, 5, 5] {
        renew(&mut outlook, &desired);
        assert_eq!(known(&outlook, &desired), seen);
    }
    let gone = desired.remove(0).reference;
    renew(&mut outlook, &desired);
    assert_eq!((outlook.of(&gone), known(&outlook, &desired)), (None, 4));
}
