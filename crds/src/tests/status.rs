//! A status at its largest.

use std::collections::{BTreeMap, BTreeSet};

use engine::controls::{Listed, listed};
use engine::edit::{Impact, Risk, Withheld};
use engine::evaluate::{ControlCount, Finding};
use engine::facts::{Location, ReadFailure};
use engine::finding::{Severity, Verdict};
use engine::kind::Kind;
use engine::plan::Failure;
use engine::readiness::{Readiness, Usage};
use engine::report::{self, CellSummary, Held, NAMED, NamedFinding, Summary, TEXT};
use engine::spec::Mode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::baseline::stored_bytes;
use crate::conditions::{self, State, Update};
use crate::{BaselineStatus, NamedVerdict};

/// The most bytes of a status.
const BUDGET: usize = 64 * 1024;

fn location() -> Location {
    Location { account: "111122223333".to_owned(), region: "ap-southeast-1".to_owned() }
}

/// The longest id of a resource: groups have 17 digits, layers a name of at most 140 characters.
fn longest_id(kind: Kind) -> String {
    match kind {
        Kind::SecurityGroup => "sg-0123456789abcdef0".to_owned(),
        Kind::Lambda => format!("layer:{}:{}", "n".repeat(140), i64::MAX),
    }
}

fn named(kind: Kind, verdict: Verdict) -> NamedFinding {
    let impact = match kind {
        Kind::SecurityGroup => Impact::Interfaces { interfaces: u32::MAX, load_balancers: u32::MAX },
        Kind::Lambda => Impact::Callers,
    };
    let finding = Finding {
        resource: longest_id(kind),
        control: longest(listed(kind).into_iter().map(|control| control.about.id)),
        severity: Severity::Critical,
        verdict,
        impact,
        exempt: None,
    };
    let held = Held { reason: longest(Withheld::REASONS.iter().copied()), advice: String::new() };
    NamedFinding { location: location(), finding, held: Some(held) }
}

