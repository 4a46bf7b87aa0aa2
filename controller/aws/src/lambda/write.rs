//! The calls that change functions and layer versions.

use std::collections::BTreeMap;

use aws_sdk_lambda::types::builders::CorsBuilder;
use aws_sdk_lambda::types::{
    ApplicationLogLevel, DeadLetterConfig, Environment, FunctionUrlAuthType, LogFormat as SdkLogFormat, LoggingConfig,
    RecursiveLoop, Runtime, SystemLogLevel, TracingConfig, TracingMode, UpdateRuntimeOn, VpcConfig,
};
use engine::call::{LambdaCall, LambdaOperation};
use engine::facts::{Cors, LogFormat, Logging, Recursion, RuntimeManagement, Tracing, UpdateOn, UrlAuth, Vpc};
use engine::permission::Permission;
use engine::property::{Json, Property, PropertyChange, PropertyName};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{layers, qualified};
use crate::connection::Session;
use crate::error::{AwsError, Effect, ErrorClass};
use crate::limiter::Operation;
use crate::write::answer;

/// What the write role must be allowed to do.
pub const WRITE_ACTIONS: &[&str] = &[
    "lambda:AddLayerVersionPermission",
    "lambda:AddPermission",
    "lambda:DeleteFunctionCodeSigningConfig",
    "lambda:DeleteFunctionConcurrency",
    "lambda:PutFunctionCodeSigningConfig",
    "lambda:PutFunctionConcurrency",
    "lambda:PutFunctionRecursionConfig",
    "lambda:PutRuntimeManagementConfig",
    "lambda:RemoveLayerVersionPermission",
    "lambda:RemovePermission",
    "lambda:TagResource",
    "lambda:UntagResource",
    "lambda:UpdateFunctionConfiguration",
    "lambda:UpdateFunctionUrlConfig",
];

/// What Lambda says when a role cannot be used by it.
pub const ROLE_NOT_ASSUMED: &str = "cannot be assumed by Lambda";
/// What Lambda says when a role may not do what the configuration asks for.
pub const ROLE_LACKS_PERMISSION: &str = "does not have permissions to call";
/// What Lambda says of a runtime that nobody may set or update any more.
pub const RUNTIME_BLOCKED: &str = "no longer supported for creating or updating";
/// What Lambda says when too little concurrency would be left unreserved.
pub const TOO_FEW_UNRESERVED: &str = "UnreservedConcurrentExecution";

/// The words of ours for what Lambda says, which hold no values of the function.
pub(crate) fn known_words(detail: &str) -> Option<&'static str> {
    let known = [ROLE_NOT_ASSUMED, ROLE_LACKS_PERMISSION, RUNTIME_BLOCKED, TOO_FEW_UNRESERVED];
    known.into_iter().find(|words| detail.contains(words))
}

/// A call that Lambda would understand otherwise than it is meant.
pub(crate) fn check(call: &LambdaCall) -> Result<(), String> {
    let configures = call.operation == LambdaOperation::UpdateFunctionConfiguration;
    if call.changes.is_empty() {
        return Err(format!("{} of nothing", call.operation.name()));
    }
    if configures && call.revision.is_none() {
        return Err("a configuration without the revision that it was planned on".to_owned());
    }
    let removes =
        matches!(call.operation, LambdaOperation::RemovePermission | LambdaOperation::RemoveLayerVersionPermission);
    if removes && call.revision.is_none() {
        return Err("a statement is removed without the revision that this was planned on".to_owned());
    }
    let sends_key = call.changes.iter().any(|change| change.property.name == PropertyName::KmsKey);
    if call.environment.is_some() && !(configures && sends_key) {
        return Err("environment variables without a change of their key".to_owned());
    }
    // An empty map would erase them.
    if call.environment.as_ref().is_some_and(|variables| variables.is_empty()) {
        return Err("an empty environment".to_owned());
    }
    Ok(())
}

