//! Baselines as the engine uses them: parsed, checked against what their accounts grant, with one
//! entry for each control that is on.

use std::fmt;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use crate::canary::First;
use crate::controls::{About, Compiled, InvalidParameter, Listed, Parameters, Setting};
use crate::edit::{BaselineRef, Withheld};
use crate::exempt::{ExemptBy, Exempting, exemption};
use crate::facts::{Location, Resource, Tags};
use crate::finding::Severity;
use crate::remediation::{Limits, Remediation};
use crate::select::{Selection, TagGlob, tag_globs, tags_match};
use crate::spec::{Accounts, CodeMode, InfrastructureAsCode, Mode, Override, OverrideMode, Select};
use crate::tenancy::{Account, Assignment, Assignments, Grant, Namespace, assign};

/// A baseline as its user wrote it.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Which object, at which generation.
    pub reference: BaselineRef,
    /// When the object was created: among several, the oldest keeps the change sets.
    pub created: Timestamp,
    /// Where the object lives.
    pub namespace: Namespace,
    /// Whether the baseline is to have no effect for now.
    pub suspended: bool,
    /// Which accounts it is for.
    pub accounts: Accounts,
    /// Which regions; empty is all of the account's.
    pub regions: Vec<String>,
    /// Which resources.
    pub select: Select,
    /// How far it goes.
    pub mode: Mode,
    /// Other modes and severities for single controls.
    pub overrides: Vec<Override>,
    /// What happens to resources that infrastructure as code owns.
    pub infrastructure_as_code: InfrastructureAsCode,
    /// How fast, how far and when resources are changed.
    pub remediation: Remediation,
    /// What good looks like.
    pub parameters: Parameters,
}

/// Why a baseline is not accepted, as the reason of its condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A value passes the schema and still cannot be used.
    InvalidSpec,
    /// A required rule is forbidden by the same baseline.
    RequiredRuleForbidden,
    /// A named account does not exist.
    UnknownAccount,
    /// An account's grants cannot be used.
    InvalidAccount,
    /// A named account has none of the regions.
    RegionNotInAccount,
    /// A named account grants the namespace nothing.
    NamespaceNotGranted,
    /// The identity that an account is reached with belongs to another account.
    IdentityMismatch,
    /// The mode, or that of an override, goes beyond the grant.
    ModeBeyondGrant,
    /// A required rule goes beyond what the namespace may add.
    RequiredRuleBeyondGrant,
}

impl Reason {
    /// The reason as it stands in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::RequiredRuleForbidden => "RequiredRuleForbidden",
            Self::UnknownAccount => "UnknownAccount",
            Self::InvalidAccount => "InvalidAccount",
            Self::RegionNotInAccount => "RegionNotInAccount",
            Self::NamespaceNotGranted => "NamespaceNotGranted",
            Self::IdentityMismatch => "IdentityMismatch",
            Self::ModeBeyondGrant => "ModeBeyondGrant",
            Self::RequiredRuleBeyondGrant => "RequiredRuleBeyondGrant",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A baseline that is not accepted: it has no effect and causes no AWS call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// The reason of the condition.
    pub reason: Reason,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Refusal {
    /// From a reason and a sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl From<InvalidParameter> for Refusal {
    fn from(problem: InvalidParameter) -> Self {
        Self::new(Reason::InvalidSpec, problem.to_string())
    }
}

/// A control that a baseline uses.
#[derive(Clone, Debug)]
pub struct ActiveControl {
    /// The control.
    pub about: &'static About,
    /// Whether it can repair what it finds.
    pub repairs: bool,
    /// How bad a failure is here.
    pub severity: Severity,
    /// How far the control goes here.
    pub mode: Mode,
    /// Why its edits are not made, if that is already settled by the spec.
    pub hold: Option<Withheld>,
    /// How far it would go if the mode of the baseline were `Enforce`: an override stays as it is.
    switched: (Mode, Option<Withheld>),
}

/// An accepted baseline.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Which object, at which generation.
    pub reference: BaselineRef,
    /// When the object was created.
    pub created: Timestamp,
    /// Where it applies and how far.
    pub assignments: Assignments,
    desired: DesiredParts,
}

/// What does not depend on the cell.
#[derive(Clone, Debug)]
struct DesiredParts {
    mode: Mode,
    selection: Selection,
    controls: Vec<ActiveControl>,
    parameters: Compiled,
    code: CodeOwnership,
    limits: Limits,
    first: Option<First>,
}

/// One accepted baseline in one cell.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Which object, at which generation.
    pub reference: BaselineRef,
    /// When the object was created.
    pub created: Timestamp,
    /// How far the baseline goes where no override says otherwise.
    pub mode: Mode,
    /// What the account lets the baseline's namespace do.
    pub grant: Grant,
    /// The controls that are on, in the order of the catalogue.
    pub controls: Vec<ActiveControl>,
    /// What good looks like.
    pub parameters: Compiled,
    /// Which resources infrastructure as code owns, and whether they may be written all the same.
    pub code: CodeOwnership,
    /// How fast, how far and when resources are changed.
    pub limits: Limits,
    /// What is changed first, if the rest waits for it.
    pub first: Option<First>,
    /// All accounts and regions of the baseline.
    pub cells: Arc<[Location]>,
    /// Name of the account's object.
    account: String,
    exemptions: Vec<Exempting>,
    selection: Selection,
}

