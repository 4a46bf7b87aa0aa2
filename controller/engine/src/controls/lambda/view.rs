//! Functions, layer versions and account settings as the controls see them.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Found;
use crate::controls::{
    ACCOUNT_SETTINGS, ALIASES, CODE_SIGNING, CODE_SIGNING_CONFIGS, CONCURRENCY, DISTRIBUTIONS, EVENT_INVOKE,
    LAYER_POLICIES, LAYERS, NETWORK_INTERFACES, POLICIES, RECURSION, RUNTIME_MANAGEMENT, SECURITY_GROUPS, SUBNETS,
    URLS, VERSIONS,
};
use crate::edit::Withheld;
use crate::evaluate::MAX_AGE;
use crate::facts::{
    AccountSettings, Configuration, EDGE_REGION, Function, InterfaceUse, Inventory, Lambda, LayerVersion, Location,
    Package, ReadFailure, SecurityGroup, Subnet,
};
use crate::finding::Verdict;
use crate::policy::{Policy, PolicyError};

/// Lists that are read once an hour judge nothing once they are older than this.
pub(super) const HOURLY_MAX_AGE: SignedDuration = SignedDuration::from_hours(2);

/// The same for the settings of the account, which are read at nearly every look.
const SETTINGS_MAX_AGE: SignedDuration = SignedDuration::from_mins(15);

/// Without the distributions nobody knows what Lambda@Edge replicates; they are listed every ten minutes.
const DISTRIBUTIONS_MAX_AGE: SignedDuration = SignedDuration::from_mins(30);

/// By this the settings of the account are named.
pub(super) const ACCOUNT_ID: &str = "account-settings";

/// What follows from all functions together, and how to find what is beside them.
#[derive(Debug, Default)]
pub struct Lookup {
    /// How many functions have each role, by its ARN.
    roles: BTreeMap<String, usize>,
    /// Positions of the security groups, by id.
    groups: BTreeMap<String, usize>,
}

impl Lookup {
    pub(super) fn new(inventory: &Inventory) -> Self {
        let mut lookup = Self::default();
        for function in inventory.lambda.functions.facts().map(Vec::as_slice).unwrap_or_default() {
            *lookup.roles.entry(function.configuration.role.clone()).or_default() += 1;
        }
        let groups = inventory.security_groups.facts().map(Vec::as_slice).unwrap_or_default();
        let used = |group: &&SecurityGroup| {
            let functions = inventory.network_interfaces.facts().ok().and_then(|usage| usage.get(&group.id));
            functions.is_none_or(|usage| usage.functions > 0)
        };
        // Others are hardly ever looked for: they are found without this.
        let wanted = groups.iter().enumerate().filter(|(_, group)| group.is_default() || used(group));
        lookup.groups = wanted.map(|(position, group)| (group.id.clone(), position)).collect();
        lookup
    }
}

/// One resource of Lambda as the controls see it.
#[derive(Debug)]
pub enum LambdaView<'a> {
    /// A function.
    Function(FunctionView<'a>),
    /// A version of a layer of the account.
    Layer(LayerView<'a>),
    /// The settings of the account.
    Account(&'a AccountSettings),
}

impl<'a> LambdaView<'a> {
    pub(super) fn new(found: Found<'a>, index: &'a Lookup, inventory: &'a Inventory, now: Timestamp) -> Self {
        match found {
            Found::Function(function) => {
                Self::Function(FunctionView { function, inventory, index, now, policies: OnceCell::new() })
            }
            Found::Layer(layer) => Self::Layer(LayerView { layer, lambda: &inventory.lambda, now }),
            Found::Account(account) => Self::Account(account),
        }
    }

    /// By this the resource is named.
    pub fn id(&self) -> &'a str {
        match self {
            Self::Function(view) => &view.function.name,
            Self::Layer(view) => &view.layer.id,
            Self::Account(_) => ACCOUNT_ID,
        }
    }

    /// The function, if it is one.
    pub fn function(&self) -> Option<&FunctionView<'a>> {
        match self {
            Self::Function(view) => Some(view),
            Self::Layer(_) | Self::Account(_) => None,
        }
    }
}

/// The function, unless the control has nothing to say about it: Lambda@Edge lacks what it asks for.
pub(super) fn regional<'v, 'a>(view: &'v LambdaView<'a>) -> Result<&'v FunctionView<'a>, Verdict> {
    match view.function() {
        None => Err(Verdict::not_applicable("not a function")),
        Some(view) if view.function.edge => Err(Verdict::not_applicable("Lambda@Edge does not support it")),
        Some(view) => Ok(view),
    }
}

