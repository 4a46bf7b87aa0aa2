//! What every kind of baseline shares: the common part of the spec, and the whole status.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::evaluate::{self, ControlCount};
use engine::finding::{Severity, Verdict};
use engine::remediation::Remediation;
use engine::report::{CellSummary, NamedFinding, Summary};
use engine::spec::{Accounts, InfrastructureAsCode, Mode, Override, Select};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::sentence;
use crate::readiness::EnforceReadiness;

/// The fields that every kind of baseline has, to be flattened into its spec.
///
/// It has no rule of its own: of two flattened structs with rules the schema would keep those of the first alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Common {
    /// Which accounts: names of AWSAccount objects, labels that they carry, or both.
    pub accounts: Accounts,
    /// Which regions, such as eu-west-1. Left out: all regions of the accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 40),
        inner(length(max = 32), regex(pattern = "^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$"))
    )]
    pub regions: Vec<String>,
    /// Which resources: all: true, or those that match each written one of tags, names, arns and vpcIds; in a list one entry
    /// has to match. In a glob, * stands for any text, ? for one character, [ab] for a or b, and {web,api} for either word.
    /// What the account does not grant this namespace is neither judged nor shown.
    pub select: Select,
    /// How far to go. Audit: look and report, nothing is ever written. Propose: write down what would be put right, and do it
    /// once a person approves. Enforce: put right what the spec writes; a field that is left out is reported only.
    #[serde(default)]
    pub mode: Mode,
    /// How often to look, as a duration from 10s to 24h such as 60s or 1h30m.
    #[serde(default = "default_interval")]
    #[schemars(transform = engine::duration::Duration { field: "interval", examples: "60s, 5m or 1h30m", shortest: "10s", longest: "24h" })]
    pub interval: String,
    /// Whether the baseline is to have no effect for now: nothing is read and nothing is written. The counts in its status
    /// stay as they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Another mode or severity for single controls. Naming a control here also lets Enforce act on a field that is
    /// left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["control"])
    )]
    pub overrides: Vec<Override>,
    /// What happens to resources that infrastructure as code owns. Left out: they are reported and never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure_as_code: Option<InfrastructureAsCode>,
    /// How fast, how far and when resources are changed. Left out: 60 resources an hour, at most a quarter of the selection in
    /// a day without asking, at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Remediation>,
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

fn default_interval() -> String {
    "60s".to_owned()
}

/// The values that the API server fills in; accounts and select, which it asks for, are empty.
impl Default for Common {
    fn default() -> Self {
        Self {
            accounts: Accounts::default(),
            regions: Vec::new(),
            select: Select::default(),
            mode: Mode::default(),
            interval: default_interval(),
            suspend: false,
            overrides: Vec::new(),
            infrastructure_as_code: None,
            remediation: None,
        }
    }
}

impl Common {
    /// How often to look. Within its bounds also for an object that was stored before they were checked.
    pub fn interval(&self) -> Duration {
        let written = engine::duration::parse(&self.interval);
        written.map_or(DEFAULT_INTERVAL, SignedDuration::unsigned_abs).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }
}

/// What a baseline sees over all its accounts and regions. Counts are absent until there is something to count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Selected resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub resources: Option<i64>,
    /// Selected resources with at least one violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failing_resources: Option<i64>,
    /// Violations by severity: one for each control that a resource fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<Violations>,
    /// All violations together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub violations_total: Option<i64>,
    /// Verdicts of every control on every selected resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Verdicts>,
    /// Counts of each control that is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub controls: Vec<ControlStatus>,
    /// The worst findings, at most 50, worst first; the rest is counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub worst: Vec<WorstFinding>,
    /// Repairs that are held back, by reason: NotNamed, RuleQuota, InfrastructureAsCode and so on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "integer", "format": "int64", "minimum": 0}))]
    pub withheld: BTreeMap<String, i64>,
    /// Repairs that were tried in the last sweep and failed, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "integer", "format": "int64", "minimum": 0}))]
    pub failures: BTreeMap<String, i64>,
    /// What Enforce would do, while mode is Audit: the plan as it would be if mode were Enforce and nothing else changed, overrides
    /// included, once every account and region was looked at. Windows, budgets, the blast radius and the canary are left out, as
    /// they only delay. Many baselines in Audit in one account and region are counted in turns, so these counts can be a few
    /// sweeps older than the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_readiness: Option<EnforceReadiness>,
    /// Change sets that wait for a decision, or to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub pending_change_sets: Option<i64>,
    /// When the window opens next; absent while it is open, and without a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_window: Option<Time>,
    /// Accounts and regions by name, at most 50, those that fail among them; the rest is counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub cells: Vec<CellStatus>,
    /// All accounts and regions that the baseline looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cells_total: Option<i64>,
    /// Accounts that match accounts.matchLabels and are left out: they grant this namespace nothing, or less than the baseline
    /// asks for, or are reached as another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub accounts_left_out: Option<i64>,
    /// When the controller last confirmed this status. Older than 15 minutes: the controller is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Time>,
    /// The value of the annotation baseward.dev/reconcile-at that was last acted on, cut to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// Accepted, Observed, Compliant, Reconciling, Stalled and Ready. Ready means accepted and observed at this
    /// generation; compliance has a condition of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// Violations by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Violations {
    /// A way in for everybody.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub critical: i64,
    /// A way in for somebody who tries.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub high: i64,
    /// Wider than it should be.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub medium: i64,
    /// Hygiene.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub low: i64,
}