/// How a baseline sees a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Not at all.
    Outside,
    /// Selected: every control applies.
    Selected,
    /// The default group of a selected VPC: only the controls on default groups apply.
    DefaultGroupOnly,
}

impl Scope {
    /// Whether a control applies.
    pub fn includes(self, control: &About) -> bool {
        match self {
            Self::Outside => false,
            Self::Selected => true,
            Self::DefaultGroupOnly => control.field.starts_with("defaultGroup."),
        }
    }
}

impl Desired {
    /// Whether it has a control that may make edits, at least once they are approved: then it can influence those of others.
    pub fn has_a_say(&self) -> bool {
        self.controls.iter().any(|active| matches!(active.hold, None | Some(Withheld::Approval)))
    }

    /// The same under those of some exemptions that reach it.
    pub fn exempted(self, exemptions: &[Exempting]) -> Self {
        let reaches = |exempting: &&Exempting| exempting.reaches(&self.reference.namespace, &self.account);
        Self { exemptions: exemptions.iter().filter(reaches).cloned().collect(), ..self }
    }

    /// Whether any finding can be exempt.
    pub(crate) fn has_exemptions(&self) -> bool {
        !self.exemptions.is_empty()
    }

    /// The exemption under which findings of a control on a resource stand.
    pub fn exemption(&self, control: &str, resource: Resource<'_>, now: Timestamp) -> Option<&ExemptBy> {
        exemption(&self.exemptions, control, resource, now)
    }

    /// The same as if its mode were `Enforce` and nothing else changed; `None` unless it is `Audit`. What goes beyond the
    /// grant would not be accepted, so it is held by that.
    pub fn switched_to_enforce(&self) -> Option<Self> {
        let granted = self.grant.max_mode >= Mode::Enforce;
        let switched = |active: &ActiveControl| {
            let (mode, hold) = active.switched.clone();
            let hold = hold.or_else(|| (!granted).then_some(Withheld::AccountGrant));
            ActiveControl { mode, hold, ..active.clone() }
        };
        let controls = || self.controls.iter().map(switched).collect();
        (self.mode == Mode::Audit).then(|| Self { mode: Mode::Enforce, controls: controls(), ..self.clone() })
    }

    /// Whether the account lets the baseline's namespace see a resource at all.
    pub fn is_granted(&self, resource: Resource<'_>) -> bool {
        self.grant.shows(resource)
    }

    /// How the baseline sees a resource.
    pub fn scope(&self, resource: Resource<'_>) -> Scope {
        if !self.is_granted(resource) {
            Scope::Outside
        } else if self.selection.matches(resource) {
            Scope::Selected
        } else if resource.is_default_group() && self.selection.matches_vpc(resource) {
            Scope::DefaultGroupOnly
        } else {
            Scope::Outside
        }
    }
}

/// Which resources infrastructure as code owns.
#[derive(Clone, Debug)]
pub struct CodeOwnership {
    /// Whether they may be written all the same.
    pub mode: CodeMode,
    tags: Vec<TagGlob>,
}

/// Set by CloudFormation on every resource of a stack that takes tags.
const CLOUDFORMATION_STACK: &str = "aws:cloudformation:stack-name";

const DEFAULT_CODE_TAGS: [(&str, &str); 2] = [
    ("ManagedBy", "*{[Tt]erraform,[Oo]pen[Tt]ofu,[Pp]ulumi,[Cc]loud[Ff]ormation}*"),
    ("managed-by", "*{[Tt]erraform,[Oo]pen[Tt]ofu,[Pp]ulumi,[Cc]loud[Ff]ormation}*"),
];

/// The recommended globs, compiled once: most baselines use them.
static RECOMMENDED_CODE: LazyLock<Result<Vec<TagGlob>, InvalidParameter>> = LazyLock::new(|| {
    let tags = DEFAULT_CODE_TAGS.map(|(key, glob)| (key.to_owned(), glob.to_owned()));
    tag_globs(CODE_TAGS, &tags.into())
});

const CODE_TAGS: &str = "infrastructureAsCode.tags";

impl CodeOwnership {
    fn new(code: &InfrastructureAsCode) -> Result<Self, InvalidParameter> {
        let tags = match &code.tags {
            Some(tags) => tag_globs(CODE_TAGS, tags),
            None => RECOMMENDED_CODE.clone(),
        };
        Ok(Self { mode: code.mode, tags: tags? })
    }

    /// Why the baseline may not have a resource written, if infrastructure as code owns it.
    pub fn forbids(&self, tags: &Tags) -> Option<Withheld> {
        match self.mode {
            CodeMode::Enforce => None,
            CodeMode::Audit => self.owner(tags).map(Withheld::InfrastructureAsCode),
        }
    }

