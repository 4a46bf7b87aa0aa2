//! The account that is looked at, and what is declared about it.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use crds::AWSAccount;
use engine::tenancy::Account;
use reqwest::Client;

use super::{Options, closing};
use crate::emulator::{AccountApi, BadGroup, FleetSeed, Group, Seed};
use crate::world::World;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "eu-west-1";
pub(super) const NAMESPACE: &str = "security";
pub(super) const BASELINE: &str = "scale";

/// Of everything that is seeded.
pub(super) const TAGS: [(&str, &str); 1] = [("owner", "platform")];

/// The account with its grant.
pub(super) const ACCOUNT_OBJECT: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: AWSAccount
metadata: {name: scale}
spec:
  accountId: "111122223333"
  regions: [eu-west-1]
  readRole: arn:aws:iam::111122223333:role/baseward-read
  writeRole: arn:aws:iam::111122223333:role/baseward-write
  budget: {perHour: 10000}
  namespaces:
  - name: security
    maxMode: Enforce
    mayAddRules: {cidrs: [198.51.100.0/24], ports: [tcp/443]}
"#;

const NAMESPACE_OBJECT: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: security}}";

/// Every control of the catalogue is on.
pub(super) const ALL_CONTROLS: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: scale, namespace: security}
spec:
  accounts: {names: [scale]}
  select: {all: true}
  mode: Audit
  interval: 10s
  internet:
    allowPorts: [tcp/80, tcp/443]
    denyAllTraffic: true
    denyPresets: [Admin, FileSharing, Database, HighRisk]
    broadCidr: {maxWidthV4: 16, maxWidthV6: 32}
    icmp: {enabled: true}
  sources:
    cidrs: [10.0.0.0/8]
    ports: [tcp/22, tcp/5432, tcp/6379]
  required:
    egress: [{traffic: tcp/443, peer: 198.51.100.0/24}]
  egress:
    allow: [{traffic: all, peer: 0.0.0.0/0}]
  defaultGroup: {close: true, forbidUse: true}
  references: {trustedAccounts: [], prefixListsMayBeWorld: false}
  hygiene:
    namePattern: ^.{3,}$
    minDescriptionLength: 10
    forbiddenDescriptions: [^launch-wizard]
    allowLaunchWizard: false
    ruleDescriptions: {required: true, minLength: 5}
    requiredTags: [{key: owner, pattern: "^[a-z]+$"}]
    maxRules: {ingress: 50, egress: 50}
"#;

/// The same object once each group is to get a tag that none has, and somebody is to approve it.
pub(super) const AN_EDIT_PER_GROUP: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: scale, namespace: security}
spec:
  accounts: {names: [scale]}
  select: {all: true}
  mode: Propose
  hygiene:
    requiredTags: [{key: reviewed, default: never}]
"#;

/// The same object once what is open to the world is to be closed.
pub(super) const ENFORCE: &str = r#"
apiVersion: baseward.dev/v1alpha1
kind: SecurityGroupBaseline
metadata: {name: scale, namespace: security}
spec:
  accounts: {names: [scale]}
  select: {all: true}
  mode: Enforce
  interval: 10s
  remediation: {budget: {perHour: 1000}}
  internet:
    allowPorts: [tcp/80, tcp/443]
    denyAllTraffic: true
    denyPresets: [Admin, FileSharing, Database, HighRisk]
"#;

/// The account, once it is made.
#[derive(Debug)]
pub(super) struct AtScale {
    pub(super) aws: AccountApi,
    pub(super) bad: Vec<BadGroup>,
    pub(super) rules: u64,
    pub(super) interfaces: u32,
    /// How long seeding took.
    pub(super) seconds: f64,
}

