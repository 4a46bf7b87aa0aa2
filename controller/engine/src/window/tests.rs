use std::collections::BTreeSet;
use std::time::Instant;

use jiff::ToSpan;
use jiff::civil::Date;
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "UTC",
];

fn window(schedule: &str, time_zone: &str, duration: &str) -> Window {
    let [schedule, time_zone, duration] = [schedule, time_zone, duration].map(str::to_owned);
    Window { schedule, time_zone, duration, except_severities: None }
}

fn times(schedule: &str, time_zone: &str, duration: &str) -> OpenTimes {
    OpenTimes::new("remediation.window", &window(schedule, time_zone, duration)).unwrap()
}

fn problem(schedule: &str, time_zone: &str, duration: &str) -> String {
    OpenTimes::new("remediation.window", &window(schedule, time_zone, duration)).unwrap_err().to_string()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The openings after a time, on the clocks of the zone: when each begins, and when it ends.
fn openings(times: &OpenTimes, from: &str, count: usize) -> Vec<String> {
    let (mut now, mut openings) = (time(from), Vec::new());
    while openings.len() < count {
        now = match times.at(now) {
            Opening::Open { until } => {
                let clock = |time: Timestamp| time.to_zoned(times.zone.clone()).strftime("%m-%d %H:%M%:z").to_string();
                openings.push(format!("{} {}", clock(now), clock(until)));
                until
            }
            Opening::Closed { opens } => opens,
        };
    }
    openings
}

/// The days of a year on which a schedule happens.
fn days(schedule: &str, from: &str, count: usize) -> Vec<String> {
    let openings = openings(&times(schedule, "UTC", "1m"), from, count);
    openings.iter().map(|opening| opening.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn an_opening_that_clocks_skip_begins_right_after() {
    let times = times("30 2 * * *", "Europe/Berlin", "2h");
    assert_eq!(
        openings(&times, "2026-03-28T00:00:00Z", 3),
        [
            "03-28 02:30+01:00 03-28 04:30+01:00",
            "03-29 03:00+02:00 03-29 05:00+02:00",
            "03-30 02:30+02:00 03-30 04:30+02:00"
        ]
    );
    assert_eq!(times.at(time("2027-03-28T00:59:59Z")), Opening::Closed { opens: time("2027-03-28T01:00:00Z") });
    assert_eq!(times.at(time("2027-03-28T01:00:00Z")), Opening::Open { until: time("2027-03-28T03:00:00Z") });
}

#[test]
fn an_opening_that_clocks_show_twice_begins_once() {
    let short = times("30 2 * * *", "Europe/Berlin", "30m");
    assert_eq!(
        openings(&short, "2026-10-24T00:00:00Z", 3),
        [
            "10-24 02:30+02:00 10-24 03:00+02:00",
            "10-25 02:30+02:00 10-25 02:00+01:00",
            "10-26 02:30+01:00 10-26 03:00+01:00"
        ]
    );
    assert_eq!(openings(&short, "2027-10-31T00:00:00Z", 1), ["10-31 02:30+02:00 10-31 02:00+01:00"]);
    let long = times("30 2 * * *", "Europe/Berlin", "2h");
    assert_eq!(openings(&long, "2026-10-25T00:00:00Z", 1), ["10-25 02:30+02:00 10-25 03:30+01:00"]);
    // At 02:10 for the second time, the opening of 02:30 lasts still.
    assert_eq!(long.at(time("2026-10-25T01:10:00Z")), Opening::Open { until: time("2026-10-25T02:30:00Z") });
}

#[test]
fn a_duration_is_time_that_passes_over_midnight_the_end_of_a_month_and_a_change_of_clocks() {
    let times = times("0 23 * * SAT", "Europe/Berlin", "6h");
    assert_eq!(
        openings(&times, "2027-03-27T12:00:00Z", 1),
        ["03-27 23:00+01:00 03-28 06:00+02:00"],
        "an hour is skipped"
    );
    assert_eq!(
        openings(&times, "2026-10-24T12:00:00Z", 2),
        ["10-24 23:00+02:00 10-25 04:00+01:00", "10-31 23:00+01:00 11-01 05:00+01:00"]
    );
}

#[test]
fn zones_with_other_offsets_and_changes() {
    assert_eq!(
        openings(&times("30 2 * * SUN", "America/New_York", "1h"), "2026-03-07T00:00:00Z", 1),
        ["03-08 03:00-04:00 03-08 04:00-04:00"]
    );
    assert_eq!(
        openings(&times("30 1 * * SUN", "America/New_York", "90m"), "2026-11-01T00:00:00Z", 1),
        ["11-01 01:30-04:00 11-01 02:00-05:00"]
    );
    let kolkata = times("0 2 * * *", "Asia/Kolkata", "1h");
    assert_eq!(kolkata.at(time("2026-06-01T20:00:00Z")), Opening::Closed { opens: time("2026-06-01T20:30:00Z") });
    let lord_howe = times("15 2 * * *", "Australia/Lord_Howe", "1h");
    assert_eq!(openings(&lord_howe, "2026-10-03T12:00:00Z", 1), ["10-04 02:30+11:00 10-04 03:30+11:00"]);
    let lord_howe = times("45 1 * * *", "Australia/Lord_Howe", "30m");
    assert_eq!(openings(&lord_howe, "2027-04-03T12:00:00Z", 1), ["04-04 01:45+11:00 04-04 01:45+10:30"]);
    // Apia had no 30 December 2011.
    let apia = times("0 12 30 * *", "Pacific/Apia", "24h");
    assert_eq!(
        openings(&apia, "2011-12-29T00:00:00Z", 2),
        ["12-31 00:00+14:00 01-01 00:00+14:00", "01-30 12:00+14:00 01-31 12:00+14:00"]
    );
}

#[test]
fn schedules_take_lists_ranges_steps_and_names() {
    assert_eq!(days("0 2 * * 2,4", "2026-12-01T00:00:00Z", 4), ["12-01", "12-03", "12-08", "12-10"]);
    assert_eq!(days("0 2 * * tue,Thu", "2026-12-01T00:00:00Z", 3), ["12-01", "12-03", "12-08"]);
    let sundays = ["12-06", "12-13"];
    for sunday in ["0", "7", "SUN", "0,7"] {
        assert_eq!(days(&format!("0 2 * * {sunday}"), "2026-12-01T00:00:00Z", 2), sundays, "{sunday}");
    }
    for weekend in ["FRI-SUN", "5-7", "5-6,0", "5-0"] {
        let found = days(&format!("0 2 * * {weekend}"), "2026-12-01T00:00:00Z", 4);
        assert_eq!(found, ["12-04", "12-05", "12-06", "12-11"], "{weekend}");
    }
    assert_eq!(days("0 2 * * */2", "2026-12-01T00:00:00Z", 4), ["12-01", "12-03", "12-05", "12-06"]);
    assert_eq!(days("0 2 1 JAN-MAR,12 *", "2026-11-15T00:00:00Z", 4), ["12-01", "01-01", "02-01", "03-01"]);
    assert_eq!(days("0 2 */10 */6 *", "2026-12-01T00:00:00Z", 4), ["01-01", "01-11", "01-21", "01-31"]);
    assert_eq!(days("0  2 31 * *", "2026-12-01T00:00:00Z", 4), ["12-31", "01-31", "03-31", "05-31"]);
    assert_eq!(
        openings(&times("15-45/15,50 09 * * *", "UTC", "1m"), "2026-12-01T00:00:00Z", 5),
        [
            "12-01 09:15+00:00 12-01 09:16+00:00",
            "12-01 09:30+00:00 12-01 09:31+00:00",
            "12-01 09:45+00:00 12-01 09:46+00:00",
            "12-01 09:50+00:00 12-01 09:51+00:00",
            "12-02 09:15+00:00 12-02 09:16+00:00"
        ]
    );
}

#[test]
fn restrictions_on_both_kinds_of_days_are_alternatives() {
    assert_eq!(days("0 2 13 * FRI", "2026-11-01T00:00:00Z", 5), ["11-06", "11-13", "11-20", "11-27", "12-04"]);
    assert_eq!(days("0 2 15 * 1", "2026-12-05T00:00:00Z", 4), ["12-07", "12-14", "12-15", "12-21"]);
    assert_eq!(days("0 2 31 2 MON", "2027-01-01T00:00:00Z", 2), ["02-01", "02-08"]);
    assert_eq!(days("0 2 */1 * MON", "2026-12-05T00:00:00Z", 2), ["12-07", "12-14"]);
}

#[test]
fn a_leap_day_is_found_over_eight_years_and_soon() {
    let times = times("0 2 29 2 *", "Europe/Berlin", "2h");
    assert_eq!(times.at(time("2026-11-21T00:00:00Z")), Opening::Closed { opens: time("2028-02-29T01:00:00Z") });
    assert_eq!(times.at(time("2096-03-01T00:00:00Z")), Opening::Closed { opens: time("2104-02-29T01:00:00Z") });
    assert_eq!(times.at(Timestamp::MAX), Opening::Closed { opens: Timestamp::MAX });
    times.at(Timestamp::MIN);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what is measured here is time itself")]
fn no_question_takes_long() {
    for schedule in ["0 2 29 2 *", "* * * * *", "0 2 * * 2,4"] {
        for duration in ["1m", "24h"] {
            let times = times(schedule, "Europe/Berlin", duration);
            let attempt = |_| {
                let started = Instant::now();
                times.at(time("2096-10-31T00:30:00Z"));
                started.elapsed()
            };
            let shortest = (0..5).map(attempt).min().unwrap();
            assert!(shortest.as_millis() < 20, "{schedule} {duration}: {shortest:?}");
        }
    }
}

#[test]
fn openings_that_overlap_or_touch_are_one() {
    let touching = times("0 1,2,4 * * *", "UTC", "1h");
    assert_eq!(touching.at(time("2026-12-01T01:30:00Z")), Opening::Open { until: time("2026-12-01T03:00:00Z") });
    assert_eq!(touching.at(time("2026-12-01T03:00:00Z")), Opening::Closed { opens: time("2026-12-01T04:00:00Z") });
    let always = times("0 * * * *", "Europe/Berlin", "2h");
    let now = time("2026-10-24T23:59:59Z");
    let Opening::Open { until } = always.at(now) else { panic!("it is closed") };
    assert!(until.duration_since(now) >= AHEAD && until.duration_since(now) <= AHEAD + LONGEST);
}

#[test]
fn critical_violations_alone_need_not_wait_unless_the_window_says_otherwise() {
    let spared = |except_severities: Option<Vec<Severity>>| {
        let window = Window { except_severities, ..window("0 2 * * *", "UTC", "2h") };
        let times = OpenTimes::new("remediation.window", &window).unwrap();
        Severity::WORST_FIRST.into_iter().filter(|severity| times.spares(*severity)).collect::<Vec<_>>()
    };
    assert_eq!(spared(None), [Severity::Critical]);
    assert_eq!(spared(Some(Vec::new())), []);
    assert_eq!(spared(Some(vec![Severity::High])), [Severity::High]);
}

#[test]
fn a_schedule_that_cannot_be_used_is_refused_with_what_to_write() {
    let refused = |schedule: &str| {
        let problem = problem(schedule, "UTC", "2h");
        problem.strip_prefix("spec.remediation.window.schedule: ").unwrap().to_owned()
    };
    const EXAMPLE: &str = "write a schedule such as 0 2 * * 2,4, which is 02:00 on Tuesdays and Thursdays";
    for (schedule, count) in [("", 0), ("at night", 2), ("0 2 * *", 4), ("0 0 2 * * *", 6), ("@daily", 1)] {
        let fields = "a schedule has five fields (minute, hour, day of month, month, day of week)";
        assert_eq!(refused(schedule), format!("{fields}, and {schedule:?} has {count}: {EXAMPLE}"));
    }
    for (schedule, problem) in [
        ("60 2 * * *", r#""60" is no minute, which is a number from 0 to 59"#),
        ("-5 2 * * *", r#""" is no minute, which is a number from 0 to 59"#),
        ("1,,2 2 * * *", r#""" is no minute, which is a number from 0 to 59"#),
        ("+1 2 * * *", r#""+1" is no minute, which is a number from 0 to 59"#),
        ("MON 2 * * *", r#""MON" is no minute, which is a number from 0 to 59"#),
        ("0 24 * * *", r#""24" is no hour, which is a number from 0 to 23"#),
        ("0 999999999999 * * *", r#""999999999999" is no hour, which is a number from 0 to 23"#),
        ("0 2 0 * *", r#""0" is no day of month, which is a number from 1 to 31"#),
        ("0 2 1MON * *", r#""1MON" is no day of month, which is a number from 1 to 31"#),
        ("0 2 L * *", r#""L" is no day of month, which is a number from 1 to 31"#),
        ("0 2 * 13 *", r#""13" is no month, which is a number from 1 to 12 or a name from JAN to DEC"#),
        ("0 2 * * 8", r#""8" is no day of week, which is a number from 0 to 7 or a name from SUN to SAT"#),
        ("0 2 * * 1#2", r##""1#2" is no day of week, which is a number from 0 to 7 or a name from SUN to SAT"##),
        ("1-2-3 2 * * *", r#""2-3" is no minute, which is a number from 0 to 59"#),
        ("*/0 2 * * *", r#""0" is no step of the minute, which is a number from 1 to 59"#),
        ("*/90 2 * * *", r#""90" is no step of the minute, which is a number from 1 to 59"#),
        ("*/ 2 * * *", r#""" is no step of the minute, which is a number from 1 to 59"#),
    ] {
        assert_eq!(refused(schedule), format!("{problem}: {EXAMPLE}"), "{schedule}");
    }
    assert_eq!(refused("0 22-2 * * *"), r#"the range "22-2" of the hour ends before it starts: write 22-23,0-2"#);
    assert_eq!(
        refused("0 2 * * FRI-MON"),
        r#"the range "FRI-MON" of the day of week ends before it starts: write FRI-6,0-MON"#
    );
    assert_eq!(refused("5/10 2 * * *"), r#"the step in "5/10" has no range to go through: write 5-59/10"#);
    for never in ["0 2 31 2 *", "0 2 30 2 *", "0 2 31 4,6,9,11 *"] {
        let why = "never happens, as none of its months has such a day: write a day that there is, such as 0 2 28 2 *";
        assert_eq!(refused(never), format!("{never:?} {why}"));
    }
}

#[test]
fn a_zone_or_a_duration_that_cannot_be_used_is_refused_with_what_to_write() {
    for zone in ["", "Europe/Berln", "CEST", "+02:00", "../etc/passwd", "Etc/Unknown"] {
        let expected = format!("there is no time zone {zone:?}: write an IANA name such as Europe/Berlin or UTC");
        assert_eq!(problem("0 2 * * *", zone, "2h"), format!("spec.remediation.window.timeZone: {expected}"));
    }
    for duration in ["", "2", "h", "2 h", "two hours", "-2h", "+2h", "1.5h", "2d", "2h30", "999999h", "PT2H", "2ü"] {
        let expected = format!("{duration:?} is no duration: write one such as 2h, 90m or 1h30m");
        assert_eq!(problem("0 2 * * *", "UTC", duration), format!("spec.remediation.window.duration: {expected}"));
    }
    for duration in ["0s", "0h0m", "24h1s", "25h", "99999h99999h"] {
        let expected = format!(
            "a window stays open for more than 0 and at most 24h, not for {duration}: write one such as 2h, 90m or 1h30m"
        );
        assert_eq!(problem("0 2 * * *", "UTC", duration), format!("spec.remediation.window.duration: {expected}"));
    }
    for (text, minutes) in [("2h", 120), ("90m", 90), ("1h30m", 90), ("24h", 1440), ("86400s", 1440), ("1m60s", 2)] {
        assert_eq!(bounded(text), Ok(SignedDuration::from_mins(minutes)), "{text}");
    }
}

/// Minutes, hours, days of month, months and days of week; a field that is left out is not restricted.
type Fields = [Option<BTreeSet<i8>>; 5];

fn written(fields: &Fields) -> String {
    let field = |values: &Option<BTreeSet<i8>>| match values {
        None => "*".to_owned(),
        Some(values) => values.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
    };
    fields.iter().map(field).collect::<Vec<_>>().join(" ")
}

/// Whether one of the openings lasts at a time, by trying each minute of the days around it.
fn is_open(fields: &Fields, zone: &TimeZone, duration: SignedDuration, now: Timestamp) -> bool {
    let [minute, hour, day_of_month, month, day_of_week] = fields;
    let has = |values: &Option<BTreeSet<i8>>, value| values.as_ref().is_none_or(|values| values.contains(&value));
    let is_on = |day: &Date| {
        let in_month = has(day_of_month, day.day());
        let in_week = has(day_of_week, day.weekday().to_sunday_zero_offset());
        let either = day_of_month.is_some() && day_of_week.is_some();
        has(month, day.month()) && if either { in_month || in_week } else { in_month && in_week }
    };
    let begins = |wall: DateTime| {
        let mut opening = zone.to_timestamp(wall).unwrap();
        while zone.to_datetime(opening - 1.minute()) >= wall {
            opening -= 1.minute();
        }
        opening
    };
    let start = zone.to_datetime(now).date().checked_sub(3.days()).unwrap();
    let days = start.series(1.day()).take(5).filter(is_on);
    let hours = days.flat_map(|day| (0..24).filter(|at| has(hour, *at)).map(move |at| day.at(at, 0, 0, 0)));
    let walls =
        hours.flat_map(|wall| (0..60).filter(|at| has(minute, *at)).map(move |at| wall + i64::from(at).minutes()));
    let mut openings = walls.map(begins);
    openings.any(|opening| opening <= now && now < opening + duration)
}

fn values(first: i8, last: i8) -> impl Strategy<Value = Option<BTreeSet<i8>>> {
    prop_oneof![Just(None), proptest::collection::btree_set(first..=last, 1..4).prop_map(Some)]
}

fn instants() -> impl Strategy<Value = Timestamp> {
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-10-03T15:30:00Z",
        "2026-04-04T15:00:00Z",
        "2011-12-30T10:00:00Z",
        "2027-02-07T02:00:00Z",
    ];
    let around = (proptest::sample::select(changes.to_vec()), -200_000i64..200_000)
        .prop_map(|(change, seconds)| time(change) + SignedDuration::from_secs(seconds));
    prop_oneof![around, (0i64..4_000_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_of_a_window_holds(
        fields in (values(0, 59), values(0, 23), values(1, 28), values(1, 12), values(0, 6)),
        zone in proptest::sample::select(ZONES.to_vec()),
        minutes in prop_oneof![1i64..180, 1i64..=1440],
        now in instants(),
        share in 0.0..1.0f64,
    ) {
        let fields: Fields = fields.into();
        let times = times(&written(&fields), zone, &format!("{minutes}m"));
        let open = |time| is_open(&fields, &times.zone, times.duration, time);
        let between = |end: Timestamp| {
            let seconds = (end.duration_since(now).as_secs() as f64 * share) as i64;
            now + SignedDuration::from_secs(seconds)
        };
        let said_open = |time| matches!(times.at(time), Opening::Open { .. });
        let moment = SignedDuration::from_nanos(1);
        match times.at(now) {
            Opening::Open { until } => {
                prop_assert!(now < until);
                prop_assert!(open(now) && open(until - moment) && open(between(until)));
                prop_assert!(until.duration_since(now) >= AHEAD || !open(until));
                prop_assert!(until.duration_since(now) <= AHEAD + LONGEST);
                prop_assert!(said_open(until - moment));
            }
            Opening::Closed { opens } => {
                prop_assert!(now < opens);
                prop_assert!(!open(now) && !open(opens - moment) && !open(between(opens)) && open(opens));
                prop_assert_eq!(times.at(opens - moment), Opening::Closed { opens });
                prop_assert_eq!(times.at(between(opens)), Opening::Closed { opens });
                prop_assert!(said_open(opens));
            }
        }
    }

    #[test]
    fn no_text_is_too_strange(schedule in "[-0-9*/, A-Za-z#ü]{0,30}", duration in "[0-9hmsü]{0,20}", zone in ".{0,10}") {
        let _ = OpenTimes::new("remediation.window", &window(&schedule, &zone, &duration));
        let _ = OpenTimes::new("remediation.window", &window(&schedule, "UTC", "2h")).map(|times| times.at(time("2026-12-01T00:00:00Z")));
    }
}
