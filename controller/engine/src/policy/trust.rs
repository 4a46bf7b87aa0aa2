//! Who is trusted, and what is known of those whom a value names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::AddressSet;

/// Whom a baseline trusts. Nothing empty means "all".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The account of the resource. It is always trusted, whatever `accounts` says.
    pub own_account: String,
    /// Other trusted accounts, twelve digits each (`trustedAccounts`).
    pub accounts: BTreeSet<String>,
    /// Trusted organizations, `o-…` (`trustedOrgIds`).
    pub organizations: BTreeSet<String>,
    /// Trusted VPCs and VPC endpoints, `vpc-…` and `vpce-…`.
    pub endpoints: BTreeSet<String>,
    /// Trusted networks.
    pub networks: AddressSet,
    /// Trusted principals of which no account is known, such as identity providers and canonical users.
    pub identities: BTreeSet<String>,
    /// Services that may act without a source account (`exemptServices`).
    pub exempt_services: BTreeSet<String>,
    /// Whether the ARN of a bucket is not enough (`requireAccountForS3`). It has no account, and once the bucket is
    /// deleted another account can create one of that name.
    pub require_account_for_s3: bool,
}

/// Who can be behind a request that meets a condition, seen from whoever trusts.
///
/// The order is that of "one of these": the union of two is the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Only those who are trusted.
    Ours,
    /// One source of which no account is known: a bucket, or a skill of Alexa by its token.
    Source,
    /// Those who are named, and not all of them are trusted.
    Foreign,
    /// Not narrowed.
    Anyone,
}

impl Reach {
    /// Who meets both conditions. Of a source that is said to be in a foreign account, this is known.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Source, Self::Foreign) | (Self::Foreign, Self::Source) => Self::Foreign,
            (one, other) => one.min(other),
        }
    }

    /// The token that Alexa hands over (`lambda:EventSourceToken`).
    pub(super) fn of_token(token: &str) -> Self {
        if is_fixed(token) { Self::Source } else { Self::Anyone }
    }

    fn named(trusted: bool) -> Self {
        if trusted { Self::Ours } else { Self::Foreign }
    }
}

impl Trust {
    /// The defaults of the control catalogue: an account trusts itself, and the two services that cannot name a source.
    pub fn of(own_account: &str) -> Self {
        Self {
            own_account: own_account.to_owned(),
            exempt_services: ["secretsmanager.amazonaws.com", "eks.amazonaws.com"].map(str::to_owned).into(),
            require_account_for_s3: true,
            ..Self::default()
        }
    }

    pub(super) fn account(&self, account: &str) -> Reach {
        match is_account(account) {
            true => Reach::named(account == self.own_account || self.accounts.contains(account)),
            false => Reach::Anyone,
        }
    }

    /// The account of an ARN decides, whatever the rest leaves open.
    pub(super) fn arn(&self, arn: &str) -> Reach {
        match Arn::parse(arn) {
            Some(Arn { service: "s3", account: "", resource })
                if is_fixed(resource) && !self.require_account_for_s3 =>
            {
                Reach::Source
            }
            Some(Arn { account, .. }) => self.account(account),
            None => Reach::Anyone,
        }
    }

    pub(super) fn organization(&self, organization: &str) -> Reach {
        named_in(&self.organizations, organization)
    }

    /// A path starts with the organization: `o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/*`.
    pub(super) fn organization_path(&self, path: &str) -> Reach {
        self.organization(path.split('/').next().unwrap_or_default())
    }

    pub(super) fn endpoint(&self, endpoint: &str) -> Reach {
        named_in(&self.endpoints, endpoint)
    }

    /// Networks are judged together: two halves of the world are the world.
    pub(super) fn networks(&self, texts: &BTreeSet<String>) -> Reach {
        let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let Ok(networks) = texts.iter().map(network).collect::<Result<Vec<IpNet>, _>>() else {
            return Reach::Anyone;
        };
        if networks.is_empty() || networks.iter().copied().collect::<AddressSet>().public_size().is_world() {
            return Reach::Anyone;
        }
        Reach::named(networks.into_iter().all(|network| self.networks.covers(network)))
    }

    /// An AWS principal. A unique id (`AROA…`) is all that is left of one that was deleted.
    pub(super) fn aws_principal(&self, principal: &str) -> Reach {
        let account = Arn::parse(principal).map_or(principal, |arn| arn.account);
        match is_account(account) {
            true => self.account(account),
            false => self.identity(principal),
        }
    }

    /// A principal of which no account is known.
    pub(super) fn identity(&self, identity: &str) -> Reach {
        named_in(&self.identities, identity)
    }
}

fn named_in(trusted: &BTreeSet<String>, name: &str) -> Reach {
    if is_fixed(name) { Reach::named(trusted.contains(name)) } else { Reach::Anyone }
}

/// The parts of an ARN, or of a pattern for ARNs, that say whose it is.
struct Arn<'a> {
    service: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.splitn(6, ':');
        let mut next = || fields.next();
        let (scheme, partition, service, region) = (next()?, next()?, next()?, next()?);
        // A variable may hold colons: after one, a field is no longer the one that it looks like.
        let certain = ![partition, service, region].iter().any(|field| field.contains('$'));
        let known = partition == "aws" || partition.starts_with("aws-") || partition.contains(['*', '?']);
        let arn = Self { service, account: next()?, resource: next()? };
        (scheme == "arn" && known && certain).then_some(arn)
    }
}

/// The account whose root user an ARN names.
pub(super) fn account_of_root(text: &str) -> Option<&str> {
    let arn = Arn::parse(text)?;
    (arn.service == "iam" && arn.resource == "root" && is_account(arn.account)).then_some(arn.account)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a name stands for itself: no wildcard, no variable.
pub(super) fn is_fixed(text: &str) -> bool {
    !text.is_empty() && !text.contains(['*', '?']) && !text.contains("${")
}
