//! What was measured of functions, and what was wanted.

use serde::Serialize;

use super::Drained;
use super::calls::{Deep, LISTS};
use crate::scale::Seconds;
use crate::scale::figures::{Target, listed, row, seconds};
use crate::scale::rest::Counts;

/// The items in one page of ListFunctions, and of GetResources.
const PAGES: [u32; 2] = [50, 100];

/// Requests a second that Lambda takes from all tools in the account together, and so many again for policies.
const RATE: u64 = 15;

/// How much longer a sweep of groups may take: its pause is up to a tenth shorter or longer by chance.
const SLOWER: f64 = 1.25;

/// All figures, as they stand in the line of JSON.
#[derive(Clone, Debug, Serialize)]
pub(in crate::scale) struct FunctionFigures {
    pub(super) functions: u32,
    pub(super) bad: u32,
    pub(super) calls_warm: Counts,
    #[serde(flatten)]
    pub(super) deep: Deep,
    pub(super) most_in_a_second: u64,
    pub(super) most_policies_in_a_second: u64,
    pub(super) cpu_seconds: Seconds,
    pub(super) seconds_to_first_verdict: f64,
    pub(super) rss_mib: f64,
    pub(super) rss_peak_mib: f64,
    pub(super) aws_writes_at_rest: u64,
    pub(super) kube_writes_at_rest: u64,
    pub(super) seconds_per_sweep_of_groups: f64,
    pub(super) seconds_per_sweep_of_groups_alone: f64,
    pub(super) drained: Drained,
}

impl FunctionFigures {
    pub(in crate::scale) fn targets(&self) -> Vec<Target> {
        let evaluated = self.cpu_seconds.get("evaluate_and_plan").copied().unwrap_or(f64::NAN);
        let (groups, alone) = (self.seconds_per_sweep_of_groups, self.seconds_per_sweep_of_groups_alone);
        vec![
            self.calls(),
            Target::at_most("calls of Lambda in any second", self.most_in_a_second, RATE),
            Target::at_most("calls for policies in any second", self.most_policies_in_a_second, RATE),
            Target::below("CPU of evaluate and plan, functions", evaluated, "s", 0.3),
            Target::below("resident memory with both fleets", self.rss_mib, "MiB", 100.0),
            Target::below("a sweep of groups beside functions", groups, "s", alone * SLOWER),
            Target::at_most("AWS writes at rest with both fleets", self.aws_writes_at_rest, 0),
            Target::at_most("Kubernetes writes at rest with both fleets", self.kube_writes_at_rest, 0),
            Target::at_most("write calls per function", self.drained.write_calls_per_function, 1),
        ]
    }

    /// One call for each page, and nothing else.
    fn calls(&self) -> Target {
        let pages = PAGES.map(|items| u64::from(self.functions.div_ceil(items).max(1)));
        let wanted: Counts = LISTS.map(str::to_owned).into_iter().zip(pages).collect();
        Target::same("lists of a warm sweep", listed(&self.calls_warm), listed(&wanted))
    }

    pub(in crate::scale) fn rows(&self) -> Vec<(String, String)> {
        let rate = |value: f64| format!("{value:.1} a second");
        let mut rows = vec![
            row("functions, bad", format!("{}, {}", self.functions, self.bad)),
            row("first verdict on functions", seconds(self.seconds_to_first_verdict)),
            row("reads function by function", rate(self.deep.per_second)),
            row("reads of policies", rate(self.deep.policies_per_second)),
            row("of which", listed(&self.deep.calls)),
            row("peak of resident memory with both fleets", format!("{:.1} MiB", self.rss_peak_mib)),
            row("all functions put right after", seconds(self.drained.seconds)),
            row("write calls to functions", listed(&self.drained.write_calls)),
            row("calls of Lambda meanwhile", rate(self.drained.calls_per_second)),
        ];
        let cpu = self.cpu_seconds.iter();
        rows.extend(cpu.map(|(step, cpu)| row(&format!("CPU of {step}, functions"), seconds(*cpu))));
        rows
    }
}
