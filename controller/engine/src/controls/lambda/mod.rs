//! Controls of `LambdaBaseline`.

mod access;
mod asynchronous;
mod code;
mod environment;
#[cfg(test)]
mod fixtures;
mod limits;
mod network;
mod observability;
mod roles;
mod runtime;
mod tags;
mod urls;
mod versions;
mod view;

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::Access;
pub use asynchronous::Asynchronous;
pub use code::{Code, Signing, SigningPolicy};
pub use environment::{EnvironmentVariables, Secrets};
pub use limits::{ConcurrencyLimits, FunctionConcurrency, Limits};
pub use network::{InternetAccess, Network, Required};
pub use observability::{LogLevel, Observability};
pub use roles::Roles;
pub use runtime::{Patching, Runtime, Upgrade};
pub use urls::{AuthDemand, Urls};
pub use view::{FunctionView, LambdaView, LayerView, Lookup};

use super::tags::RequiredTag;
use super::{ACCOUNT_SETTINGS, About, Catalogue, DISTRIBUTIONS, FUNCTIONS, InvalidParameter, LAYERS};
use crate::controls;
use crate::desired::ActiveControl;
use crate::edit::{Impact, Withheld};
use crate::facts::{AccountSettings, Function, Inventory, LayerVersion, ReadFailure, Resource, ResourceType};
pub use crate::plan::properties::Remedy;
use crate::plan::{ProposedEdit, Say, properties};
use crate::questions::Question;

/// The controls on functions, on layer versions, and on what Lambda says about the account.
#[derive(Debug)]
pub struct Functions;

/// One control of Lambda.
pub type Control = super::Control<Functions>;

/// What Lambda has in an account and region that a baseline can be about.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A function.
    Function(&'a Function),
    /// A version of a layer of the account.
    Layer(&'a LayerVersion),
    /// The settings of the account.
    Account(&'a AccountSettings),
}

impl Catalogue for Functions {
    type Parameters = LambdaParameters;
    type Compiled = Compiled;
    type Found<'a> = Found<'a>;
    type Index = Lookup;
    type View<'a> = LambdaView<'a>;
    type Remedy = Remedy;

    const ALWAYS: &'static [&'static str] = &[DISTRIBUTIONS];

    fn controls() -> impl Iterator<Item = &'static Control> {
        [
            access::CONTROLS,
            urls::CONTROLS,
            runtime::CONTROLS,
            environment::CONTROLS,
            code::CONTROLS,
            observability::CONTROLS,
            network::CONTROLS,
            roles::CONTROLS,
            limits::CONTROLS,
            asynchronous::CONTROLS,
            versions::CONTROLS,
            tags::CONTROLS,
        ]
        .into_iter()
        .flatten()
    }

    fn compiled(parameters: &controls::Compiled) -> Option<&Compiled> {
        match parameters {
            controls::Compiled::Lambda(parameters) => Some(parameters),
            controls::Compiled::SecurityGroup(_) => None,
        }
    }

    fn found(inventory: &Inventory) -> Result<Vec<Found<'_>>, ReadFailure> {
        let lambda = &inventory.lambda;
        let functions = lambda.functions.facts()?.iter().map(Found::Function);
        Ok(functions.chain(view::beside(lambda)).collect())
    }

    fn read_at(inventory: &Inventory) -> Timestamp {
        inventory.lambda.functions.read_at()
    }

    fn oldest(sources: &BTreeSet<&'static str>, inventory: &Inventory) -> Option<Timestamp> {
        let of_all = sources.iter().map(|source| view::oldest(source, inventory));
        of_all.chain([Some(Self::read_at(inventory))]).min().flatten()
    }

    fn resource<'a>(found: Found<'a>, inventory: &'a Inventory) -> Resource<'a> {
        let location = &inventory.location;
        match found {
            Found::Function(function) => Resource {
                resource_type: ResourceType::Function,
                id: &function.name,
                name: &function.name,
                owner: &function.account,
                vpc: function.configuration.vpc.as_ref().map_or("", |vpc| &vpc.id),
                tags: &function.tags,
                location,
            },
            Found::Layer(layer) => Resource {
                resource_type: ResourceType::LayerVersion,
                id: &layer.id,
                name: &layer.name,
                owner: &layer.account,
                vpc: "",
                tags: &layer.tags,
                location,
            },
            Found::Account(account) => Resource {
                resource_type: ResourceType::LambdaAccount,
                id: view::ACCOUNT_ID,
                name: view::ACCOUNT_ID,
                owner: &account.account,
                vpc: "",
                tags: &account.tags,
                location,
            },
        }
    }

    fn index(inventory: &Inventory) -> Lookup {
        Lookup::new(inventory)
    }

    fn view<'a>(found: Found<'a>, index: &'a Lookup, inventory: &'a Inventory, now: Timestamp) -> LambdaView<'a> {
        LambdaView::new(found, index, inventory, now)
    }

    fn concerns(control: &About, view: &LambdaView<'_>) -> bool {
        let of = match view {
            LambdaView::Function(_) => FUNCTIONS,
            LambdaView::Layer(_) => LAYERS,
            LambdaView::Account(_) => ACCOUNT_SETTINGS,
        };
        control.sources.first() == Some(&of)
    }

    fn impact(view: &LambdaView<'_>) -> Impact {
        match view {
            LambdaView::Function(_) | LambdaView::Layer(_) => Impact::Callers,
            LambdaView::Account(_) => Impact::None,
        }
    }

    fn plan(view: &LambdaView<'_>, questions: &[Question<'_, Self>], say: &Say<'_>) -> Vec<ProposedEdit> {
        let mut edits = properties::plan(view, view.id(), questions, say);
        if let Some(held) = view.function().and_then(FunctionView::at_edge) {
            for ProposedEdit { hold, .. } in &mut edits {
                if matches!(hold, None | Some(Withheld::Approval)) {
                    *hold = Some(held.clone());
                }
            }
        }
        edits
    }

    fn together(edits: Vec<ProposedEdit>, inventory: &Inventory) -> Vec<ProposedEdit> {
        limits::within_the_pool(edits, inventory)
    }

    fn failure(source: &'static str, inventory: &Inventory) -> Option<ReadFailure> {
        view::failure(source, inventory)
    }
}

