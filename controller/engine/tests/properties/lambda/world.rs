//! What is generated of Lambda: functions with all that is read of each, layers, and the baselines that look at them.

use std::collections::BTreeMap;
use std::fmt;

use engine::controls::{
    ACCOUNT_SETTINGS, ALIASES, CODE_SIGNING, CODE_SIGNING_CONFIGS, CONCURRENCY, EVENT_INVOKE, LAYER_POLICIES, LAYERS,
    NETWORK_INTERFACES, POLICIES, RECURSION, RUNTIME_MANAGEMENT, SECURITY_GROUPS, SUBNETS, URLS, VERSIONS,
};
use engine::desired::{Baseline, Desired};
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{
    AccountSettings, Alias, CodeSigningConfig, DefaultRoute, Direction, Function, FunctionUrl, Gathered, Grant,
    InterfaceUse, Inventory, Lambda, LayerVersion, Location, Pace, QualifiedPolicy, ReadFailure, Recursion, Rule,
    RuntimeManagement, SecurityGroup, Source, Subnet, Tags, UpdateStatus, Version,
};
use engine::kind::Kind;
use engine::plan::{Permitted, Plan, Proposed, plan};
use engine::rails::{self, Circumstances, Moment};
use engine::tenancy::Account;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::world::ACCOUNT;

pub(crate) const REGION: &str = "eu-west-1";

/// The time of every look: the day after that of the table of runtimes, at noon.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_348_800, 0);

/// A function with all that is read of it.
#[derive(Clone, Debug)]
pub(crate) struct Deep {
    pub(crate) function: Function,
    /// The environment variables, of which facts hold a number and suspicions alone.
    pub(crate) variables: BTreeMap<String, String>,
    /// The statements of its policy, and of those of its aliases, by qualifier.
    pub(crate) policies: BTreeMap<String, Vec<Value>>,
    pub(crate) urls: Vec<FunctionUrl>,
    pub(crate) concurrency: Option<i32>,
    pub(crate) code_signing: Option<String>,
    pub(crate) recursion: Recursion,
    pub(crate) management: RuntimeManagement,
    pub(crate) event_invoke: bool,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) versions: Vec<Version>,
    pub(crate) status: UpdateStatus,
    /// How often what has a revision was changed: the configuration under an empty text, a policy under `/QUALIFIER`.
    pub(crate) changed: BTreeMap<String, u32>,
}

impl Deep {
    pub(crate) fn name(&self) -> &str {
        &self.function.name
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{}:function:{}", self.function.account, self.name())
    }

    /// The ARN of the function, or of one of its aliases.
    pub(crate) fn qualified_arn(&self, qualifier: &str) -> String {
        if qualifier.is_empty() { self.arn() } else { format!("{}:{qualifier}", self.arn()) }
    }
}

/// A version of a layer of the account.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) number: usize,
    pub(crate) statements: Vec<Value>,
    pub(crate) changed: u32,
}

impl Layer {
    pub(crate) fn id(&self) -> String {
        format!("layer:own:{}", self.number)
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:{}", self.id())
    }
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It was made as long ago as it may have been.
    JustFresh,
    /// It was made too long ago.
    TooOld,
    Failed,
    /// It was not made yet.
    Missing,
}

impl Read {
    fn source<T>(read: Option<Self>, facts: T, max_age: SignedDuration) -> Source<T> {
        match read {
            None => Source::complete(facts, NOW),
            Some(Self::JustFresh) => Source::complete(facts, NOW - max_age),
            Some(Self::TooOld) => Source::complete(facts, NOW - max_age - SignedDuration::from_secs(1)),
            Some(Self::Failed) => Source::failed(ReadFailure::AccessDenied, NOW),
            Some(Self::Missing) => Source::default(),
        }
    }
}

/// One account in one region.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) functions: Vec<Deep>,
    pub(crate) layers: Vec<Layer>,
    /// Concurrent runs of the account in all.
    pub(crate) concurrency: i32,
    pub(crate) configs: BTreeMap<String, CodeSigningConfig>,
    /// Who carries the security groups beside functions.
    pub(crate) hosts: BTreeMap<String, u32>,
    pub(crate) account: Account,
    pub(crate) baselines: Vec<Baseline>,
    /// What became of reads, by source and function; lists are of no function.
    pub(crate) reads: BTreeMap<(&'static str, String), Read>,
}

