//! The status of a baseline, from what its cells last reported: pure, and computed whole every time.

use crds::BaselineStatus;
use crds::conditions::{self, State, Update};
use engine::desired::Refusal;
use engine::edit::Withheld;
use engine::facts::ReadFailure;
use engine::finding::Severity;
use engine::report::{CellReport, Summary, summarise};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::context::Reported;
use crate::store::Judged;

/// What the status says of the cells.
struct Seen<'r> {
    /// Cells that the baseline applies to.
    wanted: usize,
    /// Reports on this generation of the baseline.
    current: Vec<&'r CellReport>,
    summary: Summary,
    left_out: usize,
}

impl Seen<'_> {
    fn complete(&self) -> bool {
        self.current.len() == self.wanted
    }

    fn failures(&self) -> Vec<ReadFailure> {
        let failures = |cell: &&CellReport| cell.failure.or_else(|| cell.partial.first().map(|(_, failure)| *failure));
        self.current.iter().filter_map(failures).collect()
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
    fn of(judged: &'r Judged, reported: &'r [Reported]) -> Self {
        if judged.baseline.suspended {
            return Self::Suspended;
        }
        match &judged.accepted {
            Err(refusal) => Self::Refused(refusal),
            Ok(accepted) if accepted.assignments.cells.is_empty() => Self::NoAccounts(accepted.assignments.left_out),
            Ok(accepted) => {
                let reports = reported.iter().map(|reported| &reported.report);
                let current: Vec<&CellReport> =
                    reports.filter(|report| report.reference == judged.baseline.reference).collect();
                Self::InEffect(Box::new(Seen {
                    wanted: accepted.assignments.cells.len(),
                    summary: summarise(current.iter().copied()),
                    current,
                    left_out: accepted.assignments.left_out,
                }))
            }
        }
    }
}

/// The status that a baseline should have now. `previous` is the one it has.
pub fn status(
    judged: &Judged,
    reported: &[Reported],
    previous: Option<&BaselineStatus>,
    now: Timestamp,
) -> BaselineStatus {
    let generation = Some(judged.baseline.reference.generation);
    let kept = previous.cloned().unwrap_or_default();
    let handled = handled(judged, reported).or_else(|| kept.last_handled_reconcile_at.clone());
    let standing = Standing::of(judged, reported);
    let mut status = counts(&standing, kept);
    status.observed_generation = generation;
    status.last_handled_reconcile_at = handled;
    status.heartbeat = Some(Time(now));
    let mut said = vec![acceptance(judged)];
    said.extend(conditions_of(&standing));
    for (update, message) in said {
        let update = Update { message: &message, ..update };
        conditions::set(&mut status.conditions, &update, generation, now);
    }
    status
}

/// What is counted and listed. A baseline that is suspended, or whose new generation was not seen everywhere yet, keeps
/// what was last seen: half a look is no answer. One that sees nothing shows nothing.
fn counts(standing: &Standing<'_>, kept: BaselineStatus) -> BaselineStatus {
    match standing {
        Standing::Suspended => kept,
        Standing::InEffect(seen) if !seen.complete() => kept,
        Standing::InEffect(seen) => BaselineStatus {
            accounts_left_out: i64::try_from(seen.left_out).ok(),
            conditions: kept.conditions,
            ..BaselineStatus::from(&seen.summary)
        },
        Standing::Refused(_) | Standing::NoAccounts(_) => {
            BaselineStatus { conditions: kept.conditions, ..BaselineStatus::default() }
        }
    }
}

/// The annotation value that every cell has looked since, if they agree, as far as a status may hold it.
fn handled(judged: &Judged, reported: &[Reported]) -> Option<String> {
    let asked = judged.reconcile_at.as_ref()?;
    let all = !reported.is_empty() && reported.iter().all(|reported| reported.reconcile_at.as_ref() == Some(asked));
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
                "no AWSAccount that matches grants this namespace anything ({left_out} left out): its owner has to add it to spec.namespaces"
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
    if verdicts.unknown > 0 || !seen.failures().is_empty() {
        let message = format!(
            "no violation is known, but {} verdicts are unknown: see Observed and status.worst",
            verdicts.unknown
        );
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
    let verified: u64 = seen.current.iter().map(|cell| cell.verified).sum();
    if verified + waiting > 0 {
        let message = format!("{verified} edits made in the last sweep, {waiting} to follow");
        return say(conditions::RECONCILING, State::True, conditions::REPAIRING, message);
    }
    say(conditions::RECONCILING, State::False, conditions::AT_REST, "nothing to do that may be done")
}

fn stalled(seen: &Seen<'_>) -> Said {
    let unreadable = seen.current.iter().filter(|cell| cell.failure.is_some()).count();
    if seen.wanted > 0 && unreadable == seen.wanted {
        let advice = seen.failures().first().map(|failure| failure.advice()).unwrap_or_default();
        return say(conditions::STALLED, State::True, conditions::NO_CELL_READABLE, advice);
    }
    say(conditions::STALLED, State::False, conditions::NOT_STALLED, "nothing waits for a person as a whole")
}
