//! Functions and what is beside them out of choices, biased to what controls look at.

use std::collections::BTreeMap;

use engine::controls::{
    ACCOUNT_SETTINGS, ALIASES, CODE_SIGNING, CODE_SIGNING_CONFIGS, CONCURRENCY, EVENT_INVOKE, LAYER_POLICIES, LAYERS,
    NETWORK_INTERFACES, POLICIES, RECURSION, RUNTIME_MANAGEMENT, SECURITY_GROUPS, SUBNETS, URLS, VERSIONS,
};
use engine::facts::{
    Alias, CodeSigningConfig, Configuration, Cors, Environment, Function, FunctionUrl, LogFormat, Logging, Package,
    Recursion, RuntimeManagement, Tags, Tracing, UpdateOn, UpdateStatus, UrlAuth, Version, Vpc,
};
use engine::secrets::suspicions;
use engine::spec::{Mode, NamespaceGrant, Select};
use engine::tenancy::Account;

use super::baselines::baseline;
use super::statements::{open_url, statements};
use super::world::{Deep, GROUPS, Layer, Read, SUBNETS_OF_VPC, World};
use crate::dice::Dice;
use crate::generators::OTHER_ACCOUNT;
use crate::world::ACCOUNT;

/// One of them is called like the settings of the account.
const NAMES: [&str; 3] = ["shop-a", "pay-b", "account-settings"];

/// In every value of an environment variable: it must not be told anywhere.
pub(crate) const CANARY: &str = "canary-q7RzT2mXc9LwKp4V";

/// Code signing configurations: one that does, one that only warns, one that trusts nobody, and one of another region.
pub(crate) const CONFIGS: [(&str, bool, usize); 4] = [
    ("arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef0", true, 1),
    ("arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef1", false, 1),
    ("arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef2", true, 0),
    ("arn:aws:lambda:us-east-1:111122223333:code-signing-config:csc-0123456789abcdef3", true, 1),
];

/// Keys for environment variables; the last is of another region.
pub(crate) const KEYS: [&str; 3] = [
    "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "arn:aws:kms:eu-west-1:111122223333:key/mrk-0",
    "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
];

/// Layers that functions use.
const USED_LAYERS: [&str; 4] = [
    "arn:aws:lambda:eu-west-1:111122223333:layer:own:1",
    "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension:53",
    "arn:aws:lambda:eu-west-1:444455556666:layer:theirs:7",
    "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3:1",
];

/// A whole world.
pub(crate) fn world(dice: &mut Dice<'_>) -> World {
    let baselines = (0..1 + dice.below(3)).map(|number| baseline(dice, number)).collect();
    let config =
        |(arn, enforces, publishers): (&str, bool, usize)| (arn.to_owned(), CodeSigningConfig { enforces, publishers });
    let numbers: Vec<usize> = (0..1 + dice.below(4) / 2).chain(dice.one_in(10).then_some(2)).collect();
    let functions: Vec<Deep> = numbers.into_iter().map(|number| deep(dice, NAMES[number])).collect();
    let reserved: i32 = functions.iter().filter_map(|deep| deep.concurrency).sum();
    let hosts = dice.one_in(2);
    World {
        functions,
        layers: (1..1 + dice.below(5) / 2).map(|number| layer(dice, number)).collect(),
        concurrency: dice.pick(&[1000, 1000, 100, 130]) + reserved,
        configs: CONFIGS.map(config).into(),
        hosts: GROUPS.iter().filter(|_| hosts).map(|(id, ..)| ((*id).to_owned(), 2)).collect(),
        account: account(dice),
        baselines,
        reads: BTreeMap::new(),
    }
}

fn account(dice: &mut Dice<'_>) -> Account {
    let grant = |number: usize| NamespaceGrant {
        name: Some(format!("team-{number}")),
        max_mode: Mode::Enforce,
        select: None,
        ..NamespaceGrant::default()
    };
    let mut namespaces: Vec<NamespaceGrant> = (0..3).map(grant).collect();
    if dice.one_in(10) {
        namespaces[2].select = Some(Select { names: vec!["shop-*".to_owned()], ..Select::default() });
    }
    Account {
        name: "prod".to_owned(),
        labels: BTreeMap::new(),
        account_id: ACCOUNT.to_owned(),
        regions: vec!["eu-west-1".to_owned()],
        namespaces,
        writable: !dice.one_in(40),
        write_distrust: None,
        writes_stopped: dice.one_in(40),
        changes_per_hour: 1000,
        rules_per_group: 60,
    }
}

