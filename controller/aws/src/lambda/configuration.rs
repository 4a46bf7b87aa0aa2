//! What can be configured of a function, from the replies of Lambda. Values of environment variables end here.

use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{
    Architecture, EnvironmentResponse, FunctionConfiguration, LogFormat as SdkLogFormat, LoggingConfig, PackageType,
    TracingMode, VpcConfigResponse,
};
use engine::facts::{Configuration, Environment, LogFormat, Logging, Package, Tracing, Vpc};
use engine::secrets::suspicions;

/// The same members under another type.
pub(super) fn of_output(output: GetFunctionConfigurationOutput) -> FunctionConfiguration {
    FunctionConfiguration::builder()
        .set_function_name(output.function_name)
        .set_function_arn(output.function_arn)
        .set_version(output.version)
        .set_runtime(output.runtime)
        .set_role(output.role)
        .set_timeout(output.timeout)
        .set_memory_size(output.memory_size)
        .set_vpc_config(output.vpc_config)
        .set_dead_letter_config(output.dead_letter_config)
        .set_environment(output.environment)
        .set_kms_key_arn(output.kms_key_arn)
        .set_tracing_config(output.tracing_config)
        .set_master_arn(output.master_arn)
        .set_revision_id(output.revision_id)
        .set_layers(output.layers)
        .set_state(output.state)
        .set_last_update_status(output.last_update_status)
        .set_last_update_status_reason_code(output.last_update_status_reason_code)
        .set_package_type(output.package_type)
        .set_architectures(output.architectures)
        .set_ephemeral_storage(output.ephemeral_storage)
        .set_logging_config(output.logging_config)
        .build()
}

pub(super) fn convert(item: &FunctionConfiguration) -> Configuration {
    let package = match item.package_type {
        Some(PackageType::Image) => Package::Image,
        _ => Package::Zip,
    };
    Configuration {
        package,
        runtime: item.runtime().map(|runtime| runtime.as_str().to_owned()),
        // A zip file without an identifier runs on what its owner keeps up to date.
        customer_runtime: package == Package::Zip && item.runtime.is_none(),
        role: item.role().unwrap_or_default().to_owned(),
        kms_key: text(item.kms_key_arn()),
        environment: environment(item.environment()),
        tracing: match item.tracing_config().and_then(|tracing| tracing.mode()) {
            Some(TracingMode::Active) => Tracing::Active,
            _ => Tracing::PassThrough,
        },
        arm: item.architectures().contains(&Architecture::Arm64),
        layers: item.layers().iter().filter_map(|layer| text(layer.arn())).collect(),
        vpc: item.vpc_config().and_then(vpc),
        dead_letter: text(item.dead_letter_config().and_then(|target| target.target_arn())),
        logging: logging(item.logging_config()),
        timeout: item.timeout.unwrap_or_default(),
        memory: item.memory_size.unwrap_or_default(),
        storage: item.ephemeral_storage().map_or(512, |storage| storage.size()),
    }
}

fn text(given: Option<&str>) -> Option<String> {
    given.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn environment(given: Option<&EnvironmentResponse>) -> Environment {
    let variables = given.and_then(|environment| environment.variables());
    let pairs = variables.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
    Environment {
        variables: variables.map_or(0, |variables| variables.len()),
        unreadable: given.is_some_and(|environment| environment.error.is_some()),
        suspicions: suspicions(pairs),
    }
}

fn vpc(given: &VpcConfigResponse) -> Option<Vpc> {
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    let id = text(given.vpc_id())?;
    Some(Vpc {
        id,
        subnets: sorted(given.subnet_ids()),
        security_groups: sorted(given.security_group_ids()),
        ipv6: given.ipv6_allowed_for_dual_stack() == Some(true),
    })
}

fn logging(given: Option<&LoggingConfig>) -> Logging {
    let format = match given.and_then(|logging| logging.log_format()) {
        Some(SdkLogFormat::Json) => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let application = given.and_then(|logging| logging.application_log_level());
    let system = given.and_then(|logging| logging.system_log_level());
    Logging {
        format,
        application_level: application.map(|level| level.as_str().to_owned()),
        system_level: system.map(|level| level.as_str().to_owned()),
        group: given.and_then(|logging| text(logging.log_group())),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::types::{EnvironmentError, Runtime};

    use super::*;

    #[test]
    fn variables_are_counted_and_looked_at_and_dropped() {
        let secret = concat!("AK", "IAQ2W3E4R5T6Y7U2IO");
        let environment = EnvironmentResponse::builder().variables("PLAIN", "yes").variables("KEY", secret).build();
        let item = FunctionConfiguration::builder().runtime(Runtime::from("python3.13")).environment(environment);
        let facts = convert(&item.build());
        assert_eq!(facts.environment.variables, 2);
        assert!(facts.environment.suspicions.iter().any(|suspicion| suspicion.name == "KEY"));
        assert!(!format!("{facts:?}").contains(secret));
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let vpc = VpcConfigResponse::builder().vpc_id("").build();
        let error = EnvironmentError::builder().error_code("AccessDeniedException").build();
        let environment = EnvironmentResponse::builder().error(error).build();
        let item = FunctionConfiguration::builder().vpc_config(vpc).environment(environment).kms_key_arn("");
        let facts = convert(&item.build());
        assert_eq!((facts.vpc, facts.kms_key), (None, None));
        assert!(facts.environment.unreadable && facts.customer_runtime);
    }
}