/// The fields of a `LambdaBaseline` that say what good looks like, grouped by topic.
///
/// A field left out is judged by its recommended default and reported; it is enforced once it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LambdaParameters {
    /// Who may use a function, by its resource policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Function URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Urls>,
    /// Runtimes and how they are patched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Environment variables: their key, and credentials in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentVariables>,
    /// Code signing and layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Tracing, monitoring and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
    /// VPC, subnets and security groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Execution roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,
    /// Concurrency, recursion, and the size of functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Asynchronous events that failed.
    #[serde(default, rename = "async", skip_serializing_if = "Option::is_none")]
    pub asynchronous: Option<Asynchronous>,
    /// Whether the published versions behind aliases are judged as well: they keep the settings that they were published
    /// with. Reported only. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_versions: Option<bool>,
    /// Tags that every function must have. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub required_tags: Option<Vec<RequiredTag>>,
}

impl LambdaParameters {
    /// Every recommended value written out, as `baseward init` prints it.
    pub fn recommended() -> Self {
        Self {
            access: Some(Access::recommended()),
            urls: Some(Urls::recommended()),
            runtime: Some(Runtime::recommended()),
            environment: Some(EnvironmentVariables::recommended()),
            code: Some(Code::recommended()),
            observability: Some(Observability::recommended()),
            network: Some(Network::recommended()),
            roles: Some(Roles::recommended()),
            limits: Some(Limits::recommended()),
            asynchronous: None,
            published_versions: Some(true),
            required_tags: None,
        }
    }
}

/// The parameters with every text parsed and every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    access: access::Compiled,
    urls: urls::Compiled,
    runtime: runtime::Compiled,
    environment: environment::Compiled,
    code: code::Compiled,
    observability: observability::Compiled,
    network: network::Compiled,
    roles: roles::Compiled,
    limits: limits::Compiled,
    asynchronous: asynchronous::Compiled,
    versions: versions::Compiled,
    tags: super::tags::Compiled,
}

