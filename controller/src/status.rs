//! The status of a baseline, from what its cells last reported: pure, and computed whole every time.

use std::sync::Arc;

use crds::BaselineStatus;
use crds::conditions::{self, State, Update};
use engine::desired::{Accepted, Refusal};
use engine::edit::Withheld;
use engine::facts::ReadFailure;
use engine::finding::Severity;
use engine::report::{CellReport, Summary, summarise};
use engine::spec::Mode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::context::Reported;
use crate::store::Judged;

/// What the status says of the cells.
struct Seen<'r> {
    /// Cells that the baseline applies to.
    wanted: usize,
    /// Their reports on this generation of the baseline.
    current: Vec<&'r Reported>,
    summary: Summary,
    left_out: usize,
    /// Why no approval is honoured, if that is so.
    unheard: Option<&'r str>,
}

impl<'r> Seen<'r> {
    fn of(judged: &'r Judged, accepted: &Accepted, reported: &'r [Arc<Reported>]) -> Self {
        let cells = &accepted.assignments.cells;
        let is_current = |reported: &&Reported| {
            reported.report.reference == judged.baseline.reference
                && cells.iter().any(|cell| cell.location == reported.report.location)
        };
        let current: Vec<&Reported> = reported.iter().map(Arc::as_ref).filter(is_current).collect();
        Self {
            wanted: cells.len(),
            summary: summarise(current.iter().map(|reported| &reported.report)),
            current,
            left_out: accepted.assignments.left_out,
            unheard: judged.unheard.as_deref(),
        }
    }

    fn reports(&self) -> impl Iterator<Item = &CellReport> {
        self.current.iter().map(|reported| &reported.report)
    }

    /// Whether no cell could ever be read at this generation.
    fn is_blind(&self) -> bool {
        self.summary.cells_uncounted == self.current.len()
    }

    fn complete(&self) -> bool {
        self.current.len() == self.wanted
    }

    fn failures(&self) -> Vec<ReadFailure> {
        let failure = |cell: &CellReport| cell.failure.or_else(|| cell.partial.first().map(|(_, failure)| *failure));
        self.reports().filter_map(failure).collect()
    }
}

