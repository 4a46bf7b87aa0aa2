//! When AWS stops patching a Lambda runtime.
//!
//! AWS has moved the block dates of deprecated runtimes several times, so `deprecated` is the date that
//! security is judged by, and the block dates are hints for planning.

use jiff::civil::{Date, date};
use jiff::{Timestamp, tz::TimeZone};

/// The day on which the table was compared with its source.
pub const TABLE_DATE: Date = date(2026, 11, 21);

/// Where the dates come from.
pub const TABLE_SOURCE: &str = "the Lambda runtimes page of AWS, as in the life-cycle data of cfn-lint 1.58.0";

/// A table older than this many days misses deprecations that AWS has announced since.
pub const STALE_AFTER_DAYS: i64 = 180;

/// The life cycle of one runtime identifier. Each date is the first day of what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeCycle {
    /// The identifier, as Lambda's API writes it.
    pub runtime: &'static str,
    /// No security patches from this day on.
    pub deprecated: Date,
    /// Lambda refuses new functions and new code in zip packages; `None` for container images, which it does not block.
    pub blocked: Option<Blocked>,
}

/// From when on Lambda refuses writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// No function can be created with the runtime.
    pub create: Date,
    /// No function with the runtime can be updated.
    pub update: Date,
}

impl LifeCycle {
    /// Looks an identifier up.
    pub fn of(runtime: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.runtime == runtime)
    }

    /// Whether the runtime exists as a base image alone, and so never as the `Runtime` of a function.
    pub fn is_image_only(&self) -> bool {
        self.blocked.is_none()
    }
}

/// Whether a runtime still gets security patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does, for longer than the days to warn ahead.
    Supported,
    /// It does, but not for long.
    DeprecatedSoon {
        /// The first day without patches.
        on: Date,
        /// Days until then.
        days_left: i64,
    },
    /// It does not.
    Deprecated {
        /// The first day without patches.
        since: Date,
    },
    /// The AWS SDK knows the identifier, but AWS has published no dates for it: unknown, not a failure.
    NoDates,
    /// Neither the table nor the AWS SDK knows the identifier.
    UnknownIdentifier,
}

impl Support {
    /// The support of a runtime on a day, with a warning that many days ahead of its end.
    pub fn of(runtime: &str, today: Date, warn_days: i32) -> Self {
        let Some(&LifeCycle { deprecated, .. }) = LifeCycle::of(runtime) else {
            return if WITHOUT_DATES.contains(&runtime) { Self::NoDates } else { Self::UnknownIdentifier };
        };
        let days_left = days(today, deprecated);
        if days_left <= 0 {
            Self::Deprecated { since: deprecated }
        } else if days_left <= i64::from(warn_days) {
            Self::DeprecatedSoon { on: deprecated, days_left }
        } else {
            Self::Supported
        }
    }
}

/// Since when Lambda refuses updates of functions with the runtime, if it does so on that day.
pub fn update_blocked(runtime: &str, today: Date) -> Option<Date> {
    let blocked = LifeCycle::of(runtime)?.blocked?;
    Some(blocked.update).filter(|since| *since <= today)
}

/// How many days ago, in UTC, the table was compared with its source. Negative if the clock is behind the table.
pub fn table_age(now: Timestamp) -> i64 {
    days(TABLE_DATE, now.to_zoned(TimeZone::UTC).date())
}

/// Whether the table is too old to prove that a runtime is supported.
pub fn is_stale(now: Timestamp) -> bool {
    table_age(now) > STALE_AFTER_DAYS
}

/// What a person is told once the table is stale.
pub fn stale_notice(now: Timestamp) -> Option<String> {
    is_stale(now).then(|| {
        let age = table_age(now);
        format!(
            "The table of Lambda runtimes is of {TABLE_DATE}, {age} days old: runtimes that AWS has deprecated since \
             may still count as supported. Upgrade Baseward to a release with a newer table."
        )
    })
}

