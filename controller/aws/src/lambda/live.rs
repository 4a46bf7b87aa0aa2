//! The read right before and after a write: the properties of one resource that are about to change, and what its writes
//! carry along.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_lambda::types::{FunctionConfiguration, LastUpdateStatus, State};
use engine::facts::{Cors, LiveFunction, ResourceType, Tags, UpdateStatus, Variables};
use engine::permission::canonical;
use engine::policy::Policy;
use engine::property::{Json, Property, PropertyName};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::{absent, code_signing, concurrency, configuration, layers, policies, recursion, runtime_management, urls};
use crate::connection::Connection;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::live::Wanted;
use crate::retry::Reads;

/// What the read role must be allowed to do for this read, beside what the sources ask for.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetFunctionConfiguration", "lambda:ListTags"];

const CONFIGURATION: Operation = Operation::GetFunctionConfiguration;

/// The parts of `UpdateFunctionConfiguration`.
const CONFIGURED: [PropertyName; 7] = [
    PropertyName::Runtime,
    PropertyName::KmsKey,
    PropertyName::Tracing,
    PropertyName::Layers,
    PropertyName::Vpc,
    PropertyName::DeadLetter,
    PropertyName::Logging,
];

/// One resource as it is now; `None` if this read did not find it, which alone does not prove that it was deleted.
///
/// # Errors
/// Any failure of any call: there is no partial answer.
pub(crate) async fn read(
    connection: &Connection,
    wanted: &Wanted<'_>,
    now: impl Fn() -> Timestamp,
) -> Result<Option<LiveFunction>, AwsError> {
    let reads = connection.reads(Instant::now() + connection.read_timeout());
    let read_at = now();
    let live = LiveFunction {
        id: wanted.id.to_owned(),
        arn: String::new(),
        properties: BTreeMap::new(),
        revisions: BTreeMap::new(),
        status: None,
        tags: None,
        environment: None,
        read_at,
    };
    let mut reading = Reading { lambda: &connection.read_session().lambda, reads, id: wanted.id, live };
    let found = match wanted.resource_type {
        ResourceType::LayerVersion => reading.layer(wanted.properties).await,
        _ => reading.function(wanted).await,
    };
    Ok(absent(found)?.map(|()| reading.live))
}

struct Reading<'r> {
    lambda: &'r aws_sdk_lambda::Client,
    reads: Reads<'r>,
    id: &'r str,
    live: LiveFunction,
}