fn deep(dice: &mut Dice<'_>, name: &str) -> Deep {
    let (configuration, variables) = configuration(dice, name);
    let function = Function {
        name: name.to_owned(),
        account: if dice.one_in(30) { OTHER_ACCOUNT } else { ACCOUNT }.to_owned(),
        tags: tags(dice),
        edge: dice.one_in(16),
        revision: "0".to_owned(),
        configuration,
    };
    let reserved = *dice.pick(&[None, None, Some(0), Some(5), Some(20), Some(60)]);
    let mut deep = Deep {
        function,
        variables,
        policies: BTreeMap::new(),
        urls: Vec::new(),
        concurrency: reserved,
        code_signing: dice.pick(&[None, Some(0), Some(1), Some(2)]).map(|config: usize| CONFIGS[config].0.to_owned()),
        recursion: *dice.pick(&[Recursion::Terminate, Recursion::Allow]),
        management: management(dice),
        event_invoke: dice.one_in(3),
        aliases: Vec::new(),
        versions: Vec::new(),
        status: UpdateStatus::Ready,
        changed: BTreeMap::new(),
    };
    if dice.one_in(2) {
        publish(dice, &mut deep);
    }
    for qualifier in ["", "live"].into_iter().take(1 + deep.aliases.len()) {
        expose(dice, &mut deep, qualifier);
    }
    deep
}

/// An alias on a published version.
fn publish(dice: &mut Dice<'_>, deep: &mut Deep) {
    let versions = vec![if dice.one_in(4) { "$LATEST" } else { "1" }.to_owned()];
    deep.aliases = vec![Alias { name: "live".to_owned(), versions }];
    let configuration = configuration(dice, deep.name()).0;
    deep.versions = if dice.one_in(5) { Vec::new() } else { vec![Version { number: "1".to_owned(), configuration }] };
}

/// A policy and a URL of a function, or of one of its aliases.
fn expose(dice: &mut Dice<'_>, deep: &mut Deep, qualifier: &str) {
    let arn = deep.qualified_arn(qualifier);
    if !dice.one_in(4) {
        let policy = statements(dice, &arn, "lambda:InvokeFunction");
        deep.policies.insert(qualifier.to_owned(), policy);
    }
    if dice.one_in(2) {
        let auth = *dice.pick(&[UrlAuth::None, UrlAuth::Iam, UrlAuth::None]);
        let cors = dice.one_in(2).then(|| cors(dice));
        deep.urls.push(FunctionUrl { qualifier: qualifier.to_owned(), auth, cors });
        let opened = dice.below(3);
        let policy = (0..opened).map(|number| open_url(number, &arn));
        if opened > 0 {
            deep.policies.entry(qualifier.to_owned()).or_default().extend(policy);
        }
    }
}

fn cors(dice: &mut Dice<'_>) -> Cors {
    let origins = dice.some(&["*", "https://a.example", "https://b.example", "https://c.example", "https://*"]);
    let mut allow_origins: Vec<String> = origins.into_iter().map(str::to_owned).collect();
    allow_origins.sort();
    let allow_credentials = dice.one_in(3).then_some(true);
    Cors { allow_origins, allow_credentials, allow_methods: vec!["GET".to_owned()], ..Cors::default() }
}

fn management(dice: &mut Dice<'_>) -> RuntimeManagement {
    let update_on = *dice.pick(&[UpdateOn::Auto, UpdateOn::FunctionUpdate, UpdateOn::Manual]);
    let version_arn = (update_on == UpdateOn::Manual).then(|| "arn:aws:lambda:eu-west-1::runtime:0".to_owned());
    RuntimeManagement { update_on, version_arn }
}