/// Subnets of the one VPC, each with zone and route.
pub(crate) const SUBNETS_OF_VPC: [(&str, &str, DefaultRoute); 4] = [
    ("subnet-1", "euw1-az1", DefaultRoute::Nat),
    ("subnet-2", "euw1-az2", DefaultRoute::Nat),
    ("subnet-3", "euw1-az1", DefaultRoute::None),
    ("subnet-4", "euw1-az2", DefaultRoute::Internet),
];

/// Security groups with name and number of ingress rules.
pub(crate) const GROUPS: [(&str, &str, u8); 4] =
    [("sg-1", "shop", 0), ("sg-2", "open", 1), ("sg-3", "default", 1), ("sg-4", "db", 0)];

impl World {
    pub(crate) fn location(&self) -> Location {
        Location { account: ACCOUNT.to_owned(), region: REGION.to_owned() }
    }

    pub(crate) fn deep(&self, name: &str) -> Option<&Deep> {
        self.functions.iter().find(|deep| deep.name() == name)
    }

    pub(crate) fn layer(&self, id: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.id() == id)
    }

    /// Concurrent runs that no function has reserved.
    pub(crate) fn unreserved(&self) -> i32 {
        self.concurrency - self.functions.iter().filter_map(|deep| deep.concurrency).sum::<i32>()
    }

    fn read(&self, source: &'static str, function: &str) -> Option<Read> {
        self.reads.get(&(source, function.to_owned())).copied()
    }

    fn list<T>(&self, source: &'static str, facts: T, max_age: SignedDuration) -> Source<T> {
        Read::source(self.read(source, ""), facts, max_age)
    }

    fn deeply<T: Clone>(&self, source: &'static str, of: impl Fn(&Deep) -> T) -> Gathered<T> {
        self.gathered(source, &self.functions, |deep| deep.name().to_owned(), of)
    }

    fn gathered<R, T: Clone>(
        &self,
        source: &'static str,
        resources: &[R],
        id: impl Fn(&R) -> String,
        of: impl Fn(&R) -> T,
    ) -> Gathered<T> {
        let pace = Pace::of(SignedDuration::from_mins(1), SignedDuration::ZERO);
        let read = |resource: &R| match self.read(source, &id(resource)) {
            Some(Read::Missing) => None,
            read => Some((id(resource), Read::source(read, of(resource), pace.max_age))),
        };
        Gathered::new(resources.iter().filter_map(read).collect(), pace)
    }

    pub(crate) fn inventory(&self) -> Inventory {
        let (minutes, hours) = (SignedDuration::from_mins(10), SignedDuration::from_hours(2));
        let subnet = |(id, zone, default_route): (&str, &str, DefaultRoute)| {
            (id.to_owned(), Subnet { zone: zone.to_owned(), default_route })
        };
        Inventory {
            security_groups: self.list(SECURITY_GROUPS, GROUPS.map(group).to_vec(), minutes),
            network_interfaces: self.list(NETWORK_INTERFACES, self.usage(), minutes),
            subnets: self.list(SUBNETS, SUBNETS_OF_VPC.map(subnet).into(), minutes),
            lambda: Lambda {
                functions: Source::complete(self.functions.iter().map(|deep| deep.function.clone()).collect(), NOW),
                distributions: Source::default(),
                layers: self.list(LAYERS, self.layers.iter().map(layer_version).collect(), hours),
                layer_policies: self.gathered(LAYER_POLICIES, &self.layers, Layer::id, layer_policy),
                account: self.list(ACCOUNT_SETTINGS, vec![self.settings()], SignedDuration::from_mins(15)),
                code_signing_configs: self.list(CODE_SIGNING_CONFIGS, self.configs.clone(), hours),
                aliases: self.deeply(ALIASES, |deep| deep.aliases.clone()),
                policies: self.deeply(POLICIES, policies),
                urls: self.deeply(URLS, |deep| deep.urls.clone()),
                concurrency: self.deeply(CONCURRENCY, |deep| deep.concurrency),
                code_signing: self.deeply(CODE_SIGNING, |deep| deep.code_signing.clone()),
                recursion: self.deeply(RECURSION, |deep| deep.recursion),
                runtime_management: self.deeply(RUNTIME_MANAGEMENT, |deep| deep.management.clone()),
                event_invoke: self.deeply(EVENT_INVOKE, |deep| deep.event_invoke),
                versions: self.deeply(VERSIONS, |deep| deep.versions.clone()),
                revisions: Default::default(),
            },
            ..Inventory::unread(self.location())
        }
    }

    fn settings(&self) -> AccountSettings {
        let (account, tags) = (ACCOUNT.to_owned(), Tags::new());
        AccountSettings { account, concurrency: self.concurrency, unreserved: self.unreserved(), tags }
    }

    /// Who carries each security group: hosts, and each function in it with one interface.
    fn usage(&self) -> BTreeMap<String, InterfaceUse> {
        let mut usage: BTreeMap<String, InterfaceUse> = BTreeMap::new();
        for (group, hosts) in &self.hosts {
            usage.entry(group.clone()).or_default().interfaces += hosts;
        }
        let inside = self.functions.iter().filter_map(|deep| deep.function.configuration.vpc.as_ref());
        for group in inside.flat_map(|vpc| &vpc.security_groups) {
            let carried = usage.entry(group.clone()).or_default();
            carried.interfaces += 1;
            carried.functions += 1;
        }
        usage
    }

    /// The baselines that are accepted, compiled.
    pub(crate) fn desired(&self) -> Vec<Desired> {
        let accounts = std::slice::from_ref(&self.account);
        let accepted = self.baselines.iter().filter_map(|baseline| baseline.accept(accounts).ok());
        accepted.filter_map(|accepted| accepted.in_cell(&self.location())).collect()
    }

    pub(crate) fn evaluate(&self, desired: &[Desired]) -> Evaluation {
        evaluate(Kind::Lambda, desired, &self.inventory(), NOW, Keep::All)
    }

    pub(crate) fn propose(&self, desired: &[Desired]) -> Plan<Proposed> {
        plan(desired, &self.inventory(), &self.evaluate(desired))
    }

    pub(crate) fn permit(&self, desired: &[Desired]) -> Permitted {
        self.check(self.propose(desired), desired).stage
    }

    /// What the rails leave of a plan.
    pub(crate) fn check(&self, plan: Plan<Proposed>, desired: &[Desired]) -> Plan<Permitted> {
        let inventory = self.inventory();
        let plan = rails::hold_for_now(rails::hold_for_good(plan, &inventory, &self.account), &self.account, true);
        let moment = Moment { desired, circumstances: &Circumstances::default(), now: NOW };
        rails::apply(plan, &inventory, &self.account, moment)
    }
}