impl Compiled {
    /// Parses a spec.
    ///
    /// # Errors
    /// The first value that cannot be used, with the way to mend it.
    pub fn new(parameters: &LambdaParameters) -> Result<Self, InvalidParameter> {
        let LambdaParameters {
            access,
            urls,
            runtime,
            environment,
            code,
            observability,
            network,
            roles,
            limits,
            asynchronous,
            published_versions: _,
            required_tags,
        } = parameters;
        Ok(Self {
            access: access::Compiled::new(access.as_ref()),
            urls: urls::Compiled::new(urls.as_ref())?,
            runtime: runtime::Compiled::new(runtime.as_ref())?,
            environment: environment::Compiled::new(environment.as_ref())?,
            code: code::Compiled::new(code.as_ref()),
            observability: observability::Compiled::new(observability.as_ref()),
            network: network::Compiled::new(network.as_ref()),
            roles: roles::Compiled::new(roles.as_ref())?,
            limits: limits::Compiled::new(limits.as_ref())?,
            asynchronous: asynchronous::Compiled::new(asynchronous.as_ref()),
            versions: versions::Compiled::new(parameters),
            tags: super::tags::Compiled::new("requiredTags", required_tags.as_deref())?,
        })
    }

    /// The same without what rests on controls that are switched off.
    pub(super) fn with_active(mut self: Box<Self>, controls: &[ActiveControl]) -> Box<Self> {
        self.versions.keep(|id| controls.iter().any(|control| control.about.id == id));
        self
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::facts::Source;

    #[test]
    fn nothing_is_changed_of_what_lambda_at_edge_replicates_or_may() {
        let held = |region: &str, distributions: Source<BTreeSet<String>>, edge: bool| {
            let function = Function { edge, ..fixtures::function(fixtures::NAME) };
            let mut inventory = fixtures::inventory(vec![function]);
            inventory.location.region = region.to_owned();
            inventory.lambda.distributions = distributions;
            let (index, found) = (Functions::index(&inventory), Functions::found(&inventory).unwrap());
            let view = Functions::view(found[0], &index, &inventory, fixtures::now());
            view.function().unwrap().at_edge()
        };
        let known = |minutes| Source::complete(BTreeSet::new(), fixtures::now() - SignedDuration::from_mins(minutes));
        let refused = || Source::failed(ReadFailure::AccessDenied, fixtures::now());
        assert_eq!(held("eu-west-1", Source::default(), false), None);
        assert_eq!(held("eu-west-1", Source::default(), true), Some(Withheld::EdgeFunction));
        assert_eq!(held("us-east-1", known(30), false), None);
        assert_eq!(held("us-east-1", known(30), true), Some(Withheld::EdgeFunction));
        for unknown in [known(31), refused(), Source::default()] {
            assert_eq!(held("us-east-1", unknown, false), Some(Withheld::IncompleteKnowledge));
        }
    }

    #[test]
    fn what_is_beside_the_functions_is_there_as_long_as_it_is_not_too_old() {
        let settings = AccountSettings {
            account: fixtures::ACCOUNT.to_owned(),
            concurrency: 1000,
            unreserved: 1000,
            tags: Default::default(),
        };
        let layer = LayerVersion {
            id: "layer:own:1".to_owned(),
            name: "own".to_owned(),
            account: fixtures::ACCOUNT.to_owned(),
            tags: Default::default(),
        };
        let found = |minutes: i64| {
            let read_at = fixtures::now() - SignedDuration::from_mins(minutes);
            let mut inventory = fixtures::inventory(Vec::new());
            inventory.lambda.layers = Source::complete(vec![layer.clone()], read_at);
            inventory.lambda.account = Source::complete(vec![settings.clone()], read_at);
            Functions::found(&inventory).unwrap().len()
        };
        assert_eq!([0, 15, 16, 120, 121].map(found), [2, 2, 1, 1, 0]);
    }
}
