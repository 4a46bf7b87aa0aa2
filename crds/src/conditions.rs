//! Conditions: their types and reasons with their polarity, and the one function that updates them.
//!
//! A positive condition is `True` when all is well. An abnormal one is `True` when a person should look. `Unknown`
//! always means that the controller does not know.

use engine::report::cut;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::account::AWSAccountStatus;
use crate::baseline::BaselineStatus;

/// Positive, on baselines. `True` ([`VALID`]): the spec can be used and every account grants what it asks for.
/// `False`: it has no effect at all; the reason is one of [`engine::desired::Reason`], or [`UNDECODABLE`].
///
/// Positive, on approvals. `True` ([`HONOURED`]): the change set follows it. `False`: it never will
/// ([`NO_SUCH_CHANGE_SET`], [`HASH_MISMATCH`], [`NOT_OPEN`], [`POLICIES_MISSING`], [`UNKNOWN_ACCOUNT`], [`UNDECODABLE`]).
/// `Unknown` ([`PENDING`]): nobody has acted on it yet.
pub const ACCEPTED: &str = "Accepted";

/// Positive, on baselines. `True` ([`ALL_CELLS_READ`]): every account and region was read whole at this generation.
/// `False`: some were not ([`SOME_CELLS_UNREAD`], or the [`engine::facts::ReadFailure`] that they have in common).
/// `Unknown` ([`NOT_YET_OBSERVED`]): the first sweep at this generation is under way.
pub const OBSERVED: &str = "Observed";

/// Positive, on baselines. `True` ([`NO_VIOLATIONS`]): every control passes on every selected resource, or has nothing
/// to say. `False` ([`CRITICAL_VIOLATIONS`], [`VIOLATIONS`]): some fail. `Unknown` ([`UNKNOWN_VERDICTS`],
/// [`NOT_YET_OBSERVED`], [`NOT_ACCEPTED`]): nothing is known to fail, and not all is known.
pub const COMPLIANT: &str = "Compliant";

/// Abnormal for a while, on baselines. `True` ([`SWEEPING`]: not all cells have seen this generation; [`REPAIRING`]:
/// edits were made or are due). `False` ([`AT_REST`], [`SUSPENDED`]).
pub const RECONCILING: &str = "Reconciling";

/// Abnormal, on baselines. `True`: the whole baseline waits for a person ([`NOT_ACCEPTED`],
/// [`NO_ACCOUNTS`], [`NO_CELL_READABLE`], [`CANARY_FAILED`]). `False` ([`NOT_STALLED`]). One blocked resource stalls no baseline, and neither
/// does what may pass by itself.
pub const STALLED: &str = "Stalled";

/// Positive, on baselines and accounts: what `kubectl wait` and `helm --wait` wait for.
///
/// A baseline is ready ([`OBSERVED_AT_GENERATION`]) when it is accepted and observed at this generation, whatever it
/// saw; else `False` ([`NOT_ACCEPTED`], [`NO_ACCOUNTS`], [`SOME_CELLS_UNREAD`], [`SUSPENDED`], [`UNDECODABLE`]) or
/// `Unknown` ([`NOT_YET_OBSERVED`]). An account is ready ([`IDENTITY_PROVEN`]) when its roles are proven to be of this
/// account in every region. It is `False` where a person has to mend something ([`IDENTITY_MISMATCH`],
/// [`DUPLICATE_ACCOUNT`], [`UNDECODABLE`], or a [`engine::facts::ReadFailure`]), and `Unknown` where AWS could not be
/// asked, which may pass ([`IDENTITY_UNKNOWN`], or a [`engine::facts::ReadFailure`]).
pub const READY: &str = "Ready";

/// Positive, on exemptions. `True` ([`IN_EFFECT`], [`EXPIRES_SOON`]): the findings stand. `False`: it is over ([`EXPIRED`]) or
/// cannot be used ([`INVALID_SPEC`], [`UNDECODABLE`]).
pub const ACTIVE: &str = "Active";

/// Every type of condition that the controller sets. What others set is theirs.
pub const KINDS: [&str; 7] = [ACCEPTED, OBSERVED, COMPLIANT, RECONCILING, STALLED, READY, ACTIVE];