/// Makes one call on a function or a layer version.
pub(crate) async fn send(
    session: &Session,
    id: &str,
    call: &LambdaCall,
    operation: Operation,
) -> Result<Option<String>, AwsError> {
    let sending = Sending { lambda: &session.lambda, id, call, operation };
    match call.operation {
        LambdaOperation::UpdateFunctionConfiguration => sending.configuration().await,
        LambdaOperation::UpdateFunctionUrlConfig => sending.url().await,
        LambdaOperation::AddPermission => sending.add_permission().await,
        LambdaOperation::RemovePermission => sending.remove_permission().await,
        LambdaOperation::AddLayerVersionPermission | LambdaOperation::RemoveLayerVersionPermission => {
            sending.layer_permission().await
        }
        LambdaOperation::TagResource | LambdaOperation::UntagResource => sending.tags().await,
        LambdaOperation::PutFunctionConcurrency
        | LambdaOperation::DeleteFunctionConcurrency
        | LambdaOperation::PutFunctionCodeSigningConfig
        | LambdaOperation::DeleteFunctionCodeSigningConfig
        | LambdaOperation::PutFunctionRecursionConfig
        | LambdaOperation::PutRuntimeManagementConfig => sending.setting().await,
    }
}

struct Sending<'s> {
    lambda: &'s aws_sdk_lambda::Client,
    id: &'s str,
    call: &'s LambdaCall,
    operation: Operation,
}

