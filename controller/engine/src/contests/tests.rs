use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::approval::Warrant;
use crate::edit::{BaselineRef, Change, Demand, Impact};
use crate::facts::Tags;
use crate::plan::{ResourceOutcome, WithheldEdit};
use crate::report::Held;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The most repairs of a finding that is not urgent in a day, whatever the pattern: eight take 31 minutes, then two
/// hours of rest end the contest. Nine times that is 22 hours and 39 minutes, and leaves room for nine more.
const MOST_IN_A_DAY: usize = 9 * 8 + 9;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn edit(resource: &str, controls: &[&'static str], operation: Operation, severity: Severity) -> Edit {
    let baseline = BaselineRef {
        kind: crate::kind::Kind::SecurityGroup,
        namespace: "team".to_owned(),
        name: "edge".to_owned(),
        uid: String::new(),
        generation: 1,
    };
    let demand = |control: &&'static str| Demand { baseline: baseline.clone(), control };
    Edit {
        resource: resource.to_owned(),
        operation,
        change: Change::Tags { before: Tags::new(), after: Tags::new() },
        demands: controls.iter().map(demand).collect(),
        severity,
        exposed: 0,
        impact: Impact::None,
    }
}

fn urgent() -> Edit {
    edit("sg-1", &["sg-admin"], Operation::RemoveGrant, Severity::Critical)
}

fn tag() -> Edit {
    edit("sg-1", &["sg-tagged"], Operation::AddTags, Severity::Low)
}

fn swept(edits: &[Edit], outcome: &Outcome, second: i64) -> Applied {
    let outcome = ResourceOutcome {
        id: "sg-1".to_owned(),
        edits: edits.to_vec(),
        warrant: Warrant::Baselines,
        outcome: outcome.clone(),
        calls_verified: 0,
        request_ids: Vec::new(),
        finished_at: at(second),
    };
    Applied { outcomes: vec![outcome], withheld: Vec::new() }
}

fn repaired(edits: &[Edit], second: i64) -> Applied {
    swept(edits, &Outcome::Verified, second)
}

fn after(edits: &[Edit], repairs: &[i64]) -> Contests {
    let mut contests = Contests::default();
    repairs.iter().for_each(|second| contests.note(&repaired(edits, *second)));
    contests
}

/// The pauses before so many repairs, if the finding is always back at once.
fn pauses(edit: &Edit, count: usize) -> Vec<u64> {
    let (mut contests, mut now) = (Contests::default(), 0);
    let pause = |_| {
        let due = contests.next_due(at(now)).unwrap_or_default().as_secs();
        now += i64::try_from(due).unwrap().max(1);
        assert_eq!(contests.waits(edit, at(now)), None);
        contests.note(&repaired(std::slice::from_ref(edit), now));
        contests.prune(at(now));
        due
    };
    (0..count).map(pause).collect()
}

#[test]
fn pauses_double_up_to_an_hour_and_up_to_five_minutes_where_only_critical_access_goes() {
    let patient = [0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600];
    assert_eq!(pauses(&tag(), 11), patient);
    assert_eq!(pauses(&urgent(), 8), [0, 0, 0, 60, 120, 240, 300, 300]);
    for operation in [Operation::NarrowGrant, Operation::AddGrant] {
        assert_eq!(pauses(&Edit { operation, ..urgent() }, 8), pauses(&urgent(), 8));
    }
    for other in
        [Edit { operation: Operation::DescribeGrant, ..urgent() }, Edit { severity: Severity::High, ..urgent() }]
    {
        assert_eq!(pauses(&other, 11), patient);
    }
}

#[test]
fn three_repairs_within_an_hour_begin_a_contest_and_fewer_do_not() {
    let contest = Contest { repairs: 3, since: at(0), next: at(HOUR + MINUTE), rival: Rival::Unknown };
    let contests = after(&[tag()], &[0, 1, HOUR]);
    assert_eq!(contests.waits(&tag(), at(HOUR + 1)), Some(contest.clone()));
    assert_eq!(contests.waits(&tag(), at(HOUR + MINUTE - 1)), Some(contest));
    assert_eq!(contests.waits(&tag(), at(HOUR + MINUTE)), None);
    assert_eq!(contests.waits(&Edit { resource: "sg-2".to_owned(), ..tag() }, at(HOUR + 1)), None);
    for quiet in [&[0, 1][..], &[0, 1, HOUR + 1], &[0, 0, 0, 0]] {
        let contests = after(&[tag(), tag()], quiet);
        assert_eq!(contests.waits(&tag(), at(HOUR + 1)), None);
        assert_eq!(contests.next_due(at(0)), None);
    }
    let contests = after(&[tag()], &[0, HOUR - 1, HOUR + 1, HOUR + 2]);
    assert_eq!(contests.waits(&tag(), at(HOUR + 3)).map(|contest| contest.since), Some(at(HOUR - 1)));
}

#[test]
fn only_what_was_verified_is_a_repair() {
    let mut contests = Contests::default();
    for second in 0..9 {
        contests.note(&swept(&[tag()], &Outcome::Withheld(Withheld::ForeignChange), second));
    }
    assert_eq!(contests.waits(&tag(), at(9)), None);
}

#[test]
fn a_contest_outlasts_its_longest_pause_and_is_over_after_two_hours_without_a_repair() {
    let mut contests = after(&[tag()], &[0, 1, 2]);
    contests.prune(at(2 + 2 * HOUR - 1));
    contests.note(&repaired(&[tag()], 2 + 2 * HOUR - 1));
    let last = 2 + 2 * HOUR - 1;
    let contest = Contest { repairs: 4, since: at(0), next: at(last + 2 * MINUTE), rival: Rival::Unknown };
    assert_eq!(contests.waits(&tag(), at(last)), Some(contest));
    let mut pruned = contests.clone();
    pruned.prune(at(last + 2 * HOUR));
    assert_eq!(pruned.repaired.len(), 0);
    contests.note(&repaired(&[tag()], last + 2 * HOUR));
    assert_eq!(contests.waits(&tag(), at(last + 2 * HOUR)), None, "also if nobody has pruned");
}

#[test]
fn neither_pace_nor_another_control_lengthens_a_pause() {
    let mut contests = after(&[tag(), urgent()], &[0, 1, 2]);
    let next = |contests: &Contests, edit: &Edit| contests.waits(edit, at(3)).map(|contest| contest.next);
    let of_both = edit("sg-1", &["sg-admin", "sg-closed"], Operation::RemoveGrant, Severity::Critical);
    let wide = Edit { severity: Severity::High, ..urgent() };
    assert_eq!(next(&contests, &urgent()), Some(at(2 + MINUTE)));
    assert_eq!(next(&contests, &of_both), None);
    assert_eq!(next(&contests, &wide), None);
    contests.note(&repaired(&[tag()], 2 + MINUTE));
    assert_eq!(next(&contests, &urgent()), Some(at(2 + MINUTE)));
}

#[test]
fn the_rest_of_a_repair_that_had_no_room_is_not_the_same_finding_back() {
    let part = |second| Applied {
        withheld: vec![WithheldEdit { edit: urgent(), reason: Withheld::SweepLimit }],
        ..repaired(&[urgent(), tag()], second)
    };
    let mut contests = Contests::default();
    (0..9).for_each(|second| contests.note(&part(second)));
    assert_eq!(contests.waits(&urgent(), at(9)), None);
    assert!(contests.waits(&tag(), at(9)).is_some());
}

#[test]
fn a_contest_is_told_once_when_the_finding_is_back_whether_it_waits_or_not() {
    let mut contests = after(&[tag()], &[0, 1]);
    assert_eq!(contests.newly(&tag(), at(2)), None);
    contests.note(&repaired(&[tag()], 2));
    let contest = Contest { repairs: 3, since: at(0), next: at(2 + MINUTE), rival: Rival::Unknown };
    assert_eq!(contests.clone().newly(&tag(), at(3)), Some(contest.clone()));
    assert_eq!(contests.newly(&tag(), at(HOUR)), Some(contest));
    assert_eq!(contests.newly(&tag(), at(HOUR)), None);
    contests.note(&repaired(&[tag()], HOUR));
    assert_eq!(contests.newly(&tag(), at(HOUR + 1)), None);
    (0..3).for_each(|second| contests.note(&repaired(&[tag()], 4 * HOUR + second)));
    assert!(contests.newly(&tag(), at(4 * HOUR + 3)).is_some(), "another contest");
}

#[test]
fn a_rival_is_looked_for_from_the_telling_of_a_contest_to_its_end_and_named_for_all_that_he_undoes() {
    let other = edit("sg-1", &["sg-staged"], Operation::AddTags, Severity::Low);
    let mut contests = after(&[tag(), other.clone(), urgent()], &[0, 1, 2]);
    assert_eq!(contests.look(at(3)), None, "nobody has undone the last repair yet");
    assert!(contests.newly(&tag(), at(3)).is_some());
    assert_eq!(contests.look(at(3)), Some(Look { subject: Subject::from(&tag()), since: at(0) }));
    contests.seen(&Subject::from(&tag()), Seen::Somebody("arn".to_owned()), at(3));
    for (edit, rival) in
        [(tag(), Rival::Named("arn".to_owned())), (other, Rival::Named("arn".to_owned())), (urgent(), Rival::Unknown)]
    {
        assert_eq!(contests.waits(&edit, at(4)).map(|contest| contest.rival), Some(rival));
    }
    contests.prune(at(4));
    assert_eq!((contests.look(at(HOUR)), contests.rival(&tag())), (None, Rival::Named("arn".to_owned())));
    contests.prune(at(3 * HOUR));
    assert_eq!(contests.rival(&tag()), Rival::Unknown);
}

#[test]
fn who_undoes_it_is_told_or_why_he_is_not() {
    let terraform = "arn:aws:sts::111122223333:assumed-role/terraform/ci";
    let longest = "arn:aws:sts::111122223333:assumed-role/".to_owned() + &"x".repeat(69);
    for (rival, said) in [
        (Rival::Unknown, "somebody else after 4 repairs: find out who;"),
        (Rival::NotShown, "somebody whom CloudTrail does not show after 4 repairs: find out who;"),
        (Rival::NotAllowed, "somebody else after 4 repairs: the read role is not allowed cloudtrail:LookupEvents;"),
        (Rival::Named(terraform.to_owned()), &format!("{terraform} after 4 repairs: change one of the two;")),
        (Rival::Named(longest.clone()), &format!("{longest} after 4 repairs: ")),
    ] {
        let contest = Contest { repairs: 4, since: at(0), next: at(60), rival };
        let (explained, in_status) = (contest.explain(), Held::from(&Withheld::Contested(contest)).advice);
        assert!(explained.starts_with(&format!("undone by {said}")), "{explained}");
        assert!(explained.ends_with("; next repair at 1970-01-01T00:01:00Z"), "{explained}");
        assert!(in_status == explained || said.contains("arn:"), "{in_status}");
        assert!(in_status.contains("after 4 repairs"), "{in_status}");
    }
}

#[test]
fn what_is_restored_counts_as_what_was_noted() {
    for (edit, control) in [(urgent(), "sg-admin"), (tag(), "sg-tagged")] {
        let repairs = [0, 1, 2, 62];
        let (noted, mut restored) = (after(std::slice::from_ref(&edit), &repairs), Contests::default());
        let subject = Subject::from(&edit);
        repairs.iter().for_each(|second| restored.restore(&subject, control, at(*second)));
        assert_eq!(restored.waits(&edit, at(63)), noted.waits(&edit, at(63)));
        assert!(restored.waits(&edit, at(63)).is_some());
        restored.restore(&subject, control, at(30));
        assert_eq!(restored.waits(&edit, at(63)), noted.waits(&edit, at(63)));
        assert_eq!(restored.newly(&edit, at(63)), None, "the earlier process has told it");
    }
}

#[test]
fn a_contest_that_had_just_begun_when_the_process_ended_is_not_told_again() {
    let mut restored = Contests::default();
    [0, 1, 2].into_iter().for_each(|second| restored.restore(&Subject::from(&tag()), "sg-tagged", at(second)));
    assert!(restored.waits(&tag(), at(3)).is_some());
    assert_eq!(restored.newly(&tag(), at(3)), None);
    assert_eq!(
        restored.look(at(3)).map(|look| look.subject.resource).as_deref(),
        Some("sg-1"),
        "his name is not known any more"
    );
    assert_eq!(after(&[tag()], &[0, 1, 2]).newly(&tag(), at(3)).map(|contest| contest.repairs), Some(3));
}

#[test]
fn a_day_of_toggling_is_31_repairs_and_no_pattern_makes_more_than_81() {
    let constant = [1].repeat(DAY.unsigned_abs() as usize);
    let repairs = |gaps: &[i64], edit: Edit| {
        let first = gaps[0];
        let day = |repair: &&Repair| repair.made - first <= DAY;
        fight(gaps.iter().map(|gap| (*gap, vec![edit.clone()]))).iter().filter(day).count()
    };
    assert_eq!(repairs(&constant, tag()), 31);
    assert_eq!(repairs(&constant, urgent()), 292);
    let mut best = [2 * HOUR, 1, 1, 61, 121, 241, 481, 961].repeat(10);
    best.push(1921);
    assert_eq!(repairs(&best, tag()), MOST_IN_A_DAY);
}

struct Repair {
    edit: Edit,
    seen: i64,
    made: i64,
}

/// What comes of a rival who brings back some findings, each time so many seconds after the last time.
fn fight(steps: impl Iterator<Item = (i64, Vec<Edit>)>) -> Vec<Repair> {
    let (mut contests, mut open, mut repairs, mut now) = (Contests::default(), Vec::new(), Vec::new(), 0);
    let mut settle = |open: &mut Vec<(Edit, i64)>, now: &mut i64, until: i64| {
        while *now <= until && !open.is_empty() {
            contests.prune(at(*now));
            let due = |(edit, _): &mut (Edit, i64)| contests.waits(edit, at(*now)).is_none();
            let made: Vec<(Edit, i64)> = open.extract_if(.., due).collect();
            let edits: Vec<Edit> = made.iter().map(|(edit, _)| edit.clone()).collect();
            contests.note(&repaired(&edits, *now));
            repairs.extend(made.into_iter().map(|(edit, seen)| Repair { edit, seen, made: *now }));
            let next =
                contests.next_due(at(*now)).map_or(until + 1, |due| *now + i64::try_from(due.as_secs()).unwrap());
            *now = if open.is_empty() { *now } else { next };
        }
        *now = until;
    };
    let mut toggled = 0;
    for (gap, edits) in steps {
        toggled += gap;
        settle(&mut open, &mut now, toggled - 1);
        now = toggled;
        for edit in edits {
            if !open.iter().any(|(other, _)| *other == edit) {
                open.push((edit, now));
            }
        }
    }
    settle(&mut open, &mut now, toggled + DAY);
    repairs
}

fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match default.rng_seed {
        RngSeed::Random => ProptestConfig { rng_seed: RngSeed::Fixed(6), ..default },
        RngSeed::Fixed(_) => default,
    }
}

