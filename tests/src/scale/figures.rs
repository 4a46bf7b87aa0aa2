//! What was measured, what was wanted, and how both are shown.

use std::fmt;

use serde::Serialize;

use super::Seconds;
use super::closing::Closed;
use super::functions::FunctionFigures;
use super::rest::Counts;

/// The items in one page of a listing of EC2.
const PAGE: u32 = 1_000;

/// All figures, as they stand in the line of JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) groups: u32,
    pub(super) rules: u64,
    pub(super) interfaces: u32,
    pub(super) bad: u32,
    pub(super) calls_cold: Counts,
    pub(super) calls_warm: Counts,
    pub(super) cpu_seconds: Seconds,
    pub(super) rss_mib: f64,
    pub(super) rss_peak_mib: f64,
    pub(super) aws_writes_at_rest: u64,
    pub(super) kube_writes_at_rest: u64,
    pub(super) seconds_to_first_verdict: f64,
    /// How long the emulator alone takes for the pages of one sweep.
    pub(super) emulator_seconds: f64,
    pub(super) throttles: u64,
    pub(super) binary_mib: f64,
    #[serde(flatten)]
    pub(super) closed: Closed,
    /// The fleet of functions, if there is one.
    #[serde(rename = "lambda", skip_serializing_if = "Option::is_none")]
    pub(super) of_functions: Option<FunctionFigures>,
}

/// A figure that must be within a bound.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    name: &'static str,
    measured: String,
    wanted: String,
    pub(super) met: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, wanted {}", self.name, self.measured, self.wanted)
    }
}

impl Target {
    pub(super) fn below(name: &'static str, measured: f64, unit: &str, bound: f64) -> Self {
        let (measured_text, wanted) = (format!("{measured:.3} {unit}"), format!("under {bound:.3} {unit}"));
        Self { name, measured: measured_text, wanted, met: measured < bound }
    }

    pub(super) fn at_most(name: &'static str, measured: u64, bound: u64) -> Self {
        let wanted = if bound == 0 { "0".to_owned() } else { format!("at most {bound}") };
        Self { name, measured: measured.to_string(), wanted, met: measured <= bound }
    }

    pub(super) fn same(name: &'static str, measured: String, wanted: String) -> Self {
        let met = measured == wanted;
        Self { name, measured, wanted, met }
    }
}

impl Figures {
    pub(super) fn targets(&self) -> Vec<Target> {
        let cpu = |step: &str| self.cpu_seconds.get(step).copied().unwrap_or(f64::NAN);
        let closed = &self.closed;
        let mut targets = vec![
            self.calls(),
            Target::at_most("AWS writes at rest", self.aws_writes_at_rest, 0),
            Target::at_most("Kubernetes writes at rest", self.kube_writes_at_rest, 0),
            Target::below("CPU of evaluate and plan", cpu("evaluate_and_plan"), "s", 0.3),
            Target::below("… for 100 baselines", cpu("evaluate_and_plan_100_baselines"), "s", 0.6),
            Target::below("CPU of proposing an edit per group", cpu("propose_an_edit_per_group"), "s", 2.0),
            Target::below("resident memory", self.rss_mib, "MiB", 100.0),
            Target::below("start to first verdict", self.seconds_to_first_verdict, "s", 5.0 + self.emulator_seconds),
            Target::at_most("write calls per group", closed.write_calls_per_group, 2),
            Target::at_most("… where only removal is needed", closed.write_calls_per_removal, 1),
            Target::at_most("… of one operation", closed.write_calls_per_group_and_operation, 1),
            Target::at_most("throttle replies", self.throttles, 0),
            Target::same("the 50 worst are closed first", closed.worst_closed_first.to_string(), true.to_string()),
            Target::below("stripped binary", self.binary_mib * 1.048_576, "MB", 40.0),
        ];
        targets.extend(self.of_functions.iter().flat_map(FunctionFigures::targets));
        targets
    }

    /// One call for each page, and nothing else.
    fn calls(&self) -> Target {
        let pages = |items: u32| u64::from(items.div_ceil(PAGE).max(1));
        let wanted = Counts::from([
            ("DescribeNetworkInterfaces".to_owned(), pages(self.interfaces)),
            ("DescribeSecurityGroups".to_owned(), pages(self.groups)),
        ]);
        Target::same("calls of a warm sweep", listed(&self.calls_warm), listed(&wanted))
    }

    /// Everything that has no bound of its own.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let closed = &self.closed;
        let mut rows = vec![
            row("groups, rules, interfaces, bad", self.size()),
            row("calls of the cold sweep", listed(&self.calls_cold)),
            row("the emulator alone, for these pages", seconds(self.emulator_seconds)),
            row("peak of resident memory", format!("{:.1} MiB", self.rss_peak_mib)),
            row("write calls", listed(&closed.write_calls)),
            row("the 50 worst closed after", seconds(closed.seconds_to_close_worst)),
            row("all closed after", seconds(closed.seconds_to_close_all)),
        ];
        rows.extend(self.cpu_seconds.iter().map(|(step, cpu)| row(&format!("CPU of {step}"), seconds(*cpu))));
        rows.extend(self.of_functions.iter().flat_map(FunctionFigures::rows));
        rows
    }

    fn size(&self) -> String {
        format!("{}, {}, {}, {}", self.groups, self.rules, self.interfaces, self.bad)
    }
}

pub(super) fn row(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

pub(super) fn seconds(value: f64) -> String {
    format!("{value:.3} s")
}

pub(super) fn listed(counts: &Counts) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// The figures, and then the targets with what became of them.
pub(super) fn table(rows: &[(String, String)], targets: &[Target]) -> String {
    let names = rows.iter().map(|(name, _)| name.as_str()).chain(targets.iter().map(|target| target.name));
    let width = names.map(|name| name.chars().count()).max().unwrap_or_default();
    let rows = rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}\n"));
    let targets = targets.iter().map(|Target { name, measured, wanted, met }| {
        let word = if *met { "met" } else { "MISSED" };
        format!("  {name:<width$}  {measured}  ({wanted}: {word})\n")
    });
    rows.chain(["\n".to_owned()]).chain(targets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_stands_out() {
        let targets = [Target::at_most("throttles", 0, 0), Target::below("memory", 120.0, "MiB", 100.0)];
        assert_eq!(targets.each_ref().map(|target| target.met), [true, false]);
        assert_eq!(
            table(&[("all".to_owned(), "1".to_owned())], &targets),
            "  all        1\n\n  throttles  0  (0: met)\n  memory     120.000 MiB  (under 100.000 MiB: MISSED)\n"
        );
        assert!(!Target::below("nothing measured", f64::NAN, "s", 1.0).met);
    }
}