fn policies(deep: &Deep) -> Vec<QualifiedPolicy> {
    let policy = |(qualifier, statements): (&String, &Vec<Value>)| QualifiedPolicy {
        qualifier: qualifier.clone(),
        document: document(statements).to_string().into(),
    };
    deep.policies.iter().map(policy).collect()
}

/// A policy as GetPolicy writes it.
pub(crate) fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Id": "default", "Statement": statements})
}

fn layer_version(layer: &Layer) -> LayerVersion {
    LayerVersion { id: layer.id(), name: "own".to_owned(), account: ACCOUNT.to_owned(), tags: Tags::new() }
}

fn layer_policy(layer: &Layer) -> Option<Box<str>> {
    (!layer.statements.is_empty()).then(|| document(&layer.statements).to_string().into())
}

fn group((id, name, ingress): (&str, &str, u8)) -> SecurityGroup {
    let rule = |number: u8| {
        let peer = format!("10.0.{number}.0/24").parse().unwrap();
        let grant = Grant { direction: Direction::Ingress, traffic: "tcp/443".parse().unwrap(), peer };
        Rule { grant, description: None }
    };
    SecurityGroup {
        id: id.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        owner: ACCOUNT.to_owned(),
        vpc: "vpc-1".to_owned(),
        tags: Tags::new(),
        rules: (1..=ingress).map(rule).collect(),
    }
}

impl fmt::Debug for World {
    /// A counterexample as short as a person can read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for deep in &self.functions {
            let Deep { function, policies, urls, concurrency, code_signing, recursion, management, .. } = deep;
            writeln!(
                f,
                "\n{function:?}\n    {urls:?}\n    {concurrency:?} {code_signing:?} {recursion:?} {management:?}"
            )?;
            for (qualifier, statements) in policies {
                statements.iter().try_for_each(|statement| writeln!(f, "    /{qualifier} {statement}"))?;
            }
        }
        for layer in &self.layers {
            layer.statements.iter().try_for_each(|statement| writeln!(f, "{} {statement}", layer.id()))?;
        }
        writeln!(
            f,
            "{} in all, hosts {:?}, configs {:?}, reads {:?}",
            self.concurrency, self.hosts, self.configs, self.reads
        )?;
        for baseline in &self.baselines {
            write!(f, "{} {} ", baseline.reference, baseline.mode)?;
            write!(f, "select {:?} overrides {:?} ", baseline.select, baseline.overrides)?;
            writeln!(f, "{:?}", baseline.parameters)?;
        }
        Ok(())
    }
}
