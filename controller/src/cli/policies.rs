//! `baseward policies`: the admission policies and the cluster roles.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use crds::policy::DEFAULT_CONTROLLER_USER;

use super::output::show;

/// For which controller.
#[derive(Args, Clone, Debug)]
pub struct Policies {
    /// The user that the controller is to the API server, as kubectl auth whoami prints it with the controller's credentials.
    #[arg(long, default_value = DEFAULT_CONTROLLER_USER, value_parser = NonEmptyStringValueParser::new())]
    controller_user: String,
}

/// Prints the policies, their bindings and the roles as YAML.
///
/// # Errors
/// The output cannot be written.
pub fn policies(options: &Policies) -> anyhow::Result<()> {
    show(crds::policies_yaml(&options.controller_user)?)
}
