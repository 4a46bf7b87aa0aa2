//! What is declared about the functions.

pub(in crate::scale) const BASELINE: &str = "functions";

/// Every control of the catalogue is on.
pub(in crate::scale) const ALL_CONTROLS: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: LambdaBaseline
metadata: {name: functions, namespace: security}
spec:
  accounts: {names: [scale]}
  select: {all: true}
  mode: Audit
  interval: 10s
  access: {forbidPublic: true, serviceSource: true, trustedAccounts: ["444455556666"]}
  urls: {auth: AWS_IAM, corsOrigins: ["https://shop.example.com"], forbidUrls: true}
  runtime: {denyDeprecated: true, warnDays: 90, patching: Auto}
  environment:
    requireCustomerKey: true
    secrets: {detectors: Entropy}
  code:
    signing: {policy: Enforce}
    trustedLayerAccounts: ["444455556666"]
    privateLayers: true
  observability: {xray: true, insightsLayerArns: [], jsonLogs: true, logLevel: Info}
  network: {require: Vpc, securityGroupIds: [sg-0123abcd], internetAccess: Required, minAzs: 2}
  roles: {dedicated: true, maxFunctionsPerRole: 1}
  limits:
    concurrency: {default: 20, minUnreserved: 200}
    recursion: Terminate
    maxTimeout: 60
    maxMemoryMiB: 2048
    maxEphemeralMiB: 1024
  async: {dlqArn: "arn:aws:sqs:eu-west-1:111122223333:failed"}
  publishedVersions: true
  requiredTags: [{key: owner, pattern: "^[a-z]+$"}]
"#;

/// The same object once tracing is to be switched on. All other controls judge by their recommended values.
pub(super) const ENFORCE: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: LambdaBaseline
metadata: {name: functions, namespace: security}
spec:
  accounts: {names: [scale]}
  select: {all: true}
  mode: Enforce
  interval: 10s
  remediation:
    budget: {perHour: 10000}
    blastRadius: {maxShare: 100}
  observability: {xray: true}
"#;

/// The same object without the controls that rest on what takes a call for each function: such facts come in for an hour,
/// and until then each sweep has news.
pub(super) const LISTS_ALONE: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: LambdaBaseline
metadata: {name: functions, namespace: security}
spec:
  accounts: {names: [scale]}
  select: {all: true}
  mode: Enforce
  interval: 10s
  remediation:
    budget: {perHour: 10000}
    blastRadius: {maxShare: 100}
  overrides:
  - {control: lambda-no-public-policy, mode: "Off"}
  - {control: lambda-no-confused-deputy, mode: "Off"}
  - {control: lambda-no-untrusted-account, mode: "Off"}
  - {control: lambda-url-auth-iam, mode: "Off"}
  - {control: lambda-url-cors-restricted, mode: "Off"}
  - {control: lambda-layer-not-public, mode: "Off"}
  - {control: lambda-runtime-auto-update, mode: "Off"}
  - {control: lambda-recursion-terminate, mode: "Off"}
  - {control: lambda-async-failure-destination, mode: "Off"}
  - {control: lambda-published-versions-compliant, mode: "Off"}
  observability: {xray: true}
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use anyhow::Result;
    use crds::LambdaBaseline;
    use engine::controls::lambda::Functions;
    use engine::controls::{
        ACCOUNT_SETTINGS, Catalogue as _, FUNCTIONS, NETWORK_INTERFACES, SECURITY_GROUPS, SUBNETS, Setting,
    };

    use super::*;
    use crate::scale::cpu::{desired, location};
    use crate::scale::fleet::{account, parsed};

    #[test]
    fn every_control_of_the_catalogue_is_on() -> Result<()> {
        let baseline: LambdaBaseline = parsed(ALL_CONTROLS)?;
        for control in Functions::controls() {
            assert_eq!((control.setting)(&baseline.spec.parameters), Setting::Named, "{}", control.about.id);
        }
        Ok(())
    }

    #[test]
    fn what_is_looked_at_in_the_end_rests_on_lists() -> Result<()> {
        const LISTS: [&str; 5] = [FUNCTIONS, ACCOUNT_SETTINGS, SUBNETS, SECURITY_GROUPS, NETWORK_INTERFACES];
        let desired = desired(&parsed::<LambdaBaseline>(LISTS_ALONE)?, &account()?, &location())?;
        let sources = desired.controls.iter().flat_map(|active| active.about.sources).copied();
        let others: BTreeSet<&str> = sources.filter(|source| !LISTS.contains(source)).collect();
        assert_eq!(others, BTreeSet::new());
        assert!(desired.controls.iter().any(|active| active.about.field == "observability.xray"));
        Ok(())
    }
}