/// What there is beside the functions, as far as it was read shortly before them: of anything else only its own controls
/// are silent.
pub(super) fn beside(lambda: &Lambda) -> impl Iterator<Item = Found<'_>> {
    let at = lambda.functions.read_at();
    let layers = lambda.layers.fresh(at, HOURLY_MAX_AGE).map(Vec::as_slice).unwrap_or_default();
    let account = lambda.account.fresh(at, SETTINGS_MAX_AGE).map(Vec::as_slice).unwrap_or_default();
    layers.iter().map(Found::Layer).chain(account.iter().map(Found::Account))
}

/// One version of a layer, and its policy.
#[derive(Clone, Copy, Debug)]
pub struct LayerView<'a> {
    /// The facts.
    pub layer: &'a LayerVersion,
    lambda: &'a Lambda,
    now: Timestamp,
}

impl LayerView<'_> {
    /// Its policy, if it has one.
    ///
    /// # Errors
    /// It is not known, or cannot be understood.
    pub(super) fn policy(&self) -> Result<Option<Policy>, Verdict> {
        let document = self.lambda.layer_policies.of(&self.layer.id, self.now);
        let document = document.map_err(|failure| unread("its policy", failure))?;
        let policy = document.as_deref().map(Policy::parse).transpose();
        policy.map_err(|error| Verdict::unknown(error.to_string()))
    }
}

/// A policy of a function with the qualifier that it is of.
pub(super) type Parsed<'a> = (&'a str, Result<Policy, PolicyError>);

/// One function, what was read of it one by one, and what is beside it.
#[derive(Debug)]
pub struct FunctionView<'a> {
    /// The facts.
    pub function: &'a Function,
    inventory: &'a Inventory,
    index: &'a Lookup,
    now: Timestamp,
    /// Parsed once, however many baselines look at them.
    policies: OnceCell<Result<Vec<Parsed<'a>>, ReadFailure>>,
}

impl<'a> FunctionView<'a> {
    /// Another function in the place of this one, as if it were there.
    pub(super) fn in_place_of<'b>(&self, function: &'b Function) -> FunctionView<'b>
    where
        'a: 'b,
    {
        let Self { inventory, index, now, .. } = *self;
        FunctionView { function, inventory, index, now, policies: OnceCell::new() }
    }

    /// What can be configured.
    pub fn configuration(&self) -> &'a Configuration {
        &self.function.configuration
    }

    /// Everything that was read of Lambda.
    pub fn lambda(&self) -> &'a Lambda {
        &self.inventory.lambda
    }

    /// The account and region.
    pub fn location(&self) -> &'a Location {
        &self.inventory.location
    }

    /// The time of the look.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The day of the look, in UTC.
    pub fn today(&self) -> Date {
        self.now.to_zoned(TimeZone::UTC).date()
    }

    /// The policies of the function and of its aliases.
    ///
    /// # Errors
    /// Why they are not known.
    pub fn policies(&self) -> Result<&[Parsed<'a>], ReadFailure> {
        let parse = || {
            let policies = self.lambda().policies.of(&self.function.name, self.now)?;
            Ok(policies.iter().map(|one| (one.qualifier.as_str(), Policy::parse(&one.document))).collect())
        };
        self.policies.get_or_init(parse).as_deref().map_err(|failure| *failure)
    }

    /// Why nothing is changed of a function that Lambda@Edge replicates, or may replicate for all that is known.
    pub(super) fn at_edge(&self) -> Option<Withheld> {
        let is_known = || {
            let distributions = &self.lambda().distributions;
            self.location().region != EDGE_REGION || distributions.fresh(self.now, DISTRIBUTIONS_MAX_AGE).is_some()
        };
        match self.function.edge {
            true => Some(Withheld::EdgeFunction),
            false => (!is_known()).then_some(Withheld::IncompleteKnowledge),
        }
    }

    /// How many functions have the role of this one, itself included.
    pub fn sharing_role(&self) -> usize {
        self.index.roles.get(&self.configuration().role).copied().unwrap_or(1)
    }

    /// A subnet.
    ///
    /// # Errors
    /// It, or all of them, could not be read.
    pub fn subnet(&self, id: &str) -> Result<&'a Subnet, &'static str> {
        let subnets = self.inventory.subnets.fresh(self.now, MAX_AGE).ok_or("the subnets could not be read")?;
        subnets.get(id).ok_or("one of its subnets is not among those that were read")
    }

    /// A security group, with who carries it.
    ///
    /// # Errors
    /// It, or all of them, or the interfaces could not be read.
    pub fn group(&self, id: &str) -> Result<(&'a SecurityGroup, InterfaceUse), &'static str> {
        let groups =
            self.inventory.security_groups.fresh(self.now, MAX_AGE).ok_or("the security groups could not be read")?;
        let usage = self.inventory.network_interfaces.fresh(self.now, MAX_AGE);
        let usage = usage.ok_or("the network interfaces could not be read")?;
        let indexed = self.index.groups.get(id).and_then(|position| groups.get(*position));
        let group = indexed.or_else(|| groups.iter().find(|group| group.id == id));
        let group = group.ok_or("one of its security groups is not among those that were read")?;
        Ok((group, usage.get(id).copied().unwrap_or_default()))
    }
}