/// [`ACTIVE`] is `True`.
pub const IN_EFFECT: &str = "InEffect";
/// [`ACTIVE`] is `True`, for at most 14 more days.
pub const EXPIRES_SOON: &str = "ExpiresSoon";
/// [`ACTIVE`] is `False`: the exemption has ended.
pub const EXPIRED: &str = "Expired";
/// [`ACTIVE`] is `False`: the spec passes the schema and still cannot be used.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// [`ACCEPTED`] of a baseline is `True`.
pub const VALID: &str = "Valid";
/// [`ACCEPTED`] of an approval is `True`.
pub const HONOURED: &str = "Honoured";
/// [`ACCEPTED`] of an approval is `Unknown`: it was seen, and the change set does not follow it yet.
pub const PENDING: &str = "Pending";
/// [`ACCEPTED`] of an approval is `False`: its namespace has no change set of that name.
pub const NO_SUCH_CHANGE_SET: &str = "NoSuchChangeSet";
/// [`ACCEPTED`] of an approval is `False`: the change set holds other edits than those that were read.
pub const HASH_MISMATCH: &str = "HashMismatch";
/// [`ACCEPTED`] of an approval is `False`: there is nothing left to decide, as the change set was superseded, has expired, or
/// was decided already.
pub const NOT_OPEN: &str = "NotOpen";
/// [`ACCEPTED`] of an approval is `False`: nothing is as the change set left it, so there is nothing to put back.
pub const CHANGED_SINCE: &str = "ChangedSince";
/// [`ACCEPTED`] of an approval is `False`, and [`STALLED`] of a baseline whose edits wait for one is `True`: the admission policies are not in force (see [`crate::policy::missing`]), so nobody can
/// know who wrote it.
pub const POLICIES_MISSING: &str = "PoliciesMissing";
/// [`ACCEPTED`] of an approval is `False`: there is no account for what it is about.
pub const UNKNOWN_ACCOUNT: &str = "UnknownAccount";
/// [`OBSERVED`] is `True`.
pub const ALL_CELLS_READ: &str = "AllCellsRead";
/// [`OBSERVED`] or [`READY`] is `False`: cells fail for different reasons, each shown in `status.cells`.
pub const SOME_CELLS_UNREAD: &str = "SomeCellsUnread";
/// Nothing was seen yet at this generation.
pub const NOT_YET_OBSERVED: &str = "NotYetObserved";
/// [`COMPLIANT`] is `True`.
pub const NO_VIOLATIONS: &str = "NoViolations";
/// [`COMPLIANT`] is `False`, with at least one critical violation.
pub const CRITICAL_VIOLATIONS: &str = "CriticalViolations";
/// [`COMPLIANT`] is `False`, without a critical violation.
pub const VIOLATIONS: &str = "Violations";
/// [`COMPLIANT`] is `Unknown`: nothing fails, and some verdicts could not be reached.
pub const UNKNOWN_VERDICTS: &str = "UnknownVerdicts";
/// [`RECONCILING`] is `True`: cells have yet to look at this generation.
pub const SWEEPING: &str = "Sweeping";
/// [`RECONCILING`] is `True`: edits were made in the last sweep, or are to be made in the next.
pub const REPAIRING: &str = "Repairing";
/// [`RECONCILING`] is `False`.
pub const AT_REST: &str = "AtRest";
/// The baseline has `suspend: true`.
pub const SUSPENDED: &str = "Suspended";
/// [`ACCEPTED`] is `False`, which explains why.
pub const NOT_ACCEPTED: &str = "NotAccepted";
/// No account that matches grants the namespace anything.
pub const NO_ACCOUNTS: &str = "NoAccounts";
/// No cell of the baseline can be read.
pub const NO_CELL_READABLE: &str = "NoCellReadable";
/// What was changed first went wrong: the rest waits for an approval.
pub const CANARY_FAILED: &str = "CanaryFailed";
/// [`STALLED`] is `False`.
pub const NOT_STALLED: &str = "NotStalled";
/// [`READY`] of a baseline is `True`.
pub const OBSERVED_AT_GENERATION: &str = "ObservedAtGeneration";
/// [`READY`] of an account is `True`.
pub const IDENTITY_PROVEN: &str = "IdentityProven";
/// [`READY`] of an account is `False`: a role is of another account than `spec.accountId`.
pub const IDENTITY_MISMATCH: &str = "IdentityMismatch";
/// [`READY`] of an account is `Unknown`: AWS did not answer in time.
pub const IDENTITY_UNKNOWN: &str = "IdentityUnknown";
/// [`READY`] of an account is `False`: an older object is for the same account, and that one counts.
pub const DUPLICATE_ACCOUNT: &str = "DuplicateAccount";
/// [`READY`], and [`ACCEPTED`] of a baseline, are `False`: the stored object does not fit the program.
pub const UNDECODABLE: &str = "Undecodable";

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    True,
    /// It does not.
    False,
    /// The controller does not know.
    Unknown,
}

impl State {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// One of the types above.
    pub kind: &'static str,
    /// Whether it holds.
    pub state: State,
    /// Why, in one word: one of the reasons above, or one of the engine's.
    pub reason: &'a str,
    /// Why, in one sentence that does not change while nothing changes: no request ids, no times.
    pub message: &'a str,
}