impl Violations {
    /// All of them.
    pub fn total(self) -> i64 {
        let Self { critical, high, medium, low } = self;
        [critical, high, medium, low].into_iter().fold(0, i64::saturating_add)
    }
}

/// How many verdicts of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    /// As demanded.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub pass: i64,
    /// Not as demanded.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub fail: i64,
    /// Not as demanded, and exempt by a BaselineExemption.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub exempt: i64,
    /// The control has nothing to say about the resource.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub not_applicable: i64,
    /// The facts do not suffice: never counted as compliant.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unknown: i64,
}

/// One control over all resources of the baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlStatus {
    /// Id of the control.
    #[schemars(length(max = 63))]
    pub id: String,
    /// How bad a violation is in this baseline.
    pub severity: Severity,
    /// How far the control goes in this baseline.
    pub mode: Mode,
    /// Resources that fail it.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub fail: i64,
    /// Resources that fail it and are exempt.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub exempt: i64,
    /// Resources of which too little is known to say.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unknown: i64,
}

/// One violation, or one verdict that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorstFinding {
    /// Id of the resource, such as sg-0f12.
    #[schemars(length(max = 512))]
    pub resource: String,
    /// Account id.
    #[schemars(length(max = 12))]
    pub account: String,
    /// Region.
    #[schemars(length(max = 32))]
    pub region: String,
    /// Id of the control.
    #[schemars(length(max = 63))]
    pub control: String,
    /// How bad it is.
    pub severity: Severity,
    /// Fail, Unknown where a fact is missing, or Pass with a note.
    pub verdict: NamedVerdict,
    /// What uses the resource, such as 2 interfaces; Unknown where that could not be read.
    #[schemars(length(max = 256))]
    pub impact: String,
    /// What the control demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub expected: Option<String>,
    /// What was found instead; for Unknown, which fact is missing; for Pass, the note.
    #[schemars(length(max = 256))]
    pub actual: String,
    /// Why it is not repaired, as one of the reasons counted in withheld and failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub held: Option<String>,
    /// What that means and how to have it repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub advice: Option<String>,
}

/// The verdicts that a status names; the others are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamedVerdict {
    /// Not as demanded, and that is proven.
    Fail,
    /// The facts do not suffice.
    Unknown,
    /// As demanded, with a note on what will change that.
    Pass,
}

/// How one account and region is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellStatus {
    /// Account id.
    #[schemars(length(max = 12))]
    pub account: String,
    /// Region.
    #[schemars(length(max = 32))]
    pub region: String,
    /// When the last sweep ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sweep: Option<Time>,
    /// When the oldest fact was read that a verdict here rests on: what takes a call for each function is not read at every
    /// sweep. Absent until everything was read once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_fact: Option<Time>,
    /// Whether everything that the controls need could be read.
    pub complete: bool,
    /// Why not everything could be read, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
}

/// A count as the API holds it.
pub(crate) fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

pub(crate) fn counts(by_reason: &BTreeMap<&'static str, u64>) -> BTreeMap<String, i64> {
    by_reason.iter().map(|(reason, number)| ((*reason).to_owned(), count(*number))).collect()
}

/// The most bytes that the named findings take together: with the most of everything else a status has no more than 64 KiB.
const WORST_BYTES: usize = 44 * 1024;