/// That a fact could not be read, or has not been read for too long.
pub(super) fn unread(what: &str, failure: ReadFailure) -> Verdict {
    Verdict::unknown(match failure {
        ReadFailure::NotReadYet => format!("{what}: not read yet, or too long ago"),
        other => format!("{what} could not be read ({})", other.reason()),
    })
}

/// When the oldest fact of a source was read; `None` while it was not yet read of some function.
pub(super) fn oldest(source: &'static str, inventory: &Inventory) -> Option<Timestamp> {
    let lambda = &inventory.lambda;
    let functions = lambda.functions.facts().map(Vec::as_slice).unwrap_or_default();
    let names = functions.iter().map(|function| function.name.as_str());
    let zipped = functions.iter().filter(|function| function.configuration.package == Package::Zip);
    let zipped = zipped.map(|function| function.name.as_str());
    let layers = lambda.layers.facts().map(Vec::as_slice).unwrap_or_default().iter().map(|layer| layer.id.as_str());
    match source {
        LAYERS => Some(lambda.layers.read_at()),
        LAYER_POLICIES => lambda.layer_policies.oldest(layers),
        ACCOUNT_SETTINGS => Some(lambda.account.read_at()),
        CODE_SIGNING_CONFIGS => Some(lambda.code_signing_configs.read_at()),
        SUBNETS => Some(inventory.subnets.read_at()),
        SECURITY_GROUPS => Some(inventory.security_groups.read_at()),
        NETWORK_INTERFACES => Some(inventory.network_interfaces.read_at()),
        ALIASES => lambda.aliases.oldest(names),
        POLICIES => lambda.policies.oldest(names),
        URLS => lambda.urls.oldest(names),
        CONCURRENCY => lambda.concurrency.oldest(names),
        CODE_SIGNING => lambda.code_signing.oldest(zipped),
        RECURSION => lambda.recursion.oldest(names),
        RUNTIME_MANAGEMENT => lambda.runtime_management.oldest(zipped),
        EVENT_INVOKE => lambda.event_invoke.oldest(names),
        VERSIONS => lambda.versions.oldest(names),
        _ => Some(lambda.functions.read_at()),
    }
}

/// Why a source beside the functions could not be read. What only waits for its turn is no failure: its controls are
/// unknown, resource by resource.
pub(super) fn failure(source: &'static str, inventory: &Inventory) -> Option<ReadFailure> {
    let lambda = &inventory.lambda;
    let failure = match source {
        LAYERS => lambda.layers.facts().err(),
        LAYER_POLICIES => lambda.layer_policies.failure(),
        DISTRIBUTIONS => lambda.distributions.facts().err(),
        ACCOUNT_SETTINGS => lambda.account.facts().err(),
        CODE_SIGNING_CONFIGS => lambda.code_signing_configs.facts().err(),
        SUBNETS => inventory.subnets.facts().err(),
        SECURITY_GROUPS => inventory.security_groups.facts().err(),
        NETWORK_INTERFACES => inventory.network_interfaces.facts().err(),
        ALIASES => lambda.aliases.failure(),
        POLICIES => lambda.policies.failure(),
        URLS => lambda.urls.failure(),
        CONCURRENCY => lambda.concurrency.failure(),
        CODE_SIGNING => lambda.code_signing.failure(),
        RECURSION => lambda.recursion.failure(),
        RUNTIME_MANAGEMENT => lambda.runtime_management.failure(),
        EVENT_INVOKE => lambda.event_invoke.failure(),
        VERSIONS => lambda.versions.failure(),
        _ => None,
    };
    failure.filter(|failure| *failure != ReadFailure::NotReadYet)
}
