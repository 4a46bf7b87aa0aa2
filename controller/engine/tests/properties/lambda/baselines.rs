//! Baselines for Lambda out of choices: every topic, every mode, and overrides.

use std::collections::BTreeMap;

use engine::controls::lambda::{
    Access, Asynchronous, AuthDemand, Code, ConcurrencyLimits, EnvironmentVariables, FunctionConcurrency,
    InternetAccess, LambdaParameters, Limits, LogLevel, Network, Observability, Patching, Required, Roles, Runtime,
    Secrets, Signing, SigningPolicy, Upgrade, Urls,
};
use engine::controls::listed;
use engine::controls::tags::RequiredTag;
use engine::desired::Baseline;
use engine::edit::BaselineRef;
use engine::facts::Recursion;
use engine::finding::Severity;
use engine::kind::Kind;
use engine::remediation::Remediation;
use engine::secrets::Detectors;
use engine::spec::{Accounts, CodeMode, InfrastructureAsCode, Match, Mode, Override, OverrideMode, Select};
use engine::tenancy::Namespace;

use super::generators::{CONFIGS, KEYS, strings};
use super::statements::ORGANIZATION;
use super::world::NOW;
use crate::dice::Dice;
use crate::generators::OTHER_ACCOUNT;

/// A baseline of any of three namespaces.
pub(crate) fn baseline(dice: &mut Dice<'_>, number: usize) -> Baseline {
    let namespace = format!("team-{}", dice.below(3));
    Baseline {
        reference: BaselineRef {
            kind: Kind::Lambda,
            namespace: namespace.clone(),
            name: format!("baseline-{number}"),
            uid: format!("lambda-uid-{number}"),
            generation: 1,
        },
        created: NOW,
        namespace: Namespace { name: namespace, labels: BTreeMap::new() },
        suspended: false,
        accounts: Accounts { names: vec!["prod".to_owned()], match_labels: BTreeMap::new() },
        regions: Vec::new(),
        select: select(dice),
        mode: *dice.pick(&[Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Audit, Mode::Propose]),
        overrides: (0..dice.below(5).saturating_sub(2)).map(|_| over(dice)).collect(),
        infrastructure_as_code: InfrastructureAsCode {
            mode: if dice.one_in(3) { CodeMode::Enforce } else { CodeMode::Audit },
            tags: None,
        },
        remediation: Remediation::default(),
        parameters: parameters(dice).into(),
    }
}

fn select(dice: &mut Dice<'_>) -> Select {
    let exclude = dice.one_in(10).then(|| Match { names: vec!["*-b".to_owned()], ..Match::default() });
    let select = match dice.below(6) {
        0..=3 => Select { all: Some(true), ..Select::default() },
        4 => Select { tags: BTreeMap::from([("env".to_owned(), "p*".to_owned())]), ..Select::default() },
        _ => Select { names: strings(vec!["shop*", "own"]), ..Select::default() },
    };
    Select { exclude, ..select }
}

fn over(dice: &mut Dice<'_>) -> Override {
    // What is off unless its field is written is refused while it is to be enforced.
    let on = listed(Kind::Lambda).into_iter().filter(|control| control.about.default != "Off");
    let ids: Vec<&str> = on.map(|control| control.about.id).collect();
    let mode = *dice.pick(&[
        Some(OverrideMode::Enforce),
        Some(OverrideMode::Audit),
        Some(OverrideMode::Off),
        Some(OverrideMode::Propose),
        None,
    ]);
    let severity = *dice.pick(&[None, Some(Severity::Low), Some(Severity::Critical)]);
    Override {
        control: dice.pick(&ids).to_string(),
        mode,
        severity: severity.or(mode.is_none().then_some(Severity::High)),
    }
}

fn parameters(dice: &mut Dice<'_>) -> LambdaParameters {
    LambdaParameters {
        access: (!dice.one_in(4)).then(|| access(dice)),
        urls: (!dice.one_in(3)).then(|| urls(dice)),
        runtime: dice.one_in(2).then(|| runtime(dice)),
        environment: dice.one_in(2).then(|| environment(dice)),
        code: dice.one_in(2).then(|| code(dice)),
        observability: dice.one_in(2).then(|| observability(dice)),
        network: dice.one_in(2).then(|| network(dice)),
        roles: dice.one_in(4).then(|| Roles { dedicated: Some(true), ..Roles::default() }),
        limits: dice.one_in(2).then(|| limits(dice)),
        asynchronous: dice.one_in(2).then(|| Asynchronous {
            dlq_arn: dice
                .pick(&[Some("failed"), Some("lost"), None])
                .map(|name| format!("arn:aws:sqs:eu-west-1:111122223333:{name}")),
        }),
        published_versions: *dice.pick(&[None, Some(true), Some(false)]),
        required_tags: dice.one_in(2).then(|| vec![required_tag(dice)]),
    }
}

fn flag(dice: &mut Dice<'_>) -> Option<bool> {
    *dice.pick(&[Some(true), None, Some(true), Some(false)])
}

fn access(dice: &mut Dice<'_>) -> Access {
    Access {
        forbid_public: flag(dice),
        service_source: flag(dice),
        add_source_account: flag(dice),
        trusted_accounts: dice.pick(&[Some(vec![]), Some(vec![OTHER_ACCOUNT]), None]).clone().map(strings),
        trusted_org_ids: dice.one_in(3).then(|| vec![ORGANIZATION.to_owned()]),
    }
}

