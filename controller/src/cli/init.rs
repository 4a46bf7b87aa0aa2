//! `baseward init`: a baseline with every recommended value written out.

use clap::{Args, ValueEnum};
use crds::{Common, SecurityGroupBaseline, SecurityGroupBaselineSpec};
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
}

/// Prints the baseline as YAML.
///
/// # Errors
/// The output cannot be written.
pub fn init(options: &Init) -> anyhow::Result<()> {
    let Kind::SecurityGroupBaseline = options.kind;
    let mut baseline = SecurityGroupBaseline::new(&options.name, spec(options));
    baseline.metadata.namespace = Some(options.namespace.clone());
    show_line(
        "# Every recommended value, in mode Audit: nothing is changed. With mode: Enforce all that stands here is put right.",
    )?;
    show(serde_saphyr::to_string(&serde_json::to_value(&baseline)?)?)
}

fn spec(options: &Init) -> SecurityGroupBaselineSpec {
    SecurityGroupBaselineSpec {
        common: Common {
            accounts: Accounts { names: vec![options.account.clone()], ..Accounts::default() },
            select: Select { all: Some(true), ..Select::default() },
            ..Common::default()
        },
        parameters: SecurityGroupParameters::recommended(),
    }
}
