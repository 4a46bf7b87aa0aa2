//! Exemptions: which findings stand although they are failures, for how long, and who says so.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::controls::{InvalidParameter, listed};
use crate::facts::Resource;
use crate::kind::Kind;
use crate::select::Criteria;
use crate::spec::ExemptResources;

/// An exemption ends at most so long after it was made.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);

/// So long before its end an exemption warns of it.
pub const WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A `BaselineExemption` as its user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// Namespace of the object: only baselines in it are touched.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// When the object was made.
    pub created: Timestamp,
    /// Ids of the controls whose findings stand.
    pub controls: Vec<String>,
    /// The resources that they stand on.
    pub resources: ExemptResources,
    /// When it ends.
    pub expires: Timestamp,
}

/// An exemption that is in order.
#[derive(Clone, Debug)]
pub struct Exempting {
    namespace: String,
    /// The exemption as findings name it.
    pub by: ExemptBy,
    controls: Vec<&'static str>,
    /// Ids that no control of this version has: they excuse nothing, and take nothing from the others.
    pub unknown: Vec<String>,
    accounts: Vec<String>,
    resources: Criteria,
}

/// The name of an exemption and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptBy {
    /// Name of the object, in the namespace of the baseline.
    pub name: String,
    /// When it ends.
    pub expires: Timestamp,
}

impl fmt::Display for ExemptBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exempt by {} until {}", self.name, self.expires)
    }
}

impl Exemption {
    /// Prepares the exemption for use.
    ///
    /// # Errors
    /// No control that exists, a text that is no glob, no resource at all, or an end that is too far away or not after its beginning.
    pub fn accept(&self) -> Result<Exempting, InvalidParameter> {
        let Self { namespace, name, created, controls, resources, expires } = self;
        let ExemptResources { matches, accounts } = resources;
        if matches.is_empty() {
            let problem = "name the resources by names, tags, arns or vpcIds";
            return Err(InvalidParameter::new("resources", problem));
        }
        if expires.duration_since(*created) > LONGEST {
            let problem =
                "an exemption ends at most 365 days after it was made: name an earlier date, and make another one then";
            return Err(InvalidParameter::new("expires", problem));
        }
        if expires <= created {
            return Err(InvalidParameter::new("expires", "it was over before it was made: name a later date"));
        }
        let (known, unknown) = by_id(controls);
        if let Some(first) = unknown.first().filter(|_| known.is_empty()) {
            let problem = format!("there is no control {first:?}: `baseward controls` lists them");
            return Err(InvalidParameter::new("controls", problem));
        }
        Ok(Exempting {
            namespace: namespace.clone(),
            by: ExemptBy { name: name.clone(), expires: *expires },
            controls: known,
            unknown,
            accounts: accounts.clone(),
            resources: Criteria::new("resources", matches)?,
        })
    }
}

/// The ids of controls that there are, and those of controls that there are not.
fn by_id(ids: &[String]) -> (Vec<&'static str>, Vec<String>) {
    let all: Vec<&'static str> = Kind::ALL.into_iter().flat_map(listed).map(|control| control.about.id).collect();
    let known = |id: &String| all.iter().copied().find(|known| known == id);
    (ids.iter().filter_map(known).collect(), ids.iter().filter(|id| known(id).is_none()).cloned().collect())
}

impl Exempting {
    /// Whether it is about baselines of this namespace in this account, by the name of its object.
    pub fn reaches(&self, namespace: &str, account: &str) -> bool {
        self.namespace == namespace && (self.accounts.is_empty() || self.accounts.iter().any(|name| name == account))
    }

    /// Whether it has ended.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.by.expires <= now
    }
}

/// The exemption under which a finding stands: the one that ends last. Nothing else decides whether a finding is exempt.
pub fn exemption<'e>(
    exemptions: &'e [Exempting],
    control: &str,
    resource: Resource<'_>,
    now: Timestamp,
) -> Option<&'e ExemptBy> {
    let stands = |exempting: &&Exempting| {
        !exempting.is_over(now) && exempting.controls.contains(&control) && exempting.resources.matches(resource)
    };
    let standing = exemptions.iter().filter(stands).map(|exempting| &exempting.by);
    standing.max_by(|one, other| one.expires.cmp(&other.expires).then_with(|| other.name.cmp(&one.name)))
}