/// Sets one condition at its place in the list, or at the end. `lastTransitionTime` moves only when the state flips.
pub fn set(conditions: &mut Vec<Condition>, update: &Update<'_>, observed_generation: Option<i64>, now: Timestamp) {
    let Update { kind, state, reason, message } = update;
    let place = conditions.iter_mut().find(|condition| condition.type_ == *kind);
    let since = match &place {
        Some(old) if old.status == state.as_str() => old.last_transition_time.clone(),
        _ => Time(now),
    };
    let condition = Condition {
        type_: (*kind).to_owned(),
        status: state.as_str().to_owned(),
        reason: (*reason).to_owned(),
        message: sentence(message),
        last_transition_time: since,
        observed_generation,
    };
    match place {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

/// The condition of this type.
pub fn find<'c>(conditions: &'c [Condition], kind: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// A text as a status may hold it: at most 256 bytes, cut between characters, without control characters.
pub fn sentence(text: &str) -> String {
    cut(text)
}

/// A status that holds times which alone are no reason to write it.
pub trait Timed: Clone + PartialEq {
    /// The same status with those times taken out.
    fn without_times(self) -> Self;
}

impl Timed for BaselineStatus {
    fn without_times(mut self) -> Self {
        self.heartbeat = None;
        for cell in &mut self.cells {
            cell.last_sweep = None;
            // That there is none yet is news, which one it is is not.
            cell.oldest_fact = cell.oldest_fact.take().map(|_| Time(Timestamp::UNIX_EPOCH));
        }
        self.conditions.iter_mut().for_each(forget_transition);
        self
    }
}

impl Timed for AWSAccountStatus {
    fn without_times(mut self) -> Self {
        self.regions.iter_mut().for_each(|region| region.last_sweep = None);
        self.conditions.iter_mut().for_each(forget_transition);
        self
    }
}

impl Timed for Vec<Condition> {
    fn without_times(mut self) -> Self {
        self.iter_mut().for_each(forget_transition);
        self
    }
}

fn forget_transition(condition: &mut Condition) {
    condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
}

/// Whether two statuses differ in nothing but heartbeat, sweep and transition times: then none is written.
pub fn same_but_for_time<S: Timed>(one: &S, other: &S) -> bool {
    one.clone().without_times() == other.clone().without_times()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::CellStatus;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn compliant<'a>(state: State, message: &'a str) -> Update<'a> {
        Update { kind: COMPLIANT, state, reason: VIOLATIONS, message }
    }

    #[test]
    fn the_transition_time_moves_only_on_a_flip() {
        let mut conditions = Vec::new();
        set(&mut conditions, &compliant(State::False, "3 violations"), Some(1), at(10));
        set(&mut conditions, &compliant(State::False, "2 violations"), Some(2), at(20));
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!(conditions[0].message, "2 violations");
        assert_eq!(conditions[0].observed_generation, Some(2));
        set(&mut conditions, &compliant(State::True, "none"), Some(2), at(30));
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
        assert_eq!(find(&conditions, COMPLIANT).map(|found| found.status.as_str()), Some("True"));
    }

    #[test]
    fn the_order_of_the_list_stays() {
        let mut conditions = Vec::new();
        let update = |kind| Update { kind, state: State::True, reason: VALID, message: "" };
        for kind in [READY, ACCEPTED, OBSERVED, ACCEPTED, READY] {
            set(&mut conditions, &update(kind), None, at(1));
        }
        let kinds: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(kinds, [READY, ACCEPTED, OBSERVED]);
    }

    #[test]
    fn messages_are_cut_between_characters() {
        for length in 250..260 {
            let text = "x".repeat(length - 2) + "…" + &"ü".repeat(100);
            let short = sentence(&text);
            assert!(short.len() <= 256, "{}", short.len());
            assert!(short.ends_with('…'));
        }
        assert_eq!(sentence("two\nlines"), "two lines");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn times_alone_are_no_difference() {
        let status = |second, complete, handled: &str| {
            let mut status = BaselineStatus {
                heartbeat: Some(Time(at(second))),
                last_handled_reconcile_at: Some(handled.to_owned()),
                cells: vec![CellStatus {
                    account: "111122223333".to_owned(),
                    region: "eu-west-1".to_owned(),
                    last_sweep: Some(Time(at(second))),
                    oldest_fact: Some(Time(at(second))),
                    complete,
                    reason: None,
                }],
                ..BaselineStatus::default()
            };
            let update = Update { kind: READY, state: State::True, reason: OBSERVED, message: "" };
            set(&mut status.conditions, &update, Some(1), at(second));
            status
        };
        assert!(same_but_for_time(&status(1, true, "a"), &status(2, true, "a")));
        assert!(!same_but_for_time(&status(1, true, "a"), &status(1, false, "a")));
        assert!(!same_but_for_time(&status(1, true, "a"), &status(1, true, "b")));
        let mut unread = status(1, true, "a");
        unread.cells[0].oldest_fact = None;
        assert!(!same_but_for_time(&status(1, true, "a"), &unread), "not everything was read yet");
    }
}