/// The first findings, which are the worst, as far as there is room for them. Only texts and names at their longest need
/// more than there is.
fn in_the_room_for_findings(findings: impl Iterator<Item = WorstFinding>) -> Vec<WorstFinding> {
    let mut room = WORST_BYTES;
    let fitting = findings.map_while(|finding| {
        room = room.checked_sub(stored_bytes(&finding))?;
        Some(finding)
    });
    fitting.collect()
}

/// The bytes of a value as the API server stores it: Go escapes more than Rust does.
pub(crate) fn stored_bytes(value: &impl Serialize) -> usize {
    let json = serde_json::to_string(value).unwrap_or_default();
    let stored = |character: char| if "<>&\u{2028}\u{2029}".contains(character) { 6 } else { character.len_utf8() };
    json.chars().map(stored).sum()
}

/// The counts and lists of a summary; generation, heartbeat and conditions are the caller's.
impl From<&Summary> for BaselineStatus {
    fn from(summary: &Summary) -> Self {
        let Summary {
            resources,
            failing_resources,
            verdicts,
            violations,
            controls,
            worst,
            withheld,
            failures,
            cells,
            cells_total,
            cells_uncounted: _,
            conflicts: _,
            readiness,
        } = summary;
        let violations = Violations::from(violations);
        Self {
            resources: Some(count(*resources)),
            failing_resources: Some(count(*failing_resources)),
            violations: Some(violations),
            violations_total: Some(violations.total()),
            verdicts: Some((*verdicts).into()),
            controls: controls.iter().map(ControlStatus::from).collect(),
            worst: in_the_room_for_findings(worst.iter().filter_map(WorstFinding::new)),
            withheld: counts(withheld),
            failures: counts(failures),
            enforce_readiness: readiness.as_ref().map(EnforceReadiness::from),
            cells: cells.iter().map(CellStatus::from).collect(),
            cells_total: Some(count(*cells_total)),
            ..Self::default()
        }
    }
}

impl From<&BTreeMap<Severity, u64>> for Violations {
    fn from(by_severity: &BTreeMap<Severity, u64>) -> Self {
        let of = |severity| count(by_severity.get(&severity).copied().unwrap_or_default());
        Self {
            critical: of(Severity::Critical),
            high: of(Severity::High),
            medium: of(Severity::Medium),
            low: of(Severity::Low),
        }
    }
}

impl From<evaluate::Verdicts> for Verdicts {
    fn from(verdicts: evaluate::Verdicts) -> Self {
        let evaluate::Verdicts { pass, fail, exempt, not_applicable, unknown } = verdicts;
        Self {
            pass: count(pass),
            fail: count(fail),
            exempt: count(exempt),
            not_applicable: count(not_applicable),
            unknown: count(unknown),
        }
    }
}

impl From<&ControlCount> for ControlStatus {
    fn from(control: &ControlCount) -> Self {
        Self {
            id: control.control.to_owned(),
            severity: control.severity,
            mode: control.mode,
            fail: count(control.verdicts.fail),
            exempt: count(control.verdicts.exempt),
            unknown: count(control.verdicts.unknown),
        }
    }
}

impl WorstFinding {
    /// A failure, an unknown verdict or a pass with a note; the others are not named.
    pub fn new(named: &NamedFinding) -> Option<Self> {
        let (verdict, expected, actual) = match &named.finding.verdict {
            Verdict::Fail { expected, actual } => (NamedVerdict::Fail, Some(sentence(expected)), sentence(actual)),
            Verdict::Unknown { why } => (NamedVerdict::Unknown, None, sentence(why)),
            Verdict::PassWithNote { note } => (NamedVerdict::Pass, None, sentence(note)),
            Verdict::Pass | Verdict::NotApplicable { .. } => return None,
        };
        Some(Self {
            resource: named.finding.resource.clone(),
            account: named.location.account.clone(),
            region: named.location.region.clone(),
            control: named.finding.control.to_owned(),
            severity: named.finding.severity,
            verdict,
            impact: named.finding.impact.to_string(),
            expected,
            actual,
            held: named.held.as_ref().map(|held| held.reason.to_owned()),
            advice: named.held.as_ref().map(|held| held.advice.clone()),
        })
    }
}

impl From<&CellSummary> for CellStatus {
    fn from(cell: &CellSummary) -> Self {
        let failure = cell.failure.or_else(|| cell.partial.first().map(|(_, failure)| *failure));
        Self {
            account: cell.location.account.clone(),
            region: cell.location.region.clone(),
            last_sweep: Some(Time(cell.swept_at)),
            oldest_fact: cell.oldest_fact.map(Time),
            complete: failure.is_none(),
            reason: failure.map(|failure| failure.reason().to_owned()),
        }
    }
}