/// Seconds between two times that a rival does something.
fn gaps() -> impl Strategy<Value = i64> {
    prop_oneof![1..5i64, 1..5 * MINUTE, 1..HOUR, HOUR - 5..HOUR + 5, 2 * HOUR - 5..2 * HOUR + 5]
}

/// What a rival may bring back: findings of one group with the controls and severities in any mix.
fn edits() -> impl Strategy<Value = Edit> {
    let controls = prop::sample::subsequence(vec!["sg-admin", "sg-closed", "sg-tagged"], 1..=3);
    let operations = [Operation::RemoveGrant, Operation::NarrowGrant, Operation::AddGrant, Operation::AddTags];
    let severities = [Severity::Low, Severity::High, Severity::Critical];
    (controls, prop::sample::select(operations.to_vec()), prop::sample::select(severities.to_vec()))
        .prop_map(|(controls, operation, severity)| edit("sg-1", &controls, operation, severity))
}

fn is_urgent(edit: &Edit) -> bool {
    let changes_access = [Operation::RemoveGrant, Operation::NarrowGrant, Operation::AddGrant];
    edit.severity == Severity::Critical && changes_access.contains(&edit.operation)
}

proptest! {
    #![proptest_config(config())]

    /// Whatever else a rival toggles, a way in that is open to everybody is closed within five minutes, and all else
    /// within an hour.
    #[test]
    fn no_pattern_switches_repairs_off(
        steps in prop::collection::vec((gaps(), prop::collection::vec(edits(), 1..5)), 1..200)
    ) {
        let asked = steps.len();
        let repairs = fight(steps.into_iter());
        prop_assert!(repairs.len() >= asked.min(1));
        for Repair { edit, seen, made } in repairs {
            let longest = if is_urgent(&edit) { 5 * MINUTE } else { HOUR };
            prop_assert!(made - seen <= longest, "{:?} waited {} s", edit, made - seen);
        }
    }

    #[test]
    fn no_pattern_makes_more_repairs_in_a_day(gaps in prop::collection::vec(gaps(), 1..400)) {
        let repairs = fight(gaps.into_iter().map(|gap| (gap, vec![tag()])));
        for (index, first) in repairs.iter().enumerate() {
            let day = repairs.iter().skip(index).take_while(|repair| repair.made - first.made <= DAY);
            prop_assert!(day.count() <= MOST_IN_A_DAY);
        }
    }

    /// Without a rival each finding is repaired once, in one part or in several, and none ever waits.
    #[test]
    fn without_a_rival_nothing_waits(
        findings in prop::collection::vec((edits(), 1..12usize, gaps()), 1..50)
    ) {
        let (mut contests, mut now) = (Contests::default(), 0);
        for (number, (edit, parts, gap)) in findings.into_iter().enumerate() {
            let edit = Edit { resource: format!("sg-{number}"), ..edit };
            for part in 1..=parts {
                prop_assert_eq!(contests.waits(&edit, at(now)), None);
                prop_assert_eq!(contests.newly(&edit, at(now)), None);
                let rest = WithheldEdit { edit: edit.clone(), reason: Withheld::SweepLimit };
                let withheld = if part < parts { vec![rest] } else { Vec::new() };
                contests.note(&Applied { withheld, ..repaired(std::slice::from_ref(&edit), now) });
                now += 1;
            }
            prop_assert_eq!(contests.next_due(at(now)), None);
            now += gap;
        }
    }
}