fn urls(dice: &mut Dice<'_>) -> Urls {
    Urls {
        auth: *dice.pick(&[Some(AuthDemand::Iam), Some(AuthDemand::Iam), None, Some(AuthDemand::Any)]),
        allow_functions: dice.one_in(6).then(|| vec!["pay-*".to_owned()]),
        cors_origins: (!dice.one_in(3))
            .then(|| strings(dice.some(&["https://a.example", "https://b.example", "https://d.example"]))),
        forbid_urls: *dice.pick(&[None, Some(true)]),
    }
}

fn runtime(dice: &mut Dice<'_>) -> Runtime {
    const UPGRADES: [(&str, &str); 4] =
        [("python3.9", "python3.14"), ("nodejs20.x", "nodejs24.x"), ("go1.x", "provided.al2023"), ("go1.x", "rust1")];
    let upgrade = |(from, to): (&str, &str)| Upgrade { from: from.to_owned(), to: to.to_owned() };
    let mut upgrades: Vec<Upgrade> = dice.some(&UPGRADES).into_iter().map(upgrade).collect();
    upgrades.dedup_by_key(|upgrade| upgrade.from.clone());
    Runtime {
        deny_deprecated: flag(dice),
        warn_days: *dice.pick(&[None, Some(0), Some(365)]),
        upgrades: (!dice.one_in(4)).then_some(upgrades),
        patching: *dice.pick(&[None, Some(Patching::Auto), Some(Patching::FunctionUpdate)]),
    }
}

fn environment(dice: &mut Dice<'_>) -> EnvironmentVariables {
    let detectors = *dice.pick(&[None, Some(Detectors::Entropy), Some(Detectors::Certain)]);
    EnvironmentVariables {
        require_customer_key: flag(dice),
        kms_key_arn: dice.pick(&[Some(KEYS[0]), Some(KEYS[1]), Some(KEYS[2]), None]).map(str::to_owned),
        secrets: dice.one_in(2).then_some(Secrets { detectors, allow_names: None }),
    }
}

fn code(dice: &mut Dice<'_>) -> Code {
    let config = dice.below(CONFIGS.len() + 1);
    Code {
        signing: dice.one_in(2).then(|| Signing {
            config_arn: CONFIGS.get(config).map(|(arn, ..)| (*arn).to_owned()),
            policy: *dice.pick(&[None, Some(SigningPolicy::Enforce), Some(SigningPolicy::Warn)]),
        }),
        trusted_layer_accounts: dice.one_in(2).then(|| vec![OTHER_ACCOUNT.to_owned()]),
        private_layers: flag(dice),
    }
}

fn observability(dice: &mut Dice<'_>) -> Observability {
    const EXTENSIONS: [&str; 4] = [
        "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension:53",
        "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension:54",
        "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension-Arm64:20",
        "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension:53",
    ];
    Observability {
        xray: flag(dice),
        insights_layer_arns: dice.one_in(2).then(|| strings(dice.some(&EXTENSIONS))),
        json_logs: flag(dice),
        log_level: *dice.pick(&[None, Some(LogLevel::Debug), Some(LogLevel::Error)]),
    }
}

fn network(dice: &mut Dice<'_>) -> Network {
    Network {
        require: *dice.pick(&[None, Some(Required::Vpc), Some(Required::Any)]),
        subnet_ids: (!dice.one_in(3)).then(|| strings(dice.some(&["subnet-1", "subnet-2", "subnet-3"]))),
        security_group_ids: (!dice.one_in(3)).then(|| strings(dice.some(&["sg-1", "sg-4", "sg-2"]))),
        internet_access: *dice.pick(&[None, Some(InternetAccess::Required), Some(InternetAccess::Forbidden)]),
        min_azs: *dice.pick(&[None, Some(1), Some(2)]),
    }
}

fn limits(dice: &mut Dice<'_>) -> Limits {
    let of = |name: &str, reserved| FunctionConcurrency { name: name.to_owned(), reserved };
    Limits {
        concurrency: (!dice.one_in(3)).then(|| ConcurrencyLimits {
            default: *dice.pick(&[Some(10), Some(50), Some(500), None]),
            per_function: dice.one_in(3).then(|| vec![of("shop-*", *dice.pick(&[0, 10, 40]))]),
            min_unreserved: *dice.pick(&[None, Some(100), Some(500)]),
        }),
        recursion: *dice.pick(&[None, Some(Recursion::Terminate), Some(Recursion::Allow)]),
        recursion_exempt_functions: dice.one_in(6).then(|| vec!["pay-*".to_owned()]),
        max_timeout: *dice.pick(&[None, Some(60)]),
        max_memory_mib: *dice.pick(&[None, Some(512)]),
        max_ephemeral_mib: *dice.pick(&[None, Some(512)]),
    }
}

fn required_tag(dice: &mut Dice<'_>) -> RequiredTag {
    let default = *dice.pick(&[Some("payments"), Some("unknown"), None]);
    RequiredTag { key: "team".to_owned(), pattern: None, default: default.map(str::to_owned) }
}