fn longest(texts: impl Iterator<Item = &'static str>) -> &'static str {
    texts.max_by_key(|text| text.len()).unwrap()
}

/// A summary that has the most of everything, its texts made of one character.
fn largest(kind: Kind, character: char) -> Summary {
    const MOST: u64 = u64::MAX;
    let text = character.to_string().repeat(TEXT + 1);
    let location = Location { region: "r".repeat(32), ..location() };
    let verdicts =
        engine::evaluate::Verdicts { pass: MOST, fail: MOST, exempt: MOST, not_applicable: MOST, unknown: MOST };
    let count = |control: Listed| ControlCount {
        control: control.about.id,
        severity: Severity::Critical,
        mode: Mode::Enforce,
        verdicts,
    };
    let cell = CellSummary {
        location: location.clone(),
        swept_at: now(),
        oldest_fact: Some(now()),
        failure: Some(ReadFailure::EndpointUnavailable),
        partial: Vec::new(),
    };
    let mut finding = NamedFinding { location, ..named(kind, Verdict::fail(report::cut(&text), report::cut(&text))) };
    let advice = Held::from(&Withheld::Conflicting(vec![text])).advice;
    finding.held = finding.held.map(|held| Held { advice, ..held });
    Summary {
        resources: MOST,
        failing_resources: MOST,
        verdicts,
        violations: Severity::WORST_FIRST.map(|severity| (severity, MOST)).into(),
        controls: listed(kind).into_iter().map(count).collect(),
        worst: vec![finding; NAMED],
        withheld: Withheld::REASONS.iter().map(|reason| (*reason, MOST)).collect(),
        failures: Failure::ALL.map(|failure| (failure.reason(), MOST)).into(),
        cells: vec![cell; NAMED],
        cells_total: usize::MAX,
        cells_uncounted: 0,
        conflicts: BTreeSet::new(),
        readiness: Some(Readiness {
            edits: RISKS.map(|risk| (risk, MOST)).into(),
            resources: USAGES.map(|usage| (usage, MOST)).into(),
            withheld: Withheld::REASONS.iter().filter(|one| !NEVER.contains(one)).map(|one| (*one, MOST)).collect(),
            owned_by_code: MOST,
            changed_by_others: MOST,
        }),
    }
}

/// Reasons that only time, other cells or a write give: what would be done without them is never held back by one.
const NEVER: [&str; 14] = [
    "Rejected",
    "BlastRadius",
    "OtherCells",
    "Budget",
    "Window",
    "Canary",
    "CanaryFailed",
    "Contested",
    "SweepLimit",
    "ForeignChange",
    "BaselineChanged",
    "NotLeader",
    "JournalUnavailable",
    "BackingOff",
];

const RISKS: [Risk; 3] = [Risk::ConfigOnly, Risk::AddsAccess, Risk::ConnectivityRisk];

const USAGES: [Usage; 3] = [Usage::InUse, Usage::Unused, Usage::Unknown];

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn largest_status(kind: Kind, character: char) -> BaselineStatus {
    use conditions::{ACCEPTED, COMPLIANT, OBSERVED, READY, RECONCILING, STALLED};
    let text = character.to_string().repeat(TEXT + 1);
    let mut status = BaselineStatus {
        observed_generation: Some(i64::MAX),
        accounts_left_out: Some(i64::MAX),
        heartbeat: Some(Time(now())),
        last_handled_reconcile_at: Some(conditions::sentence(&text)),
        ..BaselineStatus::from(&largest(kind, character))
    };
    for condition in [ACCEPTED, OBSERVED, COMPLIANT, RECONCILING, STALLED, READY] {
        let reason = engine::desired::Reason::RequiredRuleBeyondGrant.as_str();
        let update = Update { kind: condition, state: State::Unknown, reason, message: &text };
        conditions::set(&mut status.conditions, &update, Some(i64::MAX), now());
    }
    status
}

#[test]
fn the_largest_status_is_within_its_budget_and_its_schema() {
    let characters = ['x', '"', '\\', '\n', '\u{7}', 'ü', '…', '😀', '&', '<', '\u{2028}'];
    for (kind, character) in Kind::ALL.into_iter().flat_map(|kind| characters.map(|character| (kind, character))) {
        let status = largest_status(kind, character);
        assert_eq!((status.controls.len(), status.cells.len(), status.conditions.len()), (listed(kind).len(), 50, 6));
        assert!(status.worst.len() > 40, "{kind} {character:?}: {} findings", status.worst.len());
        assert!(status.worst.iter().all(|finding| finding.actual.ends_with('…')));
        let json = serde_json::to_value(&status).unwrap();
        let size = stored_bytes(&json);
        assert!(size <= BUDGET, "{kind} {character:?}: {size} bytes");
        assert_eq!(crate::admission::problems_of_status(kind.name(), json.clone()), Vec::<String>::new());
        assert!(serde_json::from_value::<BaselineStatus>(json).unwrap() == status);
    }
}

#[test]
fn ordinary_findings_are_named_up_to_fifty() {
    for kind in Kind::ALL {
        let finding = named(kind, Verdict::fail("no admin port from the internet", "tcp/22 from 0.0.0.0/0"));
        let status = BaselineStatus::from(&Summary { worst: vec![finding; NAMED], ..Summary::default() });
        assert_eq!(status.worst.len(), 50);
    }
}

#[test]
fn before_the_first_look_there_is_nothing_to_count() {
    let json = serde_json::to_value(BaselineStatus::default()).unwrap();
    assert_eq!(json, serde_json::json!({}));
}

#[test]
fn the_evidence_for_a_switch_is_counted_by_risk_impact_and_reason() {
    let readiness = Readiness {
        edits: BTreeMap::from([(Risk::ConnectivityRisk, 3), (Risk::ConfigOnly, 2)]),
        resources: BTreeMap::from([(Usage::InUse, 1), (Usage::Unused, 3)]),
        withheld: BTreeMap::from([("NotNamed", 4)]),
        owned_by_code: 5,
        changed_by_others: 6,
    };
    let status = BaselineStatus::from(&Summary { readiness: Some(readiness), ..Summary::default() });
    let json = serde_json::to_value(&status).unwrap();
    let expected = serde_json::json!({
        "edits": 5, "risks": {"connectivityRisk": 3, "addsAccess": 0, "configOnly": 2},
        "resources": 4, "impact": {"inUse": 1, "unused": 3, "unknown": 0},
        "withheld": {"NotNamed": 4}, "ownedByCode": 5, "changedByOthers": 6,
    });
    assert_eq!(json["enforceReadiness"], expected);
    let without = serde_json::to_value(BaselineStatus::from(&Summary::default())).unwrap();
    assert!(without.get("enforceReadiness").is_none(), "{without}");
}

#[test]
fn a_pass_is_named_only_for_its_note() {
    let note = "nodejs22.x is deprecated from 2027-04-30 on";
    let worst = vec![named(Kind::Lambda, Verdict::Pass), named(Kind::Lambda, Verdict::pass_with_note(note))];
    let status = BaselineStatus::from(&Summary { worst, ..Summary::default() });
    let told: Vec<_> = status.worst.iter().map(|finding| (finding.verdict, finding.actual.as_str())).collect();
    assert_eq!(told, [(NamedVerdict::Pass, note)]);
}

#[test]
fn an_unknown_verdict_says_which_fact_is_missing() {
    let mut summary = Summary {
        worst: vec![
            named(Kind::SecurityGroup, Verdict::unknown("prefix list pl-1 is unreadable")),
            named(Kind::SecurityGroup, Verdict::Pass),
        ],
        ..Summary::default()
    };
    summary.cells.push(CellSummary {
        location: location(),
        swept_at: Timestamp::UNIX_EPOCH,
        oldest_fact: Some(Timestamp::UNIX_EPOCH),
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