impl AtScale {
    /// Makes the groups, an interface for each, and the objects in Kubernetes.
    pub(super) async fn seed(world: &World, options: Options) -> Result<Self> {
        let (aws, started) = (world.emulator.api().account(ACCOUNT), Instant::now());
        // Without the default VPC's group there are exactly as many groups as asked for.
        aws.seed(&Seed::in_region(REGION).with("clearDefaults", true.into())).await?;
        let seed = FleetSeed {
            region: REGION.to_owned(),
            groups: options.groups - 1,
            bad: options.bad,
            interfaces: options.groups,
            tags: TAGS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..FleetSeed::default()
        };
        let fleet = aws.fleet(&seed).await?;
        let seconds = started.elapsed().as_secs_f64();
        let groups = aws.groups(REGION).await?;
        ensure!(groups.len() == options.groups as usize, "{} groups were made", groups.len());
        let rules = groups.iter().map(|group| group.rules.ingress.len() + group.rules.egress.len()).sum::<usize>();
        let kubectl = world.control_plane.kubectl();
        for yaml in [NAMESPACE_OBJECT, ACCOUNT_OBJECT, ALL_CONTROLS] {
            kubectl.apply(yaml).await?;
        }
        Ok(Self { aws, bad: fleet.bad, rules: rules as u64, interfaces: options.groups, seconds })
    }

    /// How long the emulator takes for the pages of one sweep, asked as the controller asks and thrown away.
    pub(super) async fn read_directly(&self, world: &World) -> Result<f64> {
        let (url, started) = (world.emulator.url(), Instant::now());
        tokio::try_join!(read_all(&url, "DescribeSecurityGroups"), read_all(&url, "DescribeNetworkInterfaces"))?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Fails if a bad group is still open.
    pub(super) async fn ensure_closed(&self) -> Result<()> {
        let bad: BTreeSet<&str> = self.bad.iter().map(|group| group.group_id.as_str()).collect();
        let groups = self.aws.groups(REGION).await?;
        let is_open = |group: &&Group| {
            bad.contains(group.group_id.as_str()) && group.rules.ingress.iter().any(closing::is_unwanted)
        };
        let open: Vec<&str> = groups.iter().filter(is_open).map(|group| group.group_id.as_str()).collect();
        ensure!(open.is_empty(), "still open to the world: {}", open.join(", "));
        Ok(())
    }
}

/// Every page of a listing, unread but for its token.
async fn read_all(url: &str, operation: &str) -> Result<()> {
    let credential = format!("AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/ec2/aws4_request");
    let (http, mut token) = (Client::new(), String::new());
    loop {
        let mut query = vec![("Action", operation), ("Version", "2016-11-15"), ("MaxResults", "1000")];
        query.extend((!token.is_empty()).then_some(("NextToken", token.as_str())));
        let request = http.post(url).query(&query).header("authorization", &credential);
        let page = request.send().await?.error_for_status()?.text().await?;
        match next_token(&page) {
            Some(next) => token = next.to_owned(),
            None => return Ok(()),
        }
    }
}

fn next_token(page: &str) -> Option<&str> {
    let (_, rest) = page.rsplit_once("<nextToken>")?;
    rest.split_once("</nextToken>").map(|(token, _)| token).filter(|token| !token.is_empty())
}

/// The account as the engine sees it.
pub(super) fn account() -> Result<Account> {
    Ok(parsed::<AWSAccount>(ACCOUNT_OBJECT)?.compile())
}

/// The objects as values.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(yaml: &str) -> Result<T> {
    serde_saphyr::from_str(yaml).context("an object of the benchmark is not as its kind is now")
}

#[cfg(test)]
mod tests {
    use crds::SecurityGroupBaseline;
    use engine::controls::Setting;
    use engine::controls::security_group::controls;

    use super::*;

    #[test]
    fn every_control_of_the_catalogue_is_on() -> Result<()> {
        let baseline: SecurityGroupBaseline = parsed(ALL_CONTROLS)?;
        for control in controls() {
            assert_eq!((control.setting)(&baseline.spec.parameters), Setting::Named, "{}", control.about.id);
        }
        let account: AWSAccount = parsed(ACCOUNT_OBJECT)?;
        assert_eq!(
            (account.spec.account_id.as_str(), account.spec.regions.as_slice()),
            (ACCOUNT, &[REGION.to_owned()][..])
        );
        Ok(())
    }

    #[test]
    fn the_last_page_has_no_token() {
        assert_eq!(next_token("<a/><nextToken>abc=</nextToken>"), Some("abc="));
        assert_eq!(next_token("<a/><nextToken></nextToken>"), None);
        assert_eq!(next_token("<a/>"), None);
    }
}
