//! Prometheus metrics. No label ever holds the id of a resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use engine::edit::{BaselineRef, Withheld};
use engine::kind::{Cell, Kind};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Everything that is measured.
pub struct Metrics {
    registry: Registry,
    sweeps: Family<SweepLabels, Counter>,
    sweep_seconds: Family<CellLabels, Histogram>,
    last_sweep: Family<CellLabels, Gauge<f64, AtomicU64>>,
    oldest_fact: Family<CellLabels, Gauge<f64, AtomicU64>>,
    writes: Family<WriteLabels, Counter>,
    withheld: Family<WithheldLabels, Gauge>,
    violations: Family<ViolationLabels, Gauge>,
    leader: Gauge,
    baselines: Mutex<BTreeSet<BaselineName>>,
}

/// Namespace and name of a baseline.
type BaselineName = (Kind, String, String);

fn name(BaselineRef { kind, namespace, name, .. }: &BaselineRef) -> BaselineName {
    (*kind, namespace.clone(), name.clone())
}

const SEVERITIES: [&str; 4] = ["critical", "high", "medium", "low"];
const OUTCOMES: [&str; 3] = ["complete", "partial", "failed"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CellLabels {
    kind: &'static str,
    account: String,
    region: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SweepLabels {
    kind: &'static str,
    account: String,
    region: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    operation: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithheldLabels {
    kind: &'static str,
    namespace: String,
    baseline: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViolationLabels {
    kind: &'static str,
    namespace: String,
    baseline: String,
    severity: String,
}

impl ViolationLabels {
    fn of((kind, namespace, baseline): &BaselineName, severity: &str) -> Self {
        Self {
            kind: kind.name(),
            namespace: namespace.clone(),
            baseline: baseline.clone(),
            severity: severity.to_owned(),
        }
    }
}

impl WithheldLabels {
    fn of((kind, namespace, baseline): &BaselineName, reason: &str) -> Self {
        Self { kind: kind.name(), namespace: namespace.clone(), baseline: baseline.clone(), reason: reason.to_owned() }
    }
}

/// Counts by some word.
pub type Counts = BTreeMap<String, i64>;

impl CellLabels {
    fn of(Cell { kind, location }: &Cell) -> Self {
        Self { kind: kind.name(), account: location.account.clone(), region: location.region.clone() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("baseward");
        let metrics = Self {
            sweeps: Family::default(),
            sweep_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.05, 2.0, 13))),
            last_sweep: Family::default(),
            oldest_fact: Family::default(),
            writes: Family::default(),
            withheld: Family::default(),
            violations: Family::default(),
            leader: Gauge::default(),
            baselines: Mutex::default(),
            registry: Registry::default(),
        };
        registry.register("sweeps", "Sweeps by outcome: complete, partial or failed", metrics.sweeps.clone());
        registry.register("sweep_seconds", "Duration of sweeps", metrics.sweep_seconds.clone());
        registry.register(
            "last_complete_sweep_timestamp_seconds",
            "When the last complete sweep ended",
            metrics.last_sweep.clone(),
        );
        registry.register(
            "oldest_fact_timestamp_seconds",
            "When the oldest fact was read that a verdict rests on: the age of the oldest verdict is the time since",
            metrics.oldest_fact.clone(),
        );
        registry.register("aws_writes", "Mutating AWS calls by operation and outcome", metrics.writes.clone());
        registry.register("withheld_edits", "Edits that are held back, by reason", metrics.withheld.clone());
        registry.register("violations", "Failed controls by severity", metrics.violations.clone());
        registry.register("leader", "Whether this process holds the lease", metrics.leader.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a mutating call.
    pub fn write(&self, operation: &str, outcome: &str) {
        let labels = WriteLabels { operation: operation.to_owned(), outcome: outcome.to_owned() };
        self.writes.get_or_create(&labels).inc();
    }

    /// Notes a sweep that ended at `ended`, in seconds since the epoch.
    pub fn sweep(&self, cell: &Cell, outcome: &str, seconds: f64, ended: f64) {
        let CellLabels { kind, account, region } = CellLabels::of(cell);
        let labels = SweepLabels { kind, account, region, outcome: outcome.to_owned() };
        self.sweeps.get_or_create(&labels).inc();
        self.sweep_seconds.get_or_create(&CellLabels::of(cell)).observe(seconds);
        if outcome == "complete" {
            self.last_sweep.get_or_create(&CellLabels::of(cell)).set(ended);
        }
    }

    /// Notes when the oldest fact of a cell was read, in seconds since the epoch.
    pub fn oldest_fact(&self, cell: &Cell, read_at: f64) {
        self.oldest_fact.get_or_create(&CellLabels::of(cell)).set(read_at);
    }

    /// Notes whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Notes what a baseline counts. Counts that are gone become zero.
    pub fn baseline(&self, reference: &BaselineRef, violations: &Counts, withheld: &Counts) {
        let name = name(reference);
        let gauge = |count: &i64| (*count).max(0);
        for (severity, count) in violations {
            self.violations.get_or_create(&ViolationLabels::of(&name, severity)).set(gauge(count));
        }
        for reason in Withheld::REASONS {
            let count = withheld.get(*reason).unwrap_or(&0);
            let labels = WithheldLabels::of(&name, reason);
            if *count > 0 || self.withheld.get(&labels).is_some() {
                self.withheld.get_or_create(&labels).set(gauge(count));
            }
        }
        self.baselines.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Shows nothing of a baseline that counts nothing any more.
    pub fn forget_baseline(&self, reference: &BaselineRef) {
        let name = name(reference);
        self.baselines.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.remove(&name);
    }

    /// Shows only these baselines, each as `kind/namespace/name`, from now on.
    pub fn keep_baselines(&self, names: &BTreeSet<String>) {
        self.baselines.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| {
            let stays = names.contains(&format!("{}/{}/{}", name.0, name.1, name.2));
            if !stays {
                self.remove(name);
            }
            stays
        });
    }

    fn remove(&self, name: &BaselineName) {
        for severity in SEVERITIES {
            self.violations.remove(&ViolationLabels::of(name, severity));
        }
        for reason in Withheld::REASONS {
            self.withheld.remove(&WithheldLabels::of(name, reason));
        }
    }

    /// Shows nothing of a cell that is no longer looked at.
    pub fn forget_cell(&self, cell: &Cell) {
        let cell = CellLabels::of(cell);
        self.last_sweep.remove(&cell);
        self.oldest_fact.remove(&cell);
        self.sweep_seconds.remove(&cell);
        for outcome in OUTCOMES {
            let CellLabels { kind, account, region } = cell.clone();
            self.sweeps.remove(&SweepLabels { kind, account, region, outcome: outcome.to_owned() });
        }
    }

    /// Everything in the text format of OpenMetrics.
    ///
    /// # Errors
    /// None in practice: writing to a string cannot fail.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use engine::facts::Location;

    use super::*;

    #[test]
    fn what_is_gone_is_no_longer_shown() {
        let (metrics, one) = (Metrics::default(), Counts::from([("critical".to_owned(), 1)]));
        let withheld = Counts::from([("Audit".to_owned(), 2)]);
        let reference = |name: &str| BaselineRef {
            kind: Kind::SecurityGroup,
            namespace: "team".to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            generation: 1,
        };
        for name in ["stays", "goes", "silent"] {
            metrics.baseline(&reference(name), &one, &withheld);
        }
        let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        let cell = Cell { kind: Kind::SecurityGroup, location };
        metrics.sweep(&cell, "complete", 0.1, 1.0);
        assert!(metrics.render().unwrap().contains("eu-west-1"));
        metrics.keep_baselines(&BTreeSet::from([
            "SecurityGroupBaseline/team/stays".to_owned(),
            "SecurityGroupBaseline/team/silent".to_owned(),
        ]));
        metrics.forget_baseline(&reference("silent"));
        metrics.forget_cell(&cell);
        let text = metrics.render().unwrap();
        assert!(text.contains("stays") && !text.contains("goes") && !text.contains("silent"), "{text}");
        assert!(!text.contains("eu-west-1"), "{text}");
    }
}
