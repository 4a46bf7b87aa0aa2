//! The one shape of every kind: what its baselines look at, what they can ask of it, and how that becomes edits.
//!
//! Everything that works for one kind alone stands behind [`Catalogue`]; whoever works for all of them matches on the
//! kind here and nowhere else.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::lambda::{self, Functions};
use super::security_group::{self, SecurityGroups};
use super::{About, InvalidParameter, Setting};
use crate::desired::{ActiveControl, Refusal};
use crate::edit::Impact;
use crate::facts::{Inventory, ReadFailure, Resource};
use crate::finding::Verdict;
use crate::kind::Kind;
use crate::plan::{ProposedEdit, Say};
use crate::questions::Question;
use crate::tenancy::Assignment;

/// The controls of one kind of baseline, and what they look at.
pub trait Catalogue: Sized + 'static {
    /// The part of a spec that says what good looks like.
    type Parameters: 'static;
    /// The same, parsed.
    type Compiled: 'static;
    /// One resource among the facts of an inventory.
    type Found<'a>: Copy;
    /// What follows from all resources together, found out once for each look.
    type Index;
    /// One resource as the controls see it: its facts, and what follows from them whatever the baseline.
    type View<'a>;
    /// What a control asks for, before the demands of all controls and baselines are put together.
    type Remedy;

    /// The sources that are read whatever the controls.
    const ALWAYS: &'static [&'static str];

    /// Every control, in the order of the spec.
    fn controls() -> impl Iterator<Item = &'static Control<Self>>;

    /// The parameters of a baseline of this kind; `None` for another kind.
    fn compiled(parameters: &Compiled) -> Option<&Self::Compiled>;

    /// Every resource.
    ///
    /// # Errors
    /// Why they could not be read.
    fn found(inventory: &Inventory) -> Result<Vec<Self::Found<'_>>, ReadFailure>;

    /// Since when the resources are known to be as they are.
    fn read_at(inventory: &Inventory) -> Timestamp;

    /// When the oldest fact was read that some sources hold; `None` until each was read once of every resource.
    fn oldest(_: &BTreeSet<&'static str>, inventory: &Inventory) -> Option<Timestamp> {
        Some(Self::read_at(inventory))
    }

    /// Who a resource is.
    fn resource<'a>(found: Self::Found<'a>, inventory: &'a Inventory) -> Resource<'a>;

    /// Looks at all resources together.
    fn index(inventory: &Inventory) -> Self::Index;

    /// Looks at one resource.
    fn view<'a>(
        found: Self::Found<'a>,
        index: &'a Self::Index,
        inventory: &'a Inventory,
        now: Timestamp,
    ) -> Self::View<'a>;

    /// Whether a control has anything to say about a resource of this sort.
    fn concerns(control: &About, view: &Self::View<'_>) -> bool;

    /// What hangs on a resource.
    fn impact(view: &Self::View<'_>) -> Impact;

    /// The edits of one resource, held or not.
    fn plan(view: &Self::View<'_>, questions: &[Question<'_, Self>], say: &Say<'_>) -> Vec<ProposedEdit>;

    /// The edits of all resources, held where they cannot be made together.
    fn together(edits: Vec<ProposedEdit>, _: &Inventory) -> Vec<ProposedEdit> {
        edits
    }

    /// Why a source beside the resources could not be read.
    fn failure(source: &'static str, inventory: &Inventory) -> Option<ReadFailure>;
}

/// One control of a kind.
#[derive(Debug)]
pub struct Control<C: Catalogue> {
    /// What a person wants to know of it.
    pub about: About,
    /// Whether a spec uses it.
    pub setting: fn(&C::Parameters) -> Setting,
    /// Whether two specs ask the same: then one verdict, and one remedy, does for both.
    pub alike: fn(&C::Compiled, &C::Compiled) -> bool,
    /// The verdict on one resource.
    pub check: for<'v> fn(&C::Compiled, &C::View<'v>) -> Verdict,
    /// What would have to change, for a resource that fails; `None` for a control that only reports.
    pub remedy: Option<Remedies<C>>,
}

/// What would have to change for a resource that fails a control.
type Remedies<C> =
    for<'v> fn(&<C as Catalogue>::Compiled, &<C as Catalogue>::View<'v>) -> Vec<<C as Catalogue>::Remedy>;

/// A control as the catalogue lists it, whatever its kind.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// What a person wants to know of it.
    pub about: &'static About,
    /// Whether it can repair what it finds.
    pub repairs: bool,
}

impl<C: Catalogue> From<&'static Control<C>> for Listed {
    fn from(control: &'static Control<C>) -> Self {
        Self { about: &control.about, repairs: control.remedy.is_some() }
    }
}