/// How a baseline stands.
enum Standing<'r> {
    Suspended,
    Refused(&'r Refusal),
    /// No account grants its namespace anything; so many match by label.
    NoAccounts(usize),
    InEffect(Box<Seen<'r>>),
}

impl<'r> Standing<'r> {
    fn of(judged: &'r Judged, reported: &'r [Arc<Reported>]) -> Self {
        if judged.baseline.suspended {
            return Self::Suspended;
        }
        match &judged.accepted {
            Err(refusal) => Self::Refused(refusal),
            Ok(accepted) if accepted.assignments.cells.is_empty() => Self::NoAccounts(accepted.assignments.left_out),
            Ok(accepted) => Self::InEffect(Box::new(Seen::of(judged, accepted, reported))),
        }
    }
}

/// The status that a baseline should have now. `previous` is the one it has.
pub fn status(
    judged: &Judged,
    reported: &[Arc<Reported>],
    previous: Option<&BaselineStatus>,
    now: Timestamp,
) -> BaselineStatus {
    let generation = Some(judged.baseline.reference.generation);
    let kept = previous.cloned().unwrap_or_default();
    let standing = Standing::of(judged, reported);
    let handled = handled(judged, &standing).or_else(|| kept.last_handled_reconcile_at.clone());
    let mut status = counts(&standing, kept);
    status.observed_generation = generation;
    status.last_handled_reconcile_at = handled;
    status.heartbeat = Some(Time(now));
    // Counts that are kept from before may be of a generation that was in `Audit`.
    status.enforce_readiness = status.enforce_readiness.filter(|_| judged.baseline.mode == Mode::Audit);
    status.next_window = match &standing {
        Standing::InEffect(_) => {
            judged.accepted.as_ref().ok().and_then(|accepted| accepted.next_opening(now)).map(Time)
        }
        Standing::Suspended | Standing::Refused(_) | Standing::NoAccounts(_) => None,
    };
    let mut said = vec![acceptance(judged)];
    said.extend(conditions_of(&standing));
    for (update, message) in said {
        let update = Update { message: &message, ..update };
        conditions::set(&mut status.conditions, &update, generation, now);
    }
    status
}

/// What is counted and listed. A baseline that is suspended, or whose new generation was not seen everywhere yet, or could
/// not be, keeps what was last seen: half a look is no answer. One that sees nothing shows nothing.
fn counts(standing: &Standing<'_>, kept: BaselineStatus) -> BaselineStatus {
    match standing {
        Standing::Suspended => kept,
        Standing::InEffect(seen) if !seen.complete() => kept,
        Standing::InEffect(seen) => {
            let found = BaselineStatus::from(&seen.summary);
            let accounts_left_out = i64::try_from(seen.left_out).ok();
            if seen.is_blind() {
                let BaselineStatus { cells, cells_total, .. } = found;
                BaselineStatus { cells, cells_total, accounts_left_out, ..kept }
            } else {
                BaselineStatus { accounts_left_out, conditions: kept.conditions, ..found }
            }
        }
        Standing::Refused(_) | Standing::NoAccounts(_) => {
            BaselineStatus { conditions: kept.conditions, ..BaselineStatus::default() }
        }
    }
}

/// The annotation value that every cell has looked since, if they agree, as far as a status may hold it.
fn handled(judged: &Judged, standing: &Standing<'_>) -> Option<String> {
    let asked = judged.reconcile_at.as_ref()?;
    let Standing::InEffect(seen) = standing else { return None };
    let all = seen.complete() && seen.current.iter().all(|reported| reported.reconcile_at.as_ref() == Some(asked));
    all.then(|| conditions::sentence(asked))
}

type Said = (Update<'static>, String);

fn say(kind: &'static str, state: State, reason: &'static str, message: impl Into<String>) -> Said {
    (Update { kind, state, reason, message: "" }, message.into())
}

fn acceptance(judged: &Judged) -> Said {
    match &judged.accepted {
        Ok(accepted) => {
            let cells = accepted.assignments.cells.len();
            let message = format!("applies to {cells} account and region pair(s)");
            say(conditions::ACCEPTED, State::True, conditions::VALID, message)
        }
        Err(refusal) => say(conditions::ACCEPTED, State::False, refusal.reason.as_str(), refusal.message.clone()),
    }
}

fn conditions_of(standing: &Standing<'_>) -> [Said; 5] {
    match standing {
        Standing::Suspended => suspended(),
        Standing::Refused(refusal) => nothing_known(conditions::NOT_ACCEPTED, &refusal.message),
        Standing::NoAccounts(left_out) => nothing_known(
            conditions::NO_ACCOUNTS,
            &format!(
                "no AWSAccount that matches grants this namespace what the baseline asks for ({left_out} left out): see its spec.namespaces and its condition Ready"
            ),
        ),
        Standing::InEffect(seen) => seen_conditions(seen),
    }
}

fn suspended() -> [Said; 5] {
    use conditions::{COMPLIANT, NOT_STALLED, OBSERVED, READY, RECONCILING, STALLED, SUSPENDED};
    const WHY: &str = "spec.suspend is true: nothing is looked at and nothing is written; the counts are from before";
    [
        say(OBSERVED, State::Unknown, SUSPENDED, WHY),
        say(COMPLIANT, State::Unknown, SUSPENDED, WHY),
        say(RECONCILING, State::False, SUSPENDED, WHY),
        say(STALLED, State::False, NOT_STALLED, "suspended on purpose"),
        say(READY, State::False, SUSPENDED, WHY),
    ]
}

/// The conditions of a baseline that cannot look at anything before a person mends it.
fn nothing_known(reason: &'static str, why: &str) -> [Said; 5] {
    use conditions::{COMPLIANT, OBSERVED, READY, RECONCILING, STALLED};
    [
        say(OBSERVED, State::Unknown, reason, why),
        say(COMPLIANT, State::Unknown, reason, why),
        say(RECONCILING, State::False, reason, why),
        say(STALLED, State::True, reason, why),
        say(READY, State::False, reason, why),
    ]
}

fn seen_conditions(seen: &Seen<'_>) -> [Said; 5] {
    let observed = observation(seen);
    let (Update { state, reason, .. }, message) = &observed;
    let ready = match state {
        State::True => {
            let message = format!("{} resources seen at this generation", seen.summary.resources);
            say(conditions::READY, State::True, conditions::OBSERVED_AT_GENERATION, message)
        }
        state => say(conditions::READY, *state, reason, message.clone()),
    };
    [observed, compliance(seen), reconciling(seen), stalled(seen), ready]
}

fn observation(seen: &Seen<'_>) -> Said {
    let failures = seen.failures();
    match failures.as_slice() {
        [first, ..] => {
            let same = failures.iter().all(|failure| failure == first);
            let reason = if same { first.reason() } else { conditions::SOME_CELLS_UNREAD };
            let count = failures.len();
            let message = format!(
                "{count} of {} account and region pair(s) could not be read whole: {}",
                seen.wanted,
                first.advice()
            );
            say(conditions::OBSERVED, State::False, reason, message)
        }
        [] if !seen.complete() => say(
            conditions::OBSERVED,
            State::Unknown,
            conditions::NOT_YET_OBSERVED,
            format!("{} of {} account and region pair(s) seen at this generation", seen.current.len(), seen.wanted),
        ),
        [] => {
            let message = format!("all {} account and region pair(s) read whole", seen.wanted);
            say(conditions::OBSERVED, State::True, conditions::ALL_CELLS_READ, message)
        }
    }
}

fn compliance(seen: &Seen<'_>) -> Said {
    let Summary { resources, failing_resources, verdicts, violations, worst, .. } = &seen.summary;
    let critical = violations.get(&Severity::Critical).copied().unwrap_or_default();
    if verdicts.fail > 0 {
        let reason = if critical > 0 { conditions::CRITICAL_VIOLATIONS } else { conditions::VIOLATIONS };
        let mut message = format!(
            "{} violations on {failing_resources} of {resources} resources, {critical} critical",
            verdicts.fail
        );
        if let Some(first) = worst.first()
            && let engine::finding::Verdict::Fail { actual, .. } = &first.finding.verdict
        {
            message.push_str(&format!(": {} {actual}", first.finding.resource));
        }
        return say(conditions::COMPLIANT, State::False, reason, message);
    }
    if !seen.complete() {
        return say(
            conditions::COMPLIANT,
            State::Unknown,
            conditions::NOT_YET_OBSERVED,
            "not everything was seen yet at this generation",
        );
    }
    let unread = seen.failures().len();
    if verdicts.unknown > 0 || unread > 0 {
        let message = match verdicts.unknown {
            0 => format!(
                "no violation is known, but {unread} of {} account and region pair(s) could not be read: see Observed",
                seen.wanted
            ),
            unknown => {
                format!("no violation is known, but {unknown} verdicts are unknown: see Observed and status.worst")
            }
        };
        return say(conditions::COMPLIANT, State::Unknown, conditions::UNKNOWN_VERDICTS, message);
    }
    say(conditions::COMPLIANT, State::True, conditions::NO_VIOLATIONS, format!("no violation on {resources} resources"))
}

/// Reasons to hold an edit back that pass without a person.
const PASSING: [Withheld; 3] = [Withheld::SweepLimit, Withheld::ForeignChange, Withheld::NotLeader];

fn reconciling(seen: &Seen<'_>) -> Said {
    if !seen.complete() {
        return say(conditions::RECONCILING, State::True, conditions::SWEEPING, "this generation is being looked at");
    }
    let waiting: u64 = PASSING.iter().filter_map(|reason| seen.summary.withheld.get(reason.reason())).sum();
    let verified: u64 = seen.reports().map(|cell| cell.verified).sum();
    if verified + waiting > 0 {
        let message = format!("{verified} edits made in the last sweep, {waiting} to follow");
        return say(conditions::RECONCILING, State::True, conditions::REPAIRING, message);
    }
    let others: Vec<&str> = seen.summary.conflicts.iter().map(String::as_str).collect();
    let message = match others.as_slice() {
        [] => "nothing to do that may be done".to_owned(),
        others => format!("contradicts {}: where they meet nothing is written until they agree", others.join(", ")),
    };
    say(conditions::RECONCILING, State::False, conditions::AT_REST, message)
}

/// Stalled is what no retry mends: a cell that AWS throttles, or that does not answer, may be read the next time.
fn stalled(seen: &Seen<'_>) -> Said {
    if seen.summary.withheld.contains_key(conditions::CANARY_FAILED) {
        let message =
            "what was changed first went wrong: read it with kubectl get chg, then approve a change set to go on";
        return say(conditions::STALLED, State::True, conditions::CANARY_FAILED, message);
    }
    if let Some(why) = seen.unheard.filter(|_| seen.summary.withheld.contains_key(Withheld::Approval.reason())) {
        let message = format!("no approval is honoured: {why}; apply what `baseward policies` prints");
        return say(conditions::STALLED, State::True, conditions::POLICIES_MISSING, message);
    }
    let failures: Vec<ReadFailure> = seen.reports().filter_map(|cell| cell.failure).collect();
    match failures.first() {
        Some(first) if failures.len() == seen.wanted && failures.iter().all(|failure| failure.needs_a_person()) => {
            say(conditions::STALLED, State::True, conditions::NO_CELL_READABLE, first.advice())
        }
        _ => say(conditions::STALLED, State::False, conditions::NOT_STALLED, "nothing waits for a person as a whole"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crds::conditions::{COMPLIANT, OBSERVED, RECONCILING, STALLED, find};
    use crds::{AWSAccount, BaselineObject, SecurityGroupBaseline};
    use engine::facts::Location;
    use engine::readiness::Readiness;

    use super::*;

    const HERE: &str = "eu-west-1";
    const ELSEWHERE: &str = "eu-central-1";

    /// A baseline on one region of an account that has two.
    fn judged() -> Judged {
        let account: AWSAccount = serde_json::from_value(serde_json::json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "AWSAccount", "metadata": {"name": "one"},
            "spec": {
                "accountId": "111122223333", "regions": [HERE, ELSEWHERE],
                "namespaces": [{"name": "team", "maxMode": "Audit"}],
            },
        }))
        .unwrap();
        let object: SecurityGroupBaseline = serde_json::from_value(serde_json::json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "SecurityGroupBaseline",
            "metadata": {"name": "edge", "namespace": "team", "uid": "u", "generation": 1},
            "spec": {"accounts": {"names": ["one"]}, "select": {"all": true}, "regions": [HERE]},
        }))
        .unwrap();
        let baseline = object.compile(&BTreeMap::new());
        let accepted = baseline.accept(&[account.compile()]);
        let (reconcile_at, interval) = (Some("now".to_owned()), object.spec.common.interval());
        Judged { baseline, reconcile_at, interval, accepted, unheard: None }
    }

    fn report(region: &str, failure: Option<ReadFailure>) -> CellReport {
        CellReport {
            reference: judged().baseline.reference,
            location: Location { account: "111122223333".to_owned(), region: region.to_owned() },
            swept_at: Timestamp::UNIX_EPOCH,
            counted_at: failure.is_none().then_some(Timestamp::UNIX_EPOCH),
            oldest_fact: failure.is_none().then_some(Timestamp::UNIX_EPOCH),
            failure,
            partial: Vec::new(),
            resources: if failure.is_none() { 3 } else { 0 },
            failing_resources: 0,
            controls: Vec::new(),
            worst: Vec::new(),
            withheld: BTreeMap::new(),
            failures: BTreeMap::new(),
            verified: 0,
            conflicts: BTreeSet::new(),
            readiness: None,
        }
    }

    fn reported(report: CellReport, reconcile_at: &str) -> Arc<Reported> {
        Arc::new(Reported { report, reconcile_at: Some(reconcile_at.to_owned()) })
    }

    fn condition(status: &BaselineStatus, kind: &str) -> (String, String, String) {
        let found = find(&status.conditions, kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }

    #[test]
    fn cells_that_the_baseline_no_longer_applies_to_do_not_count() {
        let (here, elsewhere) = (reported(report(HERE, None), "now"), reported(report(ELSEWHERE, None), "before"));
        let both = status(&judged(), &[here, Arc::clone(&elsewhere)], None, Timestamp::UNIX_EPOCH);
        assert_eq!((both.resources, both.cells_total), (Some(3), Some(1)));
        assert_eq!(both.last_handled_reconcile_at.as_deref(), Some("now"));
        assert_eq!(condition(&both, OBSERVED).0, "True");
        let gone = status(&judged(), &[elsewhere], None, Timestamp::UNIX_EPOCH);
        assert_eq!((gone.resources, condition(&gone, OBSERVED).0.as_str()), (None, "Unknown"));
        assert_eq!(gone.last_handled_reconcile_at, None);
    }

    #[test]
    fn what_could_never_be_read_is_not_counted_as_nothing() {
        let blind = |failure, previous: Option<&BaselineStatus>| {
            status(&judged(), &[reported(report(HERE, Some(failure)), "now")], previous, Timestamp::UNIX_EPOCH)
        };
        let denied = blind(ReadFailure::AccessDenied, None);
        assert_eq!((denied.resources, denied.violations, denied.cells_total), (None, None, Some(1)));
        let (state, _, message) = condition(&denied, COMPLIANT);
        assert_eq!(
            (state.as_str(), message.contains("1 of 1 account and region pair(s) could not be read")),
            ("Unknown", true)
        );
        assert_eq!(condition(&denied, STALLED).0, "True");
        assert_eq!(condition(&blind(ReadFailure::Throttled, None), STALLED).0, "False");
        let previous = BaselineStatus { resources: Some(7), ..BaselineStatus::default() };
        assert_eq!(blind(ReadFailure::AccessDenied, Some(&previous)).resources, Some(7));
    }

    #[test]
    fn only_a_baseline_in_audit_shows_what_enforce_would_do() {
        let report = CellReport { readiness: Some(Readiness::default()), ..report(HERE, None) };
        let in_audit = status(&judged(), &[reported(report, "now")], None, Timestamp::UNIX_EPOCH);
        assert!(in_audit.enforce_readiness.is_some());
        let mut switched = judged();
        switched.baseline.mode = Mode::Enforce;
        switched.baseline.reference.generation = 2;
        let kept = status(&switched, &[], Some(&in_audit), Timestamp::UNIX_EPOCH);
        assert_eq!((kept.resources, kept.enforce_readiness), (Some(3), None));
    }

    #[test]
    fn a_baseline_names_those_that_contradict_it() {
        let conflicts = BTreeSet::from(["other/edge".to_owned()]);
        let report = CellReport { conflicts, ..report(HERE, None) };
        let status = status(&judged(), &[reported(report, "now")], None, Timestamp::UNIX_EPOCH);
        let (state, reason, message) = condition(&status, RECONCILING);
        assert_eq!((state.as_str(), reason.as_str()), ("False", "AtRest"));
        assert!(message.starts_with("contradicts other/edge"), "{message}");
    }
}