impl Sending<'_> {
    fn wrong(&self, what: impl Into<String>) -> AwsError {
        let error = AwsError::new(self.operation.name(), ErrorClass::Invalid, Effect::NotSent, "CannotBeSent");
        AwsError { detail: Some(what.into()), ..error }
    }

    /// The only change of the call.
    fn only(&self) -> Result<&PropertyChange, AwsError> {
        match self.call.changes.as_slice() {
            [only] => Ok(only),
            _ => Err(self.wrong("one change is expected")),
        }
    }

    /// A value that was written by the engine.
    fn read<T: DeserializeOwned>(&self, property: &Property, value: &Json) -> Result<T, AwsError> {
        value.read().ok_or_else(|| self.wrong(format!("no value of {property}")))
    }

    fn value<T: DeserializeOwned>(&self, change: &PropertyChange) -> Result<Option<T>, AwsError> {
        change.after.as_ref().map(|value| self.read(&change.property, value)).transpose()
    }

    async fn configuration(&self) -> Result<Option<String>, AwsError> {
        let mut request = self.lambda.update_function_configuration().function_name(self.id);
        for change in &self.call.changes {
            request = match change.property.name {
                PropertyName::Runtime => {
                    request.set_runtime(self.value::<String>(change)?.map(|name| Runtime::from(name.as_str())))
                }
                // An empty text returns to the key of AWS.
                PropertyName::KmsKey => request.kms_key_arn(self.value::<String>(change)?.unwrap_or_default()),
                PropertyName::Tracing => request.set_tracing_config(self.value(change)?.map(tracing)),
                PropertyName::Layers => request.set_layers(Some(self.value(change)?.unwrap_or_default())),
                PropertyName::Vpc => request.vpc_config(vpc(self.value(change)?.unwrap_or_default())),
                PropertyName::DeadLetter => {
                    let target = self.value::<String>(change)?.unwrap_or_default();
                    request.dead_letter_config(DeadLetterConfig::builder().target_arn(target).build())
                }
                PropertyName::Logging => request.set_logging_config(self.value(change)?.map(logging)),
                _ => return Err(self.wrong(format!("{} is no part of the configuration", change.property))),
            };
        }
        if let Some(variables) = self.call.environment.clone() {
            let variables = variables.into_inner().into_iter().collect();
            request = request.environment(Environment::builder().set_variables(Some(variables)).build());
        }
        answer(self.operation, request.set_revision_id(self.call.revision.clone()).send(), |_| Some(true)).await
    }

    async fn url(&self) -> Result<Option<String>, AwsError> {
        let mut request = self.lambda.update_function_url_config().function_name(self.id);
        for change in &self.call.changes {
            request = request.set_qualifier(qualified(&change.property.of));
            request = match change.property.name {
                PropertyName::UrlAuth => request.set_auth_type(self.value(change)?.map(url_auth)),
                PropertyName::UrlCors => request.cors(cors(self.value(change)?.unwrap_or_default()).build()),
                _ => return Err(self.wrong(format!("{} is no part of a URL", change.property))),
            };
        }
        answer(self.operation, request.send(), |_| Some(true)).await
    }

    fn permission(&self, change: &PropertyChange) -> Result<Permission, AwsError> {
        let statement: Option<Value> = self.value(change)?;
        let permission = statement.as_ref().and_then(Permission::of);
        permission.ok_or_else(|| self.wrong("a statement that the call cannot express"))
    }

    async fn add_permission(&self) -> Result<Option<String>, AwsError> {
        let change = self.only()?;
        let (qualifier, sid) = change.property.qualifier_and_sid();
        let permission = self.permission(change)?;
        let Permission { sid: _, action, principal, source_arn, source_account, organization, url_auth, via_url } =
            permission;
        let request = self.lambda.add_permission().function_name(self.id).statement_id(sid).action(action);
        let request = request
            .principal(principal)
            .set_qualifier(qualified(qualifier))
            .set_source_arn(source_arn)
            .set_source_account(source_account)
            .set_principal_org_id(organization)
            .set_function_url_auth_type(url_auth.map(|auth| FunctionUrlAuthType::from(auth.as_str())))
            .set_invoked_via_function_url(via_url)
            .set_revision_id(self.call.revision.clone());
        answer(self.operation, request.send(), |_| Some(true)).await
    }

    async fn remove_permission(&self) -> Result<Option<String>, AwsError> {
        let (qualifier, sid) = self.only()?.property.qualifier_and_sid();
        let request = self.lambda.remove_permission().function_name(self.id).statement_id(sid);
        let request = request.set_qualifier(qualified(qualifier)).set_revision_id(self.call.revision.clone());
        answer(self.operation, request.send(), |_| Some(true)).await
    }

    async fn layer_permission(&self) -> Result<Option<String>, AwsError> {
        let change = self.only()?;
        let (name, version) = layers::parts(self.id).ok_or_else(|| self.wrong("no id of a layer version"))?;
        let (_, sid) = change.property.qualifier_and_sid();
        let revision = self.call.revision.clone();
        if change.after.is_none() {
            let request = self.lambda.remove_layer_version_permission().layer_name(name).version_number(version);
            let request = request.statement_id(sid).set_revision_id(revision);
            return answer(self.operation, request.send(), |_| Some(true)).await;
        }
        let Permission { action, principal, organization, .. } = self.permission(change)?;
        let request = self.lambda.add_layer_version_permission().layer_name(name).version_number(version);
        let request = request.statement_id(sid).action(action).principal(principal);
        let request = request.set_organization_id(organization).set_revision_id(revision);
        answer(self.operation, request.send(), |_| Some(true)).await
    }

    async fn tags(&self) -> Result<Option<String>, AwsError> {
        let arn = self.arn()?;
        let mut tags = BTreeMap::new();
        for change in &self.call.changes {
            tags.insert(change.property.of.clone(), self.value::<String>(change)?);
        }
        if self.call.operation == LambdaOperation::UntagResource {
            let request = self.lambda.untag_resource().resource(arn).set_tag_keys(Some(tags.into_keys().collect()));
            return answer(self.operation, request.send(), |_| Some(true)).await;
        }
        let tags = tags.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
        let request = self.lambda.tag_resource().resource(arn).set_tags(Some(tags));
        answer(self.operation, request.send(), |_| Some(true)).await
    }

    /// Tags are set on an ARN, which the id of a function becomes in its account and region.
    fn arn(&self) -> Result<&str, AwsError> {
        self.call.arn.as_deref().ok_or_else(|| self.wrong("no ARN to tag"))
    }

    async fn setting(&self) -> Result<Option<String>, AwsError> {
        let (change, lambda, id) = (self.only()?, self.lambda, self.id);
        match self.call.operation {
            LambdaOperation::PutFunctionConcurrency => {
                let request = lambda.put_function_concurrency().function_name(id);
                let request = request.set_reserved_concurrent_executions(self.value(change)?);
                answer(self.operation, request.send(), |_| Some(true)).await
            }
            LambdaOperation::DeleteFunctionConcurrency => {
                let request = lambda.delete_function_concurrency().function_name(id);
                answer(self.operation, request.send(), |_| Some(true)).await
            }
            LambdaOperation::PutFunctionCodeSigningConfig => {
                let request = lambda.put_function_code_signing_config().function_name(id);
                let request = request.set_code_signing_config_arn(self.value(change)?);
                answer(self.operation, request.send(), |_| Some(true)).await
            }
            LambdaOperation::DeleteFunctionCodeSigningConfig => {
                let request = lambda.delete_function_code_signing_config().function_name(id);
                answer(self.operation, request.send(), |_| Some(true)).await
            }
            LambdaOperation::PutFunctionRecursionConfig => {
                let request = lambda.put_function_recursion_config().function_name(id);
                let request = request.set_recursive_loop(self.value(change)?.map(recursion));
                answer(self.operation, request.send(), |_| Some(true)).await
            }
            LambdaOperation::PutRuntimeManagementConfig => {
                let wanted: Option<RuntimeManagement> = self.value(change)?;
                let wanted = wanted.ok_or_else(|| self.wrong("no value to set"))?;
                let request = lambda.put_runtime_management_config().function_name(id);
                let request = request.update_runtime_on(update_on(wanted.update_on));
                let request = request.set_runtime_version_arn(wanted.version_arn);
                answer(self.operation, request.send(), |_| Some(true)).await
            }
            _ => Err(self.wrong("no setting")),
        }
    }
}

