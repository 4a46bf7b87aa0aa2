//! Which accounts and regions a baseline may see, and how far it may go there.
//!
//! Nothing empty ever means "all": an account without grants is nobody's.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::controls::InvalidParameter;
use crate::desired::{Reason, Refusal};
use crate::facts::{Location, Peer, Resource, Rule};
use crate::select::Selection;
use crate::spec::{Accounts, MayAddRules, Mode, NamespaceGrant};
use crate::traffic::Traffic;

/// An `AWSAccount` as far as tenancy and the rails look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Name of the object.
    pub name: String,
    /// Labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Twelve-digit account id.
    pub account_id: String,
    /// Regions that baselines may look at.
    pub regions: Vec<String>,
    /// Which namespaces may use the account, and how far.
    pub namespaces: Vec<NamespaceGrant>,
    /// Whether there is a role to write with.
    pub writable: bool,
    /// Why that role is not proven to be of this account, if it is not.
    pub write_distrust: Option<String>,
    /// Whether the kill switch is on.
    pub writes_stopped: bool,
    /// How many resources may be changed in any 60 minutes.
    pub changes_per_hour: usize,
    /// The account's quota of rules per group, per direction and address family.
    pub rules_per_group: u32,
}

/// The namespace that a baseline lives in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What an account lets one namespace do.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The furthest mode.
    pub max_mode: Mode,
    /// The resources that exist for the namespace; `None` is all.
    pub selection: Option<Selection>,
    /// The rules that may be added.
    pub may_add: MayAdd,
}

impl Grant {
    /// Whether a resource exists for the namespace.
    pub(crate) fn shows(&self, resource: Resource<'_>) -> bool {
        self.selection.as_ref().is_none_or(|selection| selection.matches(resource))
    }
}

/// The rules that a namespace may add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MayAdd {
    networks: Vec<Peer>,
    traffic: Vec<Traffic>,
}

