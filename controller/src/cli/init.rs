//! `baseward init`: a baseline with every recommended value written out.

use clap::{Args, ValueEnum};
use crds::{AnyBaseline, Common, LambdaBaseline, LambdaBaselineSpec, SecurityGroupBaseline, SecurityGroupBaselineSpec};
use engine::controls::lambda::LambdaParameters;
use engine::controls::security_group::SecurityGroupParameters;
use engine::spec::{Accounts, Select};

use super::output::{show, show_line};

/// Which baseline, and for whom.
#[derive(Args, Clone, Debug)]
pub struct Init {
    /// Kind of the baseline.
    #[arg(value_enum)]
    kind: Kind,
    /// Name of the object.
    #[arg(long, default_value = "recommended")]
    name: String,
    /// Namespace of the object.
    #[arg(long, default_value = "security")]
    namespace: String,
    /// Name of the AWSAccount that it is for.
    #[arg(long, default_value = "my-account")]
    account: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// What good looks like for EC2 security groups.
    #[value(name = "SecurityGroupBaseline", aliases = ["securitygroupbaseline", "sgb"])]
    SecurityGroupBaseline,
    /// What good looks like for Lambda functions.
    #[value(name = "LambdaBaseline", aliases = ["lambdabaseline", "lamb"])]
    LambdaBaseline,
}

/// Prints the baseline as YAML.
///
/// # Errors
/// The output cannot be written.
pub fn init(options: &Init) -> anyhow::Result<()> {
    let common = common(options);
    let mut baseline = match options.kind {
        Kind::SecurityGroupBaseline => {
            let parameters = SecurityGroupParameters::recommended();
            let spec = SecurityGroupBaselineSpec { common, parameters };
            AnyBaseline::SecurityGroup(Box::new(SecurityGroupBaseline::new(&options.name, spec)))
        }
        Kind::LambdaBaseline => {
            let spec = LambdaBaselineSpec { common, parameters: LambdaParameters::recommended() };
            AnyBaseline::Lambda(Box::new(LambdaBaseline::new(&options.name, spec)))
        }
    };
    baseline.meta_mut().namespace = Some(options.namespace.clone());
    show_line(
        "# Every recommended value, in mode Audit: nothing is changed. With mode: Enforce all that stands here is put right.",
    )?;
    show(serde_saphyr::to_string(&baseline.to_value()?)?)
}

fn common(options: &Init) -> Common {
    Common {
        accounts: Accounts { names: vec![options.account.clone()], ..Accounts::default() },
        select: Select { all: Some(true), ..Select::default() },
        ..Common::default()
    }
}
