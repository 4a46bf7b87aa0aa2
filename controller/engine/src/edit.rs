//! Typed changes to one resource, and what has to be known about each before it may happen.

use std::fmt;

use jiff::Timestamp;

use crate::contests::Contest;
use crate::facts::{InterfaceUse, Peer, Rule, Tags};
use crate::finding::Severity;
use crate::kind::Kind;
use crate::plan::Outcome;
use crate::property::{PropertyChange, PropertyName};

/// What an edit does, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A rule goes away whole.
    RemoveGrant,
    /// A rule is replaced by what may remain of it.
    NarrowGrant,
    /// A required rule is added.
    AddGrant,
    /// A rule gets a description; what it lets through stays.
    DescribeGrant,
    /// Tags are added to the resource.
    AddTags,
    /// Functions run on another runtime.
    SetRuntime,
    /// Environment variables are encrypted with another key.
    SetKmsKey,
    /// Requests are traced, or no longer.
    SetTracing,
    /// Functions run with other layers.
    SetLayers,
    /// Functions reach another part of a VPC.
    SetVpc,
    /// Failed asynchronous events go elsewhere.
    SetDeadLetter,
    /// Logs have another form.
    SetLogging,
    /// A URL asks for a signature, or no longer.
    SetUrlAuth,
    /// A URL lets other origins in.
    SetUrlCors,
    /// A statement of a policy goes away.
    RemoveStatement,
    /// A statement of a policy is replaced by a narrower one.
    NarrowStatement,
    /// A statement of a policy comes back, by the word of a person.
    AddStatement,
    /// Functions run so many times at once at most.
    SetConcurrency,
    /// Code is accepted only if it is signed, or by somebody else.
    SetCodeSigning,
    /// Loops are stopped, or no longer.
    SetRecursion,
    /// AWS patches the runtime at another time.
    SetRuntimeManagement,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What an edit can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Nothing that carries traffic.
    ConfigOnly,
    /// Adds access, takes none away.
    AddsAccess,
    /// New connections or calls of somebody may fail.
    ConnectivityRisk,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What hangs on the resource that an edit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impact {
    /// No interface carries the group.
    None,
    /// Whoever invokes the function.
    Callers,
    /// Interfaces carry it.
    Interfaces {
        /// How many in all.
        interfaces: u32,
        /// How many load balancers some of them belong to.
        load_balancers: u32,
    },
    /// The interfaces could not be read.
    Unknown,
}

impl From<InterfaceUse> for Impact {
    fn from(usage: InterfaceUse) -> Self {
        match usage {
            InterfaceUse { interfaces: 0, .. } => Self::None,
            InterfaceUse { interfaces, load_balancers, .. } => Self::Interfaces { interfaces, load_balancers },
        }
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u32| if count == 1 { "" } else { "s" };
        match *self {
            Self::None => f.write_str("None"),
            Self::Unknown => f.write_str("Unknown"),
            Self::Callers => f.write_str("its callers"),
            Self::Interfaces { interfaces, load_balancers: 0 } => {
                write!(f, "{interfaces} interface{}", plural(interfaces))
            }
            Self::Interfaces { interfaces, load_balancers } => write!(
                f,
                "{interfaces} interface{}, {load_balancers} load balancer{}",
                plural(interfaces),
                plural(load_balancers)
            ),
        }
    }
}

/// The content of an edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// One rule becomes some others, or none; or one appears.
    Rule {
        /// The rule as it was read; `None` where a rule is added.
        before: Option<Rule>,
        /// What stands in its place. What other rules of the group allow already is not repeated here.
        after: Vec<Rule>,
    },
    /// A rule comes back that was there before, by the word of a person.
    Restore {
        /// The rule.
        rule: Rule,
        /// The tags that it had.
        tags: Tags,
    },
    /// Tags are set on the resource.
    Tags {
        /// The present values of these keys; a key that is missing has none.
        before: Tags,
        /// The values to set. A key that only `before` has goes away.
        after: Tags,
    },
    /// Properties get other values, all of them or none: what replaces one is set before that goes.
    Properties(Vec<PropertyChange>),
}

impl Change {
    /// The word for what happens.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Tags { .. } => Operation::AddTags,
            Self::Rule { before: None, .. } | Self::Restore { .. } => Operation::AddGrant,
            Self::Rule { before: Some(before), after } => match after.as_slice() {
                [] => Operation::RemoveGrant,
                [only] if only.grant == before.grant => Operation::DescribeGrant,
                _ => Operation::NarrowGrant,
            },
            Self::Properties(changes) => of_properties(changes),
        }
    }
}