fn configuration(dice: &mut Dice<'_>, name: &str) -> (Configuration, BTreeMap<String, String>) {
    let package = if dice.one_in(8) { Package::Image } else { Package::Zip };
    let runtimes = ["nodejs24.x", "python3.9", "nodejs20.x", "java21", "rust1", "nodejs26.x", "go1.x"];
    let variables = variables(dice);
    let unreadable = !variables.is_empty() && dice.one_in(8);
    let known = || variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment = match unreadable {
        true => Environment { variables: 0, unreadable, suspicions: Vec::new() },
        false => Environment { variables: variables.len(), unreadable, suspicions: suspicions(known()) },
    };
    let configuration = Configuration {
        package,
        runtime: (package == Package::Zip).then(|| dice.pick(&runtimes).to_string()),
        customer_runtime: dice.one_in(20),
        role: format!("arn:aws:iam::{ACCOUNT}:role/{}", if dice.one_in(3) { "shared" } else { name }),
        kms_key: dice.pick(&[None, None, Some(KEYS[0]), Some(KEYS[1])]).map(str::to_owned),
        environment,
        tracing: *dice.pick(&[Tracing::PassThrough, Tracing::Active]),
        arm: dice.one_in(3),
        layers: if dice.one_in(2) { strings(dice.some(&USED_LAYERS)) } else { Vec::new() },
        vpc: (!dice.one_in(3)).then(|| vpc(dice)),
        dead_letter: dice.one_in(4).then(|| format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}")),
        logging: logging(dice),
        timeout: *dice.pick(&[3, 60, 900]),
        memory: *dice.pick(&[128, 512, 3008]),
        storage: *dice.pick(&[512, 10_240]),
    };
    (configuration, variables)
}

fn variables(dice: &mut Dice<'_>) -> BTreeMap<String, String> {
    let names = ["STAGE", "DB_PASSWORD", "BLOB", "TABLE"].into_iter().filter(|_| dice.one_in(2));
    names.map(|name| (name.to_owned(), format!("{CANARY}-{name}"))).collect()
}

fn vpc(dice: &mut Dice<'_>) -> Vpc {
    let ids = |some: Vec<&str>| {
        let mut ids = strings(some);
        ids.sort();
        ids
    };
    let subnets = ids(dice.some(&SUBNETS_OF_VPC.map(|(id, ..)| id)));
    let security_groups = ids(dice.some(&GROUPS.map(|(id, ..)| id)));
    Vpc { id: "vpc-1".to_owned(), subnets, security_groups, ipv6: dice.one_in(4) }
}

fn logging(dice: &mut Dice<'_>) -> Logging {
    let level = *dice.pick(&[None, Some("DEBUG"), Some("WARN"), Some("INFO")]);
    match dice.one_in(2) {
        true => Logging {
            format: LogFormat::Json,
            application_level: level.map(str::to_owned),
            system_level: None,
            group: dice.one_in(2).then(|| "/aws/lambda/shop".to_owned()),
        },
        false => Logging::default(),
    }
}

fn tags(dice: &mut Dice<'_>) -> Tags {
    const TAGS: [(&str, &str, usize); 6] = [
        ("env", "prod", 3),
        ("team", "payments", 3),
        ("team", "", 20),
        ("ManagedBy", "Terraform", 16),
        ("aws:cloudformation:stack-name", "shop", 16),
        ("elasticbeanstalk:environment", "shop", 30),
    ];
    let mut tags = Tags::new();
    for (key, value, rarity) in TAGS {
        if dice.one_in(rarity) {
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    tags
}

fn layer(dice: &mut Dice<'_>, number: usize) -> Layer {
    let mut layer = Layer { number, statements: Vec::new(), changed: 0 };
    if !dice.one_in(4) {
        layer.statements = statements(dice, &layer.arn(), "lambda:GetLayerVersion");
    }
    layer
}

/// What was not read, or not lately, of a world: up to three sources.
pub(crate) fn hide(dice: &mut Dice<'_>, world: &mut World) {
    const LISTS: [&str; 6] =
        [LAYERS, ACCOUNT_SETTINGS, CODE_SIGNING_CONFIGS, SUBNETS, SECURITY_GROUPS, NETWORK_INTERFACES];
    const DEEP: [&str; 9] =
        [POLICIES, URLS, CONCURRENCY, CODE_SIGNING, RECURSION, RUNTIME_MANAGEMENT, EVENT_INVOKE, ALIASES, VERSIONS];
    for _ in 0..1 + dice.below(3) {
        let read = *dice.pick(&[Read::TooOld, Read::Failed, Read::Missing]);
        let of = match dice.below(4) {
            0 => (*dice.pick(&LISTS), String::new()),
            1 if !world.layers.is_empty() => (LAYER_POLICIES, dice.pick(&world.layers).id()),
            _ => (*dice.pick(&DEEP), dice.pick(&world.functions).name().to_owned()),
        };
        world.reads.insert(of, read);
    }
}

pub(crate) fn strings(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
