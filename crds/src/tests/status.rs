//! A status at its largest.

use std::collections::BTreeMap;

use engine::edit::Impact;
use engine::evaluate::{ControlCount, Finding};
use engine::facts::{Location, ReadFailure};
use engine::finding::{Severity, Verdict};
use engine::report::{CellSummary, NamedFinding, Summary};
use engine::spec::Mode;
use jiff::Timestamp;

use crate::conditions::{self, State, Update};
use crate::{BaselineStatus, NamedVerdict};

fn location() -> Location {
    Location { account: "111122223333".to_owned(), region: "ap-southeast-1".to_owned() }
}

fn named(verdict: Verdict) -> NamedFinding {
    let finding = Finding {
        resource: "sg-0123456789abcdef0".to_owned(),
        control: "sg-world-ingress-only-allowed-ports",
        severity: Severity::Critical,
        verdict,
        impact: Impact::Interfaces { interfaces: 1000, load_balancers: 100 },
    };
    NamedFinding { location: location(), finding, held: Some("InfrastructureAsCode") }
}

fn largest() -> Summary {
    let verdicts = engine::evaluate::Verdicts { pass: 9_999_999, fail: 9_999_999, not_applicable: 9, unknown: 9 };
    let reasons = ["InfrastructureAsCode", "IncompleteKnowledge", "OwnedByOtherAccount", "ManagedByService"];
    Summary {
        resources: 9_999_999,
        failing_resources: 9_999_999,
        verdicts,
        violations: Severity::WORST_FIRST.map(|severity| (severity, 9_999_999)).into(),
        controls: engine::controls::security_group::controls()
            .map(|control| ControlCount {
                control: control.about.id,
                severity: Severity::Critical,
                mode: Mode::Enforce,
                verdicts,
            })
            .collect(),
        worst: vec![named(Verdict::fail("x".repeat(300), "y".repeat(300))); 50],
        withheld: reasons.map(|reason| (reason, 9_999_999)).into(),
        failures: reasons.map(|reason| (reason, 9_999_999)).into(),
        cells: vec![
            CellSummary {
                location: location(),
                swept_at: Timestamp::UNIX_EPOCH,
                failure: Some(ReadFailure::EndpointUnavailable),
                partial: Vec::new(),
            };
            50
        ],
        cells_total: 4000,
    }
}

#[test]
fn the_largest_status_is_within_its_budget_and_its_schema() {
    let mut status = BaselineStatus::from(&largest());
    for kind in [conditions::ACCEPTED, conditions::OBSERVED, conditions::COMPLIANT, conditions::READY] {
        let update = Update { kind, state: State::False, reason: "Violations", message: &"z".repeat(300) };
        conditions::set(&mut status.conditions, &update, Some(1), Timestamp::UNIX_EPOCH);
    }
    assert_eq!(status.violations_total, Some(4 * 9_999_999));
    assert_eq!(status.worst[0].actual.len(), 256);
    let json = serde_json::to_value(&status).unwrap();
    let size = json.to_string().len();
    assert!(size < 64 * 1024, "{size}");
    assert_eq!(crate::admission::problems_of_status("SecurityGroupBaseline", json.clone()), Vec::<String>::new());
    assert_eq!(serde_json::from_value::<BaselineStatus>(json).unwrap(), status);
}

#[test]
fn before_the_first_look_there_is_nothing_to_count() {
    let json = serde_json::to_value(BaselineStatus::default()).unwrap();
    assert_eq!(json, serde_json::json!({}));
}

#[test]
fn an_unknown_verdict_says_which_fact_is_missing() {
    let mut summary = Summary {
        worst: vec![named(Verdict::unknown("prefix list pl-1 is unreadable")), named(Verdict::Pass)],
        ..Summary::default()
    };
    summary.cells.push(CellSummary {
        location: location(),
        swept_at: Timestamp::UNIX_EPOCH,
        failure: None,
        partial: vec![("ec2/prefix_lists", ReadFailure::AccessDenied)],
    });
    summary.violations = BTreeMap::from([(Severity::Low, 2)]);
    let status = BaselineStatus::from(&summary);
    assert_eq!(status.worst.len(), 1);
    assert_eq!((status.worst[0].verdict, status.worst[0].expected.as_deref()), (NamedVerdict::Unknown, None));
    assert_eq!(status.worst[0].actual, "prefix list pl-1 is unreadable");
    assert_eq!((status.cells[0].complete, status.cells[0].reason.as_deref()), (false, Some("AccessDenied")));
    assert_eq!(status.violations.unwrap().low, 2);
}