/// The word for a change of properties: that of the first, which the change is about.
fn of_properties(changes: &[PropertyChange]) -> Operation {
    let Some(first) = changes.first() else { return Operation::AddTags };
    match first.property.name {
        PropertyName::Runtime => Operation::SetRuntime,
        PropertyName::KmsKey => Operation::SetKmsKey,
        PropertyName::Tracing => Operation::SetTracing,
        PropertyName::Layers => Operation::SetLayers,
        PropertyName::Vpc => Operation::SetVpc,
        PropertyName::DeadLetter => Operation::SetDeadLetter,
        PropertyName::Logging => Operation::SetLogging,
        PropertyName::UrlAuth => Operation::SetUrlAuth,
        PropertyName::UrlCors => Operation::SetUrlCors,
        PropertyName::Statement | PropertyName::LayerStatement => match (&first.before, changes) {
            (None, _) => Operation::AddStatement,
            (Some(_), [_]) => Operation::RemoveStatement,
            (Some(_), _) => Operation::NarrowStatement,
        },
        PropertyName::Concurrency => Operation::SetConcurrency,
        PropertyName::CodeSigning => Operation::SetCodeSigning,
        PropertyName::Recursion => Operation::SetRecursion,
        PropertyName::RuntimeManagement => Operation::SetRuntimeManagement,
        PropertyName::Tag => Operation::AddTags,
    }
}

impl Change {
    /// What a rule becomes in place, by `ModifySecurityGroupRules`.
    ///
    /// A rule for a security group keeps its traffic there: the request names the group by its id alone, which does not
    /// say in whose account it is (EC2 API reference, `SecurityGroupRuleRequest`).
    pub fn in_place(&self) -> Option<&Rule> {
        match self {
            Self::Rule { before: Some(before), after } => match after.as_slice() {
                [only] if only.grant == before.grant || !matches!(before.grant.peer, Peer::Group { .. }) => Some(only),
                _ => None,
            },
            Self::Rule { before: None, .. } | Self::Restore { .. } | Self::Tags { .. } | Self::Properties(_) => None,
        }
    }
}

impl Operation {
    /// What the operation can break.
    pub fn risk(self) -> Risk {
        match self {
            Self::RemoveGrant
            | Self::NarrowGrant
            | Self::RemoveStatement
            | Self::NarrowStatement
            | Self::SetUrlAuth
            | Self::SetUrlCors
            | Self::SetVpc
            | Self::SetRuntime
            | Self::SetKmsKey
            | Self::SetConcurrency => Risk::ConnectivityRisk,
            Self::AddGrant | Self::AddStatement => Risk::AddsAccess,
            Self::DescribeGrant
            | Self::AddTags
            | Self::SetTracing
            | Self::SetLayers
            | Self::SetDeadLetter
            | Self::SetLogging
            | Self::SetCodeSigning
            | Self::SetRecursion
            | Self::SetRuntimeManagement => Risk::ConfigOnly,
        }
    }
}

/// A control of a baseline that asks for an edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    /// Which baseline, as `namespace/name`.
    pub baseline: BaselineRef,
    /// The control's id.
    pub control: &'static str,
}

/// Names one generation of one baseline object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaselineRef {
    /// Its kind.
    pub kind: Kind,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Its uid: an object that was deleted and made again is another one.
    pub uid: String,
    /// The generation that was compiled.
    pub generation: i64,
}