impl MayAdd {
    fn new(rules: Option<&MayAddRules>) -> Result<Self, InvalidParameter> {
        let Some(MayAddRules { cidrs, ports }) = rules else {
            return Ok(Self::default());
        };
        let problem =
            |text: &String| InvalidParameter::new("namespaces[].mayAddRules", format!("{text:?} cannot be used"));
        Ok(Self {
            networks: cidrs
                .iter()
                .map(|text| text.parse::<IpNet>().map(Peer::network).map_err(|_| problem(text)))
                .collect::<Result<_, _>>()?,
            traffic: ports.iter().map(|text| text.parse().map_err(|_| problem(text))).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a rule is inside what may be added. Prefix lists and groups never are: what is behind them can change.
    pub fn allows(&self, rule: &Rule) -> bool {
        self.networks.iter().any(|network| network.contains(&rule.grant.peer))
            && self.traffic.iter().any(|traffic| traffic.covers(rule.grant.traffic))
    }
}

/// One account and region that a baseline is for.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Name of the `AWSAccount`.
    pub account: String,
    /// Where to look.
    pub location: Location,
    /// Whether the baseline names the account, and does not merely match it by label.
    pub named: bool,
    /// What the account lets the namespace do.
    pub grant: Grant,
}

/// Where a baseline applies.
#[derive(Clone, Debug, Default)]
pub struct Assignments {
    /// The accounts and regions, sorted.
    pub cells: Vec<Assignment>,
    /// Accounts that match by label and grant this namespace nothing, or less than is asked for, or cannot be used.
    pub left_out: usize,
}

impl Assignments {
    /// Leaves out, and counts, what something is wrong with: a person who labels an account must not switch off the others.
    ///
    /// # Errors
    /// What is wrong with an account that the baseline names.
    pub fn leave_out(&mut self, problem: impl Fn(&Assignment) -> Option<Refusal>) -> Result<(), Refusal> {
        let (mut kept, mut without) = (Vec::new(), BTreeSet::new());
        for cell in std::mem::take(&mut self.cells) {
            match problem(&cell) {
                None => kept.push(cell),
                Some(refusal) if cell.named => return Err(refusal),
                Some(_) => {
                    without.insert(cell.account);
                }
            }
        }
        self.cells = kept;
        self.left_out += without.len();
        Ok(())
    }
}

/// Finds the accounts and regions of a baseline.
///
/// # Errors
/// A named account that does not exist, or that grants this namespace nothing or none of the regions.
pub fn assign(
    wanted: &Accounts,
    regions: &[String],
    namespace: &Namespace,
    accounts: &[Account],
) -> Result<Assignments, Refusal> {
    if let Some(missing) = wanted.names.iter().find(|name| !accounts.iter().any(|account| account.name == **name)) {
        let message = format!(
            "no AWSAccount {missing:?} is in use: create it, correct spec.accounts.names, or name the older object for its account id"
        );
        return Err(Refusal::new(Reason::UnknownAccount, message));
    }
    let mut assignments = Assignments::default();
    for account in accounts {
        let named = wanted.names.contains(&account.name);
        if !named && !labels_match(&wanted.match_labels, &account.labels) {
            continue;
        }
        match grant(account, namespace) {
            Err(refusal) if named => return Err(refusal),
            Ok(Some(grant)) => {
                let cells = cells(account, named, regions, &grant);
                if named && cells.is_empty() {
                    let message =
                        format!("AWSAccount {:?} has none of the regions {}", account.name, regions.join(", "));
                    return Err(Refusal::new(Reason::RegionNotInAccount, message));
                }
                assignments.cells.extend(cells);
            }
            Ok(None) if named => {
                let message = format!(
                    "AWSAccount {:?} grants namespace {:?} nothing: its owner has to add it to spec.namespaces",
                    account.name, namespace.name
                );
                return Err(Refusal::new(Reason::NamespaceNotGranted, message));
            }
            Ok(None) | Err(_) => assignments.left_out += 1,
        }
    }
    assignments
        .cells
        .sort_by(|one, other| one.location.cmp(&other.location).then_with(|| one.account.cmp(&other.account)));
    Ok(assignments)
}

/// The first grant of the account that names the namespace or selects it by label.
///
/// # Errors
/// The grant cannot be used.
pub(crate) fn grant(account: &Account, namespace: &Namespace) -> Result<Option<Grant>, Refusal> {
    let matches = |grant: &&NamespaceGrant| match (&grant.name, &grant.selector) {
        (Some(name), None) => *name == namespace.name,
        (None, Some(selector)) => labels_match(&selector.match_labels, &namespace.labels),
        _ => false,
    };
    let Some(found) = account.namespaces.iter().find(matches) else {
        return Ok(None);
    };
    let invalid = |problem: InvalidParameter| {
        Refusal::new(Reason::InvalidAccount, format!("AWSAccount {:?}: {problem}", account.name))
    };
    let selection = found.select.as_ref().map(|select| Selection::new("namespaces[].select", select));
    Ok(Some(Grant {
        max_mode: found.max_mode,
        selection: selection.transpose().map_err(invalid)?,
        may_add: MayAdd::new(found.may_add_rules.as_ref()).map_err(invalid)?,
    }))
}

fn cells(account: &Account, named: bool, regions: &[String], grant: &Grant) -> Vec<Assignment> {
    let wanted = |region: &&String| regions.is_empty() || regions.contains(region);
    let cell = |region: &String| Assignment {
        account: account.name.clone(),
        location: Location { account: account.account_id.clone(), region: region.clone() },
        named,
        grant: grant.clone(),
    };
    account.regions.iter().filter(wanted).map(cell).collect()
}

/// Whether all of the wanted labels are there. No wanted label matches nothing.
fn labels_match(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Direction, Grant as RuleGrant};

    fn account(name: &str, namespaces: serde_json::Value) -> Account {
        Account {
            name: name.to_owned(),
            labels: BTreeMap::from([("environment".to_owned(), "prod".to_owned())]),
            account_id: "111122223333".to_owned(),
            regions: vec!["eu-west-1".to_owned(), "us-east-1".to_owned()],
            namespaces: serde_json::from_value(namespaces).unwrap(),
            writable: true,
            write_distrust: None,
            writes_stopped: false,
            changes_per_hour: 100,
            rules_per_group: 60,
        }
    }

    fn security() -> Namespace {
        Namespace { name: "security".to_owned(), labels: BTreeMap::new() }
    }

    fn named(name: &str) -> Accounts {
        Accounts { names: vec![name.to_owned()], match_labels: BTreeMap::new() }
    }

    #[test]
    fn a_named_account_must_exist_and_grant_the_namespace() {
        let accounts = [account("prod", serde_json::json!([]))];
        let reason = |name| assign(&named(name), &[], &security(), &accounts).unwrap_err().reason;
        assert_eq!(reason("other"), Reason::UnknownAccount);
        assert_eq!(reason("prod"), Reason::NamespaceNotGranted);
    }

    #[test]
    fn an_account_that_only_matches_by_label_is_left_out_and_counted() {
        let accounts = [
            account("prod", serde_json::json!([])),
            account("mine", serde_json::json!([{"name": "security", "maxMode": "Audit"}])),
        ];
        let labels =
            Accounts { names: Vec::new(), match_labels: BTreeMap::from([("environment".into(), "prod".into())]) };
        let found = assign(&labels, &["eu-west-1".to_owned()], &security(), &accounts).unwrap();
        assert_eq!((found.cells.len(), found.left_out), (1, 1));
    }

    #[test]
    fn only_what_is_named_is_refused_for_the_trouble_of_one_account() {
        let refusal = || Some(Refusal::new(Reason::ModeBeyondGrant, "too far"));
        let accounts = [
            account("prod", serde_json::json!([{"name": "security", "maxMode": "Enforce"}])),
            account("mine", serde_json::json!([{"name": "security", "maxMode": "Audit"}])),
            account("odd", serde_json::json!([{"name": "security", "maxMode": "Audit", "select": {}}])),
        ];
        let left = |wanted: &Accounts| {
            let mut found = assign(wanted, &[], &security(), &accounts)?;
            found.leave_out(|cell| (cell.account == "mine").then(refusal).flatten())?;
            let cells: Vec<String> = found.cells.into_iter().map(|cell| cell.account).collect();
            Ok::<_, Refusal>((cells, found.left_out))
        };
        let labels = BTreeMap::from([("environment".to_owned(), "prod".to_owned())]);
        let labelled = Accounts { names: Vec::new(), match_labels: labels };
        assert_eq!(left(&labelled), Ok((vec!["prod".to_owned(); 2], 2)));
        assert_eq!(left(&named("mine")).map_err(|refusal| refusal.reason), Err(Reason::ModeBeyondGrant));
        assert_eq!(left(&named("odd")).map_err(|refusal| refusal.reason), Err(Reason::InvalidAccount));
    }

    #[test]
    fn nothing_empty_means_all() {
        let accounts = [account("prod", serde_json::json!([{"selector": {"matchLabels": {}}, "maxMode": "Enforce"}]))];
        assert_eq!(
            assign(&named("prod"), &[], &security(), &accounts).unwrap_err().reason,
            Reason::NamespaceNotGranted
        );
        assert!(assign(&Accounts::default(), &[], &security(), &accounts).unwrap().cells.is_empty());
    }

    #[test]
    fn rules_may_be_added_inside_the_granted_networks_and_ports_only() {
        let rules = MayAddRules { cidrs: vec!["10.0.0.0/8".to_owned()], ports: vec!["tcp/443".to_owned()] };
        let may_add = MayAdd::new(Some(&rules)).unwrap();
        let allows = |traffic: &str, peer: &str| {
            let grant = RuleGrant {
                direction: Direction::Ingress,
                traffic: traffic.parse().unwrap(),
                peer: peer.parse().unwrap(),
            };
            may_add.allows(&Rule { grant, description: None })
        };
        assert!(allows("tcp/443", "10.1.0.0/16"));
        assert!(!allows("tcp/443", "0.0.0.0/0"));
        assert!(!allows("tcp/440-443", "10.0.0.0/8"));
        assert!(!allows("tcp/443", "pl-1"));
    }
}