fn tracing(mode: Tracing) -> TracingConfig {
    let mode = match mode {
        Tracing::Active => TracingMode::Active,
        Tracing::PassThrough => TracingMode::PassThrough,
    };
    TracingConfig::builder().mode(mode).build()
}

/// Empty lists take a function out of its VPC.
fn vpc(vpc: Vpc) -> VpcConfig {
    VpcConfig::builder()
        .set_subnet_ids(Some(vpc.subnets))
        .set_security_group_ids(Some(vpc.security_groups))
        .ipv6_allowed_for_dual_stack(vpc.ipv6)
        .build()
}

fn logging(logging: Logging) -> LoggingConfig {
    let format = match logging.format {
        LogFormat::Json => SdkLogFormat::Json,
        LogFormat::Text => SdkLogFormat::Text,
    };
    LoggingConfig::builder()
        .log_format(format)
        .set_application_log_level(logging.application_level.map(|level| ApplicationLogLevel::from(level.as_str())))
        .set_log_group(logging.group)
        .set_system_log_level(logging.system_level.map(|level| SystemLogLevel::from(level.as_str())))
        .build()
}

fn url_auth(auth: UrlAuth) -> FunctionUrlAuthType {
    match auth {
        UrlAuth::Iam => FunctionUrlAuthType::AwsIam,
        UrlAuth::None => FunctionUrlAuthType::None,
    }
}

fn cors(cors: Cors) -> CorsBuilder {
    let listed = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    aws_sdk_lambda::types::Cors::builder()
        .set_allow_credentials(cors.allow_credentials)
        .set_allow_headers(listed(cors.allow_headers))
        .set_allow_methods(listed(cors.allow_methods))
        .set_allow_origins(listed(cors.allow_origins))
        .set_expose_headers(listed(cors.expose_headers))
        .set_max_age(cors.max_age)
}

fn recursion(recursion: Recursion) -> RecursiveLoop {
    match recursion {
        Recursion::Allow => RecursiveLoop::Allow,
        Recursion::Terminate => RecursiveLoop::Terminate,
    }
}

fn update_on(on: UpdateOn) -> UpdateRuntimeOn {
    match on {
        UpdateOn::Auto => UpdateRuntimeOn::Auto,
        UpdateOn::FunctionUpdate => UpdateRuntimeOn::FunctionUpdate,
        UpdateOn::Manual => UpdateRuntimeOn::Manual,
    }
}

#[cfg(test)]
mod tests {
    use engine::facts::Variables;

    use super::*;

    fn call(operation: LambdaOperation, name: PropertyName) -> LambdaCall {
        let change = PropertyChange { property: Property::only(name), before: None, after: Some(Json::of(&"x")) };
        LambdaCall { operation, changes: vec![change], revision: Some("r".to_owned()), environment: None, arn: None }
    }

    #[test]
    fn variables_are_sent_with_their_key_alone_and_never_an_empty_map() {
        let variables = || Some(Variables::new([("A".to_owned(), "b".to_owned())].into()));
        let configuration = LambdaOperation::UpdateFunctionConfiguration;
        let key = LambdaCall { environment: variables(), ..call(configuration, PropertyName::KmsKey) };
        assert_eq!(check(&key), Ok(()));
        let tracing = LambdaCall { environment: variables(), ..call(configuration, PropertyName::Tracing) };
        assert!(check(&tracing).is_err());
        let empty = LambdaCall { environment: Some(Variables::default()), ..key };
        assert!(check(&empty).is_err());
    }

    #[test]
    fn a_configuration_is_written_on_the_revision_that_it_was_planned_on() {
        let without =
            LambdaCall { revision: None, ..call(LambdaOperation::UpdateFunctionConfiguration, PropertyName::Tracing) };
        assert!(check(&without).is_err());
    }
}