impl fmt::Display for BaselineRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Why an edit is not made now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// The baseline or the override says `Audit`.
    Audit,
    /// It waits for somebody to approve a change set: the baseline or the override says `Propose`.
    Approval,
    /// Somebody rejected the change set that it is in.
    Rejected,
    /// The baselines that ask for it would change more of what they select than they may without asking; this is how much.
    BlastRadius(String),
    /// Not every account and region of the baseline was looked at yet, so nobody knows how much it would change.
    OtherCells,
    /// So many resources were changed within the hour that the rest waits; this says whose limit it is.
    Budget(String),
    /// It waits for the window, which opens then.
    Window(Timestamp),
    /// A few resources are changed first; once they are, this is how long they have to stand.
    Canary(Option<Timestamp>),
    /// What was changed first went wrong, so that everything else waits for somebody to approve; this is how.
    CanaryFailed(String),
    /// Somebody keeps undoing it: it is made at ever longer intervals.
    Contested(Contest),
    /// The baseline does not write the field that this control belongs to.
    NotNamed,
    /// The account grants this namespace less than the edit needs.
    AccountGrant,
    /// The account names no role to write with.
    ReadOnlyAccount,
    /// The role to write with is not proven to be of the account; this is why.
    WriteRoleUnproven(String),
    /// The account's kill switch is on.
    WritesStopped,
    /// The facts that the edit rests on are incomplete or too old.
    IncompleteKnowledge,
    /// A service of AWS or a controller manages the resource.
    ManagedByService(String),
    /// Infrastructure as code owns the resource: mend the template.
    InfrastructureAsCode(String),
    /// Another account owns the resource.
    OwnedByOtherAccount(String),
    /// Baselines contradict each other; these are the others.
    Conflicting(Vec<String>),
    /// What may remain cannot be written as a few rules.
    NoExactForm,
    /// `internet.onOverlap: Report`: the rule also covers traffic that is allowed.
    ReportOnly,
    /// Interfaces still carry the default group.
    InUse,
    /// A required rule is added first: a prefix list that loses access lets it in until then.
    RequiredFirst,
    /// The baseline does not say what to write: a tag without `default`, descriptions without `stampText`, or a
    /// value that somebody wrote.
    NothingToWrite,
    /// The group has no room for the narrower rules, which must stand before the wide one goes.
    RuleQuota,
    /// The account has not enough concurrency for all that is to be reserved.
    ConcurrencyQuota(String),
    /// A change of the function is on its way: it cannot be changed before that ends.
    UpdateInProgress,
    /// The function is not active, or its last update failed; this is how it stands.
    NotActive(String),
    /// What would be sent again with the change cannot be read: it would be lost.
    WouldLose(String),
    /// Lambda@Edge replicates the function: a change needs a new version and an update of the distribution.
    EdgeFunction,
    /// The API cannot write it back as it is, so it is not taken away.
    NotExpressible(String),
    /// Enough resources are changed in this sweep; worse ones go first.
    SweepLimit,
    /// The resource is not as it was when the edit was planned: it is planned anew.
    ForeignChange,
    /// The baseline was deleted, edited or suspended after the edit was planned.
    BaselineChanged,
    /// This process does not hold the lease, or not long enough for a write.
    NotLeader,
    /// The change set could not be written to the Kubernetes API, or the intent to the audit trail, so nothing may be written
    /// to AWS.
    JournalUnavailable,
    /// The edits of the resource do not fit into one change set.
    ChangeSetTooLarge,
    /// An exemption was made after the edit was planned; this is it.
    Exempt(String),
    /// It was tried in vain, with this outcome: it is tried again later.
    BackingOff(Box<Outcome>),
}

/// A reason is the name of its variant. The match is exhaustive, so that a variant that is not in the list does not compile.
macro_rules! reasons {
    ($($variant:ident),+ $(,)?) => {
        impl Withheld {
            /// Every reason, as it stands in status.
            pub const REASONS: &[&str] = &[$(stringify!($variant)),+];

            /// The reason as it stands in status, events and plans.
            pub fn reason(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant)),+
                }
            }
        }
    };
}

reasons!(
    Audit,
    Approval,
    Rejected,
    BlastRadius,
    OtherCells,
    Budget,
    Window,
    Canary,
    CanaryFailed,
    Contested,
    NotNamed,
    AccountGrant,
    ReadOnlyAccount,
    WriteRoleUnproven,
    WritesStopped,
    IncompleteKnowledge,
    ManagedByService,
    InfrastructureAsCode,
    OwnedByOtherAccount,
    Conflicting,
    NoExactForm,
    ReportOnly,
    InUse,
    RequiredFirst,
    NothingToWrite,
    RuleQuota,
    ConcurrencyQuota,
    UpdateInProgress,
    NotActive,
    WouldLose,
    EdgeFunction,
    NotExpressible,
    SweepLimit,
    ForeignChange,
    BaselineChanged,
    NotLeader,
    JournalUnavailable,
    ChangeSetTooLarge,
    Exempt,
    BackingOff,
);