impl Reading<'_> {
    fn note(&mut self, property: &Property, value: Option<Json>) {
        self.live.properties.insert(property.clone(), value);
    }

    async fn function(&mut self, wanted: &Wanted<'_>) -> Result<(), AwsError> {
        let properties = wanted.properties;
        let of = |names: &[PropertyName]| -> Vec<&Property> {
            properties.iter().filter(|property| names.contains(&property.name)).collect()
        };
        // Always: it tells whether the function is there.
        let request = self.lambda.get_function_configuration().function_name(self.id);
        let reply = self.reads.call(CONFIGURATION, || request.clone().send()).await?;
        let item = configuration::of_output(reply);
        self.live.arn = item.function_arn().unwrap_or_default().to_owned();
        self.configuration(&item, &of(&CONFIGURED))?;
        let statements = of(&[PropertyName::Statement]);
        let qualifiers: BTreeSet<&str> = statements.iter().map(|property| property.qualifier_and_sid().0).collect();
        for qualifier in qualifiers {
            let found = policies::read(self.lambda, &self.reads, self.id, qualifier).await?;
            let mine = statements.iter().copied().filter(|property| property.qualifier_and_sid().0 == qualifier);
            self.statements(found, qualifier, mine)?;
        }
        let of_urls = of(&[PropertyName::UrlAuth, PropertyName::UrlCors]);
        if !of_urls.is_empty() {
            let found = urls::observe(self.lambda, &self.reads, self.id).await?;
            for property in of_urls {
                let url = found.iter().find(|url| url.qualifier == property.of);
                let value = match property.name {
                    PropertyName::UrlAuth => url.map(|url| Json::of(&url.auth)),
                    _ => url.map(|url| Json::of(url.cors.as_ref().unwrap_or(&Cors::default()))),
                };
                self.note(property, value);
            }
        }
        let of_tags = of(&[PropertyName::Tag]);
        if wanted.with_tags || !of_tags.is_empty() {
            let found = self.tags(item.function_arn().unwrap_or(self.id), of_tags).await?;
            self.live.tags = wanted.with_tags.then_some(found);
        }
        for property in properties {
            self.alone(property).await?;
        }
        Ok(())
    }

    async fn tags(&mut self, arn: &str, wanted: Vec<&Property>) -> Result<Tags, AwsError> {
        let request = self.lambda.list_tags().resource(arn);
        let reply = self.reads.call(Operation::ListTags, || request.clone().send()).await?;
        let found: Tags = reply.tags.unwrap_or_default().into_iter().collect();
        for property in wanted {
            self.note(property, found.get(&property.of).map(Json::of));
        }
        Ok(found)
    }

    /// The properties that have a read of their own.
    async fn alone(&mut self, property: &Property) -> Result<(), AwsError> {
        let (lambda, reads, id) = (self.lambda, &self.reads, self.id);
        let value = match property.name {
            PropertyName::Concurrency => concurrency::observe(lambda, reads, id).await?.map(|found| Json::of(&found)),
            PropertyName::CodeSigning => code_signing::observe(lambda, reads, id).await?.map(|found| Json::of(&found)),
            PropertyName::Recursion => Some(Json::of(&recursion::observe(lambda, reads, id).await?)),
            PropertyName::RuntimeManagement => Some(Json::of(&runtime_management::observe(lambda, reads, id).await?)),
            _ => return Ok(()),
        };
        self.note(property, value);
        Ok(())
    }

    fn configuration(&mut self, item: &FunctionConfiguration, wanted: &[&Property]) -> Result<(), AwsError> {
        let missing = |member: &str| AwsError::unusable(CONFIGURATION.name(), format!("a function has no {member}"));
        let revision = item.revision_id().ok_or_else(|| missing("RevisionId"))?;
        self.live.revisions.insert(String::new(), revision.to_owned());
        self.live.status = Some(status(item));
        let environment = item.environment();
        if environment.is_none_or(|environment| environment.error.is_none()) {
            let variables = environment.and_then(|environment| environment.variables()).cloned().unwrap_or_default();
            self.live.environment = Some(Variables::new(variables.into_iter().collect()));
        }
        let facts = configuration::convert(item);
        for property in wanted {
            let value = match property.name {
                PropertyName::Runtime => facts.runtime.as_ref().map(Json::of),
                PropertyName::KmsKey => facts.kms_key.as_ref().map(Json::of),
                PropertyName::Tracing => Some(Json::of(&facts.tracing)),
                PropertyName::Layers => Some(Json::of(&facts.layers)),
                PropertyName::Vpc => facts.vpc.as_ref().map(Json::of),
                PropertyName::DeadLetter => facts.dead_letter.as_ref().map(Json::of),
                PropertyName::Logging => Some(Json::of(&facts.logging)),
                _ => continue,
            };
            self.note(property, value);
        }
        Ok(())
    }

    async fn layer(&mut self, properties: &BTreeSet<Property>) -> Result<(), AwsError> {
        let Some((name, version)) = layers::parts(self.id) else {
            return Err(AwsError::unusable("GetLayerVersionPolicy", "no id of a layer version"));
        };
        let found = layers::read_policy(self.lambda, &self.reads, name, version).await?;
        self.statements(found, "", properties.iter())
    }

    /// Statements of one policy. One that several have the id of cannot be told apart: it shows as none that was planned on.
    fn statements<'p>(
        &mut self,
        found: Option<(String, String)>,
        qualifier: &str,
        properties: impl Iterator<Item = &'p Property>,
    ) -> Result<(), AwsError> {
        let mut statements: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        if let Some((document, revision)) = found {
            self.live.revisions.insert(format!("/{qualifier}"), revision);
            let policy = Policy::parse(&document)
                .map_err(|error| AwsError::unusable(Operation::GetPolicy.name(), error.to_string()))?;
            for statement in policy.statements() {
                let sid = statement.sid().unwrap_or_default().to_owned();
                statements.entry(sid).or_default().push(statement.raw().clone());
            }
        }
        for property in properties {
            let (_, sid) = property.qualifier_and_sid();
            let value = match statements.get(sid).map(Vec::as_slice) {
                Some([only]) => Some(canonical(only)),
                Some(several) => Some(Json::of(&several)),
                None => None,
            };
            self.note(property, value);
        }
        Ok(())
    }
}

fn status(item: &FunctionConfiguration) -> UpdateStatus {
    let reason = || item.last_update_status_reason_code().map_or("unknown", |code| code.as_str()).to_owned();
    match (item.state(), item.last_update_status()) {
        (Some(State::Active), Some(LastUpdateStatus::InProgress)) => UpdateStatus::InProgress,
        (Some(State::Active), Some(LastUpdateStatus::Failed)) => UpdateStatus::UpdateFailed(reason()),
        (Some(State::Active), Some(LastUpdateStatus::Successful)) => UpdateStatus::Ready,
        (Some(State::Active), _) => UpdateStatus::NotActive("how its last update ended is unknown".to_owned()),
        (Some(State::Pending), _) => UpdateStatus::InProgress,
        (Some(other), _) => UpdateStatus::NotActive(other.as_str().to_owned()),
        (None, _) => UpdateStatus::NotActive("unknown".to_owned()),
    }
}