/// The controls of a kind, in the order of the spec.
pub fn listed(kind: Kind) -> Vec<Listed> {
    match kind {
        Kind::SecurityGroup => SecurityGroups::controls().map(Listed::from).collect(),
        Kind::Lambda => Functions::controls().map(Listed::from).collect(),
    }
}

/// Who the resources of a kind are.
///
/// # Errors
/// Why they could not be read.
pub fn resources(kind: Kind, inventory: &Inventory) -> Result<Vec<Resource<'_>>, ReadFailure> {
    fn of<C: Catalogue>(inventory: &Inventory) -> Result<Vec<Resource<'_>>, ReadFailure> {
        Ok(C::found(inventory)?.into_iter().map(|found| C::resource(found, inventory)).collect())
    }
    match kind {
        Kind::SecurityGroup => of::<SecurityGroups>(inventory),
        Kind::Lambda => of::<Functions>(inventory),
    }
}

/// Since when the resources of a kind are known to be as they are.
pub fn read_at(kind: Kind, inventory: &Inventory) -> Timestamp {
    match kind {
        Kind::SecurityGroup => SecurityGroups::read_at(inventory),
        Kind::Lambda => Functions::read_at(inventory),
    }
}

/// When the oldest fact of some sources was read; `None` until each was read once of every resource.
pub fn oldest(kind: Kind, sources: &BTreeSet<&'static str>, inventory: &Inventory) -> Option<Timestamp> {
    match kind {
        Kind::SecurityGroup => SecurityGroups::oldest(sources, inventory),
        Kind::Lambda => Functions::oldest(sources, inventory),
    }
}

/// What good looks like, as a user wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameters {
    /// For security groups.
    SecurityGroup(Box<security_group::SecurityGroupParameters>),
    /// For functions.
    Lambda(Box<lambda::LambdaParameters>),
}

impl From<security_group::SecurityGroupParameters> for Parameters {
    fn from(parameters: security_group::SecurityGroupParameters) -> Self {
        Self::SecurityGroup(Box::new(parameters))
    }
}

impl From<lambda::LambdaParameters> for Parameters {
    fn from(parameters: lambda::LambdaParameters) -> Self {
        Self::Lambda(Box::new(parameters))
    }
}

impl Parameters {
    /// Which kind of baseline they are of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::SecurityGroup(_) => Kind::SecurityGroup,
            Self::Lambda(_) => Kind::Lambda,
        }
    }

    /// Every control of the kind, and whether these parameters use it.
    pub(crate) fn settings(&self) -> Vec<(Listed, Setting)> {
        fn of<C: Catalogue>(parameters: &C::Parameters) -> Vec<(Listed, Setting)> {
            C::controls().map(|control| (Listed::from(control), (control.setting)(parameters))).collect()
        }
        match self {
            Self::SecurityGroup(parameters) => of::<SecurityGroups>(parameters),
            Self::Lambda(parameters) => of::<Functions>(parameters),
        }
    }

    /// Parses them.
    ///
    /// # Errors
    /// The first value that cannot be used, with the way to mend it.
    pub fn compile(&self) -> Result<Compiled, InvalidParameter> {
        Ok(match self {
            Self::SecurityGroup(parameters) => {
                Compiled::SecurityGroup(Box::new(security_group::Compiled::new(parameters)?))
            }
            Self::Lambda(parameters) => Compiled::Lambda(Box::new(lambda::Compiled::new(parameters)?)),
        })
    }
}

/// What good looks like, with every text parsed and every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum Compiled {
    /// For security groups.
    SecurityGroup(Box<security_group::Compiled>),
    /// For functions.
    Lambda(Box<lambda::Compiled>),
}

impl Compiled {
    /// The same without what rests on controls that are switched off.
    pub(crate) fn with_active(self, controls: &[ActiveControl]) -> Self {
        match self {
            Self::SecurityGroup(parameters) => Self::SecurityGroup(parameters),
            Self::Lambda(parameters) => Self::Lambda(parameters.with_active(controls)),
        }
    }

    /// What the baseline asks for and forbids at once.
    ///
    /// # Errors
    /// The contradiction.
    pub(crate) fn refuse_contradiction(&self, controls: &[ActiveControl]) -> Result<(), Refusal> {
        match self {
            Self::SecurityGroup(parameters) => parameters.refuse_contradiction(controls),
            Self::Lambda(_) => Ok(()),
        }
    }

    /// What the baseline asks for in an account and region beyond what is granted there.
    pub(crate) fn beyond_grant(&self, cell: &Assignment, namespace: &str) -> Option<Refusal> {
        match self {
            Self::SecurityGroup(parameters) => parameters.beyond_grant(cell, namespace),
            Self::Lambda(_) => None,
        }
    }
}