    /// The tag by which infrastructure as code owns a resource.
    pub fn owner(&self, tags: &Tags) -> Option<String> {
        let stack = tags.get(CLOUDFORMATION_STACK).map(|stack| format!("CloudFormation stack {stack}"));
        let marked = || {
            self.tags
                .iter()
                .find(|glob| tags_match(std::slice::from_ref(glob), tags))
                .map(|glob| format!("tag {}", glob.key))
        };
        stack.or_else(marked)
    }
}

impl Baseline {
    /// Checks the baseline against its accounts and prepares it for every cell.
    ///
    /// # Errors
    /// The first thing that keeps it from being accepted.
    pub fn accept(&self, accounts: &[Account]) -> Result<Accepted, Refusal> {
        let parameters = self.parameters.compile()?;
        let controls = self.active_controls()?;
        let parameters = parameters.with_active(&controls);
        let selection = Selection::new("select", &self.select)?;
        let code = CodeOwnership::new(&self.infrastructure_as_code)?;
        let limits = Limits::new(&self.remediation)?;
        parameters.refuse_contradiction(&controls)?;
        let mut assignments = assign(&self.accounts, &self.regions, &self.namespace, accounts)?;
        assignments.leave_out(|cell| self.beyond_grant(&parameters, &controls, cell))?;
        let canary = self.remediation.canary.as_ref();
        let first = canary.map(|canary| First::new(canary, &assignments.cells)).transpose()?;
        Ok(Accepted {
            reference: self.reference.clone(),
            created: self.created,
            assignments,
            desired: DesiredParts { mode: self.mode, selection, controls, parameters, code, limits, first },
        })
    }

    fn active_controls(&self) -> Result<Vec<ActiveControl>, InvalidParameter> {
        let settings = self.parameters.settings();
        let find = |id: &str| settings.iter().find(|(listed, _)| listed.about.id == id);
        for over in &self.overrides {
            let Some((listed, setting)) = find(&over.control) else {
                let problem =
                    format!("there is no control {:?} for this kind: `baseward controls` lists them", over.control);
                return Err(InvalidParameter::new("overrides", problem));
            };
            let asks = matches!(over.mode, Some(OverrideMode::Propose | OverrideMode::Enforce));
            if asks && *setting == Setting::Off {
                let problem = format!("{:?} has nothing to enforce: write spec.{}", over.control, listed.about.field);
                return Err(InvalidParameter::new("overrides", problem));
            }
        }
        Ok(settings.into_iter().filter_map(|(listed, setting)| self.active(listed, setting)).collect())
    }

    fn active(&self, Listed { about, repairs }: Listed, setting: Setting) -> Option<ActiveControl> {
        let over = self.overrides.iter().find(|over| over.control == about.id);
        let named = match setting {
            Setting::Off => return None,
            Setting::Recommended => over.is_some(),
            Setting::Named => true,
        };
        let own = match over.and_then(|over| over.mode) {
            Some(OverrideMode::Off) => return None,
            Some(OverrideMode::Audit) => Some(Mode::Audit),
            Some(OverrideMode::Propose) => Some(Mode::Propose),
            Some(OverrideMode::Enforce) => Some(Mode::Enforce),
            None => None,
        };
        let held = |mode| match (mode, named) {
            (Mode::Audit, _) => Some(Withheld::Audit),
            (Mode::Propose, _) => Some(Withheld::Approval),
            (Mode::Enforce, false) => Some(Withheld::NotNamed),
            (Mode::Enforce, true) => None,
        };
        let (mode, switched) = (own.unwrap_or(self.mode), own.unwrap_or(Mode::Enforce));
        let severity = over.and_then(|over| over.severity).unwrap_or(about.severity);
        Some(ActiveControl { about, repairs, severity, mode, hold: held(mode), switched: (switched, held(switched)) })
    }

    /// What the baseline asks of one account and region beyond what is granted there.
    fn beyond_grant(&self, parameters: &Compiled, controls: &[ActiveControl], cell: &Assignment) -> Option<Refusal> {
        let mode = controls.iter().map(|active| active.mode).max().unwrap_or_default().max(self.mode);
        if mode > cell.grant.max_mode {
            let message = format!(
                "mode {mode} is beyond the maxMode {} that AWSAccount {:?} grants namespace {:?}",
                cell.grant.max_mode, cell.account, self.namespace.name
            );
            return Some(Refusal::new(Reason::ModeBeyondGrant, message));
        }
        parameters.beyond_grant(cell, &self.namespace.name)
    }
}

impl Accepted {
    /// When the baseline's window opens next, if it has one that is closed.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        self.desired.limits.next_opening(now)
    }

    /// The baseline in one cell, if it applies there.
    pub fn in_cell(&self, location: &Location) -> Option<Desired> {
        let assignment = self.assignments.cells.iter().find(|cell| cell.location == *location)?;
        let DesiredParts { mode, selection, controls, parameters, code, limits, first } = self.desired.clone();
        Some(Desired {
            reference: self.reference.clone(),
            created: self.created,
            mode,
            grant: assignment.grant.clone(),
            controls,
            parameters,
            code,
            limits,
            first,
            cells: self.assignments.cells.iter().map(|cell| cell.location.clone()).collect(),
            account: assignment.account.clone(),
            exemptions: Vec::new(),
            selection,
        })
    }
}