impl Withheld {
    /// What holds the edit back and how to let it go, in one sentence.
    pub fn explain(&self) -> String {
        match self {
            Self::Audit => "mode is Audit: set mode: Enforce to have it changed".to_owned(),
            Self::Approval => "it waits in a change set: read it with kubectl get chg, then baseward approve NAME".to_owned(),
            Self::Rejected => "its change set was rejected: edit the baseline to have it proposed again".to_owned(),
            Self::BlastRadius(share) => format!("{share}: approve the change sets, or raise remediation.blastRadius.maxShare"),
            Self::OtherCells => "the other accounts and regions of the baseline are looked at first".to_owned(),
            Self::Budget(limit) => format!("{limit}: worse resources went first, it follows as the budget allows"),
            Self::Window(opens) => format!("it waits for the window, which opens at {opens}; remediation.emergency lifts it"),
            Self::Canary(None) => "the canary is changed first (remediation.canary)".to_owned(),
            Self::Canary(Some(until)) => format!("the canary was changed and has to stand until {until} (remediation.canary)"),
            Self::CanaryFailed(why) => format!("the canary failed, {why}: find out why, then approve a change set to go on"),
            Self::Contested(contest) => contest.explain(),
            Self::NotNamed => "the baseline does not write this field: write it, or name the control in overrides".to_owned(),
            Self::AccountGrant => "the AWSAccount does not grant this namespace that much".to_owned(),
            Self::ReadOnlyAccount => "the AWSAccount has no writeRole".to_owned(),
            Self::WriteRoleUnproven(why) => format!("writeRole of the AWSAccount cannot be used: {why}"),
            Self::WritesStopped => "spec.writes of the AWSAccount is Stopped, or the controller runs with --stop-writes".to_owned(),
            Self::IncompleteKnowledge => "a fact that the edit rests on could not be read".to_owned(),
            Self::ManagedByService(by) => format!("managed by a service ({by}): change it there"),
            Self::InfrastructureAsCode(by) => {
                format!("owned by infrastructure as code ({by}): mend the template, or set infrastructureAsCode.mode: Enforce")
            }
            Self::OwnedByOtherAccount(owner) => format!("owned by account {owner}"),
            Self::Conflicting(others) => format!("contradicts {}: nothing is written until they agree", others.join(", ")),
            Self::NoExactForm => {
                "what may remain cannot be written as a few rules: set internet.allowPorts, or replace the rule by hand".to_owned()
            }
            Self::ReportOnly => "internet.onOverlap is Report and the rule also covers allowed traffic".to_owned(),
            Self::InUse => "interfaces still carry the default group: give them a group of their own first".to_owned(),
            Self::RequiredFirst => "a required rule is added first; it follows in the next sweep".to_owned(),
            Self::NothingToWrite => {
                "the baseline does not say what to write (a default of the tag, stampText), or somebody wrote another value".to_owned()
            }
            Self::RuleQuota => {
                "no room for the narrower rules beside the wide one: remove rules, or raise the quota and spec.rulesPerSecurityGroup".to_owned()
            }
            Self::ConcurrencyQuota(shortage) => {
                format!("{shortage}: lower limits.concurrency or other reservations, or have the quota of the account raised")
            }
            Self::UpdateInProgress => "an update of the function is in progress: it follows once that has ended".to_owned(),
            Self::NotActive(state) => format!("the function is not ready to be changed ({state}): invoke or deploy it first"),
            Self::WouldLose(what) => format!("{what} cannot be read and would be lost: let the controller's role read it first"),
            Self::EdgeFunction => {
                "Lambda@Edge replicates the function: publish a changed version and update the distribution".to_owned()
            }
            Self::NotExpressible(what) => format!("{what}: change it by hand"),
            Self::SweepLimit => "worse resources are changed first; it follows in one of the next sweeps".to_owned(),
            Self::ForeignChange => "somebody else changed the resource meanwhile: it is planned anew".to_owned(),
            Self::BaselineChanged => "the baseline was deleted, edited or suspended meanwhile".to_owned(),
            Self::NotLeader => "this process is not the leader, or not for long enough".to_owned(),
            Self::JournalUnavailable => {
                "it could not be written down first: the Kubernetes API takes no change set, or stdout no audit record".to_owned()
            }
            Self::ChangeSetTooLarge => {
                "its edits do not fit into one change set: mend it by hand, or shorten what it holds (descriptions, lists)".to_owned()
            }
            Self::Exempt(by) => by.clone(),
            Self::BackingOff(last) => format!("{}; it is tried again later", last.explain()),
        }
    }
}

/// One typed change to one resource, with what a person wants to know before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Id of the resource, for example `sg-0f12`.
    pub resource: String,
    /// What is done, in one word.
    pub operation: Operation,
    /// What changes.
    pub change: Change,
    /// Which controls of which baselines ask for it, sorted.
    pub demands: Vec<Demand>,
    /// The worst severity among those controls.
    pub severity: Severity,
    /// Ports times public addresses that the edit closes: orders edits of equal severity.
    pub exposed: u128,
    /// What hangs on the resource.
    pub impact: Impact,
}

impl Edit {
    /// A change of a resource, for one baseline.
    pub fn new(resource: &str, change: Change, demands: Vec<Demand>, impact: Impact) -> Self {
        let (resource, operation) = (resource.to_owned(), change.operation());
        Self { resource, operation, change, demands, severity: Severity::Low, exposed: 0, impact }
    }

    /// Whether it can break connections of a resource in use.
    pub fn is_disruptive(&self) -> bool {
        self.operation.risk() == Risk::ConnectivityRisk && self.impact != Impact::None
    }

    /// Sorts the worst first; equal ones by resource and content, so that the order is always the same.
    pub fn worst_first(&self, other: &Self) -> std::cmp::Ordering {
        (other.severity, other.exposed)
            .cmp(&(self.severity, self.exposed))
            .then_with(|| self.resource.cmp(&other.resource))
            .then_with(|| self.change.cmp(&other.change))
    }

    /// The ids of the controls that ask for the edit, each once.
    pub fn controls(&self) -> Vec<&'static str> {
        let mut controls: Vec<_> = self.demands.iter().map(|demand| demand.control).collect();
        controls.sort_unstable();
        controls.dedup();
        controls
    }
}