fn days(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

/// Identifiers of the AWS SDK without published dates.
const WITHOUT_DATES: [&str; 6] =
    ["nodejs26.x", "python3.15", "java8.al2023", "java11.al2023", "java17.al2023", "custom"];

const fn packaged(runtime: &'static str, deprecated: Date, create: Date, update: Date) -> LifeCycle {
    LifeCycle { runtime, deprecated, blocked: Some(Blocked { create, update }) }
}

const fn image_only(runtime: &'static str, deprecated: Date) -> LifeCycle {
    LifeCycle { runtime, deprecated, blocked: None }
}

/// Deprecated, create blocked, update blocked; by the first of them.
const TABLE: [LifeCycle; 47] = [
    packaged("nodejs", date(2016, 8, 30), date(2016, 9, 30), date(2016, 10, 31)),
    packaged("dotnetcore2.0", date(2019, 5, 30), date(2019, 4, 30), date(2019, 5, 30)),
    packaged("dotnetcore1.0", date(2019, 6, 27), date(2019, 6, 30), date(2019, 7, 30)),
    packaged("nodejs6.10", date(2019, 8, 12), date(2019, 7, 12), date(2019, 8, 12)),
    packaged("nodejs4.3", date(2020, 3, 5), date(2020, 2, 3), date(2020, 3, 5)),
    packaged("nodejs4.3-edge", date(2020, 3, 5), date(2019, 3, 31), date(2019, 4, 30)),
    packaged("nodejs8.10", date(2020, 3, 6), date(2020, 2, 4), date(2020, 3, 6)),
    packaged("python2.7", date(2021, 7, 15), date(2021, 7, 15), date(2022, 5, 30)),
    packaged("nodejs10.x", date(2021, 7, 30), date(2021, 7, 30), date(2022, 2, 14)),
    packaged("ruby2.5", date(2021, 7, 30), date(2021, 7, 30), date(2022, 3, 31)),
    packaged("dotnetcore2.1", date(2022, 1, 5), date(2022, 1, 5), date(2022, 4, 13)),
    packaged("python3.6", date(2022, 7, 18), date(2022, 7, 18), date(2022, 8, 29)),
    packaged("nodejs12.x", date(2023, 3, 31), date(2023, 3, 31), date(2023, 4, 30)),
    packaged("dotnetcore3.1", date(2023, 4, 3), date(2023, 4, 3), date(2023, 5, 3)),
    packaged("nodejs14.x", date(2023, 12, 4), date(2024, 1, 9), date(2027, 3, 3)),
    packaged("python3.7", date(2023, 12, 4), date(2024, 1, 9), date(2027, 3, 3)),
    packaged("ruby2.7", date(2023, 12, 7), date(2024, 1, 9), date(2027, 3, 3)),
    packaged("go1.x", date(2024, 1, 8), date(2024, 2, 8), date(2027, 3, 3)),
    packaged("java8", date(2024, 1, 8), date(2024, 2, 8), date(2027, 3, 3)),
    packaged("provided", date(2024, 1, 8), date(2024, 2, 8), date(2027, 3, 3)),
    packaged("nodejs16.x", date(2024, 6, 12), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("python3.8", date(2024, 10, 14), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("dotnet6", date(2024, 12, 20), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("nodejs18.x", date(2025, 9, 1), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("python3.9", date(2025, 12, 15), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("ruby3.2", date(2026, 3, 31), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("nodejs20.x", date(2026, 4, 30), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("provided.al2", date(2026, 7, 31), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("python3.10", date(2026, 10, 31), date(2027, 2, 1), date(2027, 3, 3)),
    packaged("dotnet8", date(2026, 11, 10), date(2027, 2, 1), date(2027, 3, 3)),
    image_only("dotnet9", date(2026, 11, 10)),
    packaged("ruby3.3", date(2027, 3, 31), date(2027, 4, 30), date(2027, 5, 31)),
    packaged("nodejs22.x", date(2027, 4, 30), date(2027, 6, 1), date(2027, 7, 1)),
    packaged("java11", date(2027, 6, 30), date(2027, 7, 31), date(2027, 8, 31)),
    packaged("java17", date(2027, 6, 30), date(2027, 7, 31), date(2027, 8, 31)),
    packaged("java8.al2", date(2027, 6, 30), date(2027, 7, 31), date(2027, 8, 31)),
    packaged("python3.11", date(2027, 6, 30), date(2027, 7, 31), date(2027, 8, 31)),
    packaged("ruby3.4", date(2028, 3, 31), date(2028, 4, 30), date(2028, 5, 31)),
    packaged("nodejs24.x", date(2028, 4, 30), date(2028, 6, 1), date(2028, 7, 1)),
    packaged("python3.12", date(2028, 10, 31), date(2028, 11, 30), date(2029, 1, 10)),
    packaged("dotnet10", date(2028, 11, 14), date(2028, 12, 14), date(2029, 1, 15)),
    packaged("ruby4.0", date(2029, 3, 31), date(2029, 4, 30), date(2029, 5, 31)),
    packaged("java21", date(2029, 6, 30), date(2029, 7, 31), date(2029, 8, 31)),
    packaged("java25", date(2029, 6, 30), date(2029, 7, 31), date(2029, 8, 31)),
    packaged("provided.al2023", date(2029, 6, 30), date(2029, 7, 31), date(2029, 8, 31)),
    packaged("python3.13", date(2029, 6, 30), date(2029, 7, 31), date(2029, 8, 31)),
    packaged("python3.14", date(2029, 6, 30), date(2029, 7, 31), date(2029, 8, 31)),
];

#[cfg(test)]
mod tests {
    use super::*;

    const WARN_DAYS: i32 = 90;

    /// Runtime, deprecated, create blocked, update blocked, and the state on the day of the table, as the catalogue
    /// of controls has them.
    const CATALOGUE: &str = "
        nodejs14.x | 2023-12-04 | 2024-01-09 | 2027-03-03 | deprecated
        python3.7 | 2023-12-04 | 2024-01-09 | 2027-03-03 | deprecated
        ruby2.7 | 2023-12-07 | 2024-01-09 | 2027-03-03 | deprecated
        go1.x | 2024-01-08 | 2024-02-08 | 2027-03-03 | deprecated
        java8 | 2024-01-08 | 2024-02-08 | 2027-03-03 | deprecated
        provided | 2024-01-08 | 2024-02-08 | 2027-03-03 | deprecated
        nodejs16.x | 2024-06-12 | 2027-02-01 | 2027-03-03 | deprecated
        python3.8 | 2024-10-14 | 2027-02-01 | 2027-03-03 | deprecated
        dotnet6 | 2024-12-20 | 2027-02-01 | 2027-03-03 | deprecated
        nodejs18.x | 2025-09-01 | 2027-02-01 | 2027-03-03 | deprecated
        python3.9 | 2025-12-15 | 2027-02-01 | 2027-03-03 | deprecated
        ruby3.2 | 2026-03-31 | 2027-02-01 | 2027-03-03 | deprecated
        nodejs20.x | 2026-04-30 | 2027-02-01 | 2027-03-03 | deprecated
        provided.al2 | 2026-07-31 | 2027-02-01 | 2027-03-03 | deprecated
        python3.10 | 2026-10-31 | 2027-02-01 | 2027-03-03 | deprecated
        dotnet8 | 2026-11-10 | 2027-02-01 | 2027-03-03 | deprecated
        dotnet9 | 2026-11-10 | n/a | n/a | deprecated (container image only)
        ruby3.3 | 2027-03-31 | 2027-04-30 | 2027-05-31 | supported, 130 days left
        nodejs22.x | 2027-04-30 | 2027-06-01 | 2027-07-01 | supported, 160 days left
        java11 | 2027-06-30 | 2027-07-31 | 2027-08-31 | supported
        java17 | 2027-06-30 | 2027-07-31 | 2027-08-31 | supported
        java8.al2 | 2027-06-30 | 2027-07-31 | 2027-08-31 | supported
        python3.11 | 2027-06-30 | 2027-07-31 | 2027-08-31 | supported
        ruby3.4 | 2028-03-31 | 2028-04-30 | 2028-05-31 | supported
        nodejs24.x | 2028-04-30 | 2028-06-01 | 2028-07-01 | supported
        python3.12 | 2028-10-31 | 2028-11-30 | 2029-01-10 | supported
        dotnet10 | 2028-11-14 | 2028-12-14 | 2029-01-15 | supported
        ruby4.0 | 2029-03-31 | 2029-04-30 | 2029-05-31 | supported
        java21 | 2029-06-30 | 2029-07-31 | 2029-08-31 | supported
        java25 | 2029-06-30 | 2029-07-31 | 2029-08-31 | supported
        provided.al2023 | 2029-06-30 | 2029-07-31 | 2029-08-31 | supported
        python3.13 | 2029-06-30 | 2029-07-31 | 2029-08-31 | supported
        python3.14 | 2029-06-30 | 2029-07-31 | 2029-08-31 | supported
    ";

    /// Deprecated before June 2023, with every date in the past.
    const LONG_GONE: [&str; 14] = [
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "python2.7",
        "python3.6",
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "ruby2.5",
    ];

    fn catalogue() -> impl Iterator<Item = [&'static str; 5]> {
        let rows = CATALOGUE.trim().lines();
        rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap())
    }

    fn noon(year: i16, month: i8, day: i8) -> Timestamp {
        date(year, month, day).at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp()
    }

    #[test]
    fn the_dates_are_those_of_the_catalogue() {
        for [runtime, deprecated, create, update, _] in catalogue() {
            let row = LifeCycle::of(runtime).unwrap();
            assert_eq!(row.deprecated.to_string(), deprecated, "{runtime}");
            let blocked = row.blocked.map(|blocked| [blocked.create.to_string(), blocked.update.to_string()]);
            let expected = (create != "n/a").then(|| [create.to_owned(), update.to_owned()]);
            assert_eq!(blocked, expected, "{runtime}");
        }
        assert_eq!(catalogue().count() + LONG_GONE.len(), TABLE.len());
    }

    #[test]
    fn the_states_are_those_of_the_catalogue() {
        for [runtime, deprecated, _, _, state] in catalogue() {
            let on: Date = deprecated.parse().unwrap();
            let (verdict, rest) = state.split_at(state.find([' ', ',']).unwrap_or(state.len()));
            let expected = match verdict {
                "deprecated" => Support::Deprecated { since: on },
                "supported" => Support::Supported,
                _ => panic!("{state}"),
            };
            assert_eq!(Support::of(runtime, TABLE_DATE, WARN_DAYS), expected, "{runtime}");
            assert_eq!(rest.contains("image only"), LifeCycle::of(runtime).unwrap().is_image_only(), "{runtime}");
            if let Some(days_left) = rest.strip_prefix(", ").and_then(|rest| rest.strip_suffix(" days left")) {
                let days_left = days_left.parse().unwrap();
                assert_eq!(Support::of(runtime, TABLE_DATE, 160), Support::DeprecatedSoon { on, days_left });
            }
        }
    }

    #[test]
    fn those_long_gone_are_deprecated_and_blocked() {
        let june = date(2023, 6, 1);
        for runtime in LONG_GONE {
            assert!(matches!(Support::of(runtime, june, 0), Support::Deprecated { .. }), "{runtime}");
            let Blocked { create, update } = LifeCycle::of(runtime).unwrap().blocked.unwrap();
            assert!(create < june && update < june, "{runtime}");
        }
    }

    #[test]
    fn identifiers_without_dates_differ_from_unknown_ones() {
        for runtime in WITHOUT_DATES {
            assert_eq!(Support::of(runtime, TABLE_DATE, WARN_DAYS), Support::NoDates, "{runtime}");
        }
        for runtime in ["dotnet5.0", "NodeJS24.x", "nodejs24", "rust1", ""] {
            assert_eq!(Support::of(runtime, TABLE_DATE, WARN_DAYS), Support::UnknownIdentifier, "{runtime}");
        }
    }

    #[test]
    fn the_last_supported_day_is_the_one_before_the_deprecation() {
        let on = date(2027, 3, 31);
        let of = |today| Support::of("ruby3.3", today, WARN_DAYS);
        assert_eq!(of(date(2026, 12, 30)), Support::Supported);
        assert_eq!(of(date(2026, 12, 31)), Support::DeprecatedSoon { on, days_left: 90 });
        assert_eq!(of(date(2027, 3, 30)), Support::DeprecatedSoon { on, days_left: 1 });
        assert_eq!(of(on), Support::Deprecated { since: on });
        assert_eq!(Support::of("ruby3.3", date(2027, 3, 30), 0), Support::Supported);
    }

    #[test]
    fn updates_are_blocked_from_their_date_on() {
        let since = date(2027, 3, 3);
        assert_eq!(update_blocked("python3.9", date(2027, 3, 2)), None);
        assert_eq!(update_blocked("python3.9", since), Some(since));
        assert_eq!(update_blocked("nodejs12.x", TABLE_DATE), Some(date(2023, 4, 30)));
        assert_eq!(update_blocked("dotnet9", date(2030, 1, 1)), None);
        assert_eq!(update_blocked("nodejs26.x", date(2030, 1, 1)), None);
    }

    #[test]
    fn the_table_is_stale_after_half_a_year() {
        assert_eq!(table_age(noon(2026, 11, 21)), 0);
        assert_eq!(table_age(noon(2026, 11, 1)), -20);
        assert_eq!(table_age(noon(2027, 5, 20)), 180);
        assert_eq!(stale_notice(noon(2027, 5, 20)), None);
        let notice = stale_notice(noon(2027, 5, 21)).unwrap();
        assert!(notice.contains("2026-11-21, 181 days old"), "{notice}");
    }

    #[test]
    fn every_identifier_is_listed_once() {
        let mut all: Vec<_> = TABLE.iter().map(|row| row.runtime).chain(WITHOUT_DATES).collect();
        all.sort_unstable();
        assert!(all.is_sorted_by(|before, after| before < after));
    }
}
