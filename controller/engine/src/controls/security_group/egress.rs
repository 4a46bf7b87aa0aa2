//! `spec.egress`: the only destinations to which traffic may go out.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Compiled as Parameters, Control, GroupView, Remedy, RuleDeclaration};
use crate::address::AddressSet;
use crate::controls::named;
use crate::controls::{About, InvalidParameter, PREFIX_LISTS, SECURITY_GROUPS, Setting};
use crate::edit::Withheld;
use crate::exposure::Audience;
use crate::facts::{Direction, Grant, Peer, Rule};
use crate::finding::{Severity, Verdict};
use crate::plan::narrow::{Remains, narrow};
use crate::traffic::TrafficSet;

/// The only destinations to which traffic may go out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Traffic that may go out, for example {traffic: tcp/443, peer: 0.0.0.0/0}. A rule that lets out more keeps
    /// this part and loses the rest. An entry is no rule: what no rule lets out stays closed (see required.egress).
    /// 0.0.0.0/0 stands for every IPv4 address, for security groups and for the lists of AWS; IPv6 needs ::/0 beside it.
    #[schemars(
        length(min = 1, max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["traffic", "peer"])
    )]
    pub allow: Vec<RuleDeclaration>,
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    allow: Vec<Rule>,
    /// The traffic of the entries in pieces, each of which an entry lets out whole or not at all.
    pieces: Vec<TrafficSet>,
}

impl Compiled {
    pub(super) fn new(egress: Option<&Egress>) -> Result<Self, InvalidParameter> {
        let Egress { allow } = egress.cloned().unwrap_or_default();
        let parse = |rule: &RuleDeclaration| rule.parse("egress.allow", Direction::Egress);
        let allow: Vec<Rule> = allow.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { pieces: pieces(&allow), allow })
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "sg-no-unrestricted-egress",
        title: "Egress is limited to declared destinations",
        severity: Severity::Low,
        field: "egress",
        default: "Off",
        remedy: "narrows the rule to the allowed part (AuthorizeSecurityGroupEgress, then RevokeSecurityGroupEgress), removes it where nothing remains",
        since: "0.1.0",
        sources: &[SECURITY_GROUPS, PREFIX_LISTS],
    },
    setting: |spec| Setting::optional(spec.egress.as_ref()),
    alike: |one, other| one.egress == other.egress,
    check,
    remedy: Some(remedy),
}];

/// What the entries say about one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Allowed,
    Excessive,
    /// A list that could not be read decides.
    Undecided,
}

/// What the entries let out to those behind one peer.
#[derive(Debug, Default)]
struct Reach {
    /// What may go out for sure.
    certain: Vec<Bound>,
    /// That, and what may go out depending on lists that could not be read.
    possible: Vec<Bound>,
    /// That, and what may go out to a part of a list: no rule for the list itself says so.
    partly: Vec<Bound>,
}

impl Reach {
    fn judge(&self, grant: &Grant) -> Judgement {
        let stays = |bounds: &Vec<Bound>| narrow(grant, &[bounds]) == Remains::Unchanged;
        if stays(&self.certain) {
            Judgement::Allowed
        } else if stays(&self.possible) {
            Judgement::Undecided
        } else {
            Judgement::Excessive
        }
    }

    /// What is to become of a rule that lets out too much.
    fn remedies(self, index: usize, grant: &Grant) -> Vec<Remedy> {
        let Self { possible, partly, .. } = self;
        let (wanted, exact) = (narrow(grant, &[&possible]), narrow(grant, &[&partly]));
        let inexact = (wanted != exact).then(|| Remedy::keep(index, possible).held_by(Withheld::NoExactForm));
        let exact = (exact != Remains::Unchanged).then(|| Remedy::keep(index, partly));
        exact.into_iter().chain(inexact).collect()
    }
}

impl Compiled {
    fn reach(&self, view: &GroupView<'_>, peer: &Peer) -> Reach {
        match peer.as_network() {
            Some(net) => self.reach_of_network(view, net),
            None => self.reach_of_others(view, peer),
        }
    }

    fn reach_of_network(&self, view: &GroupView<'_>, net: IpNet) -> Reach {
        let mut reach = Reach::default();
        for Rule { grant: entry, .. } in &self.allow {
            let audience = Audience::of(&entry.peer, view.lists);
            for other in audience.nets() {
                let peer = (!other.contains(&net)).then(|| Peer::network(*other));
                reach.certain.push(Bound { traffic: entry.traffic.into(), peer });
            }
            if audience == Audience::Unknown {
                reach.possible.push(Bound::anybody(entry.traffic.into()));
            }
        }
        reach.possible.extend(reach.certain.iter().cloned());
        reach.partly = reach.possible.clone();
        reach
    }

    fn reach_of_others(&self, view: &GroupView<'_>, peer: &Peer) -> Reach {
        let mut reach = Reach::default();
        for piece in &self.pieces {
            let lets_out = |entry: &&Rule| piece.is_subset(&entry.grant.traffic.into());
            let entries: Vec<&Peer> = self.allow.iter().filter(lets_out).map(|entry| &entry.grant.peer).collect();
            let bound = Bound::anybody(piece.clone());
            match Members::of(view, peer, &entries) {
                Members::All => reach.certain.push(bound),
                Members::Unknown => reach.possible.push(bound),
                Members::Some => reach.partly.push(bound),
                Members::None => {}
            }
        }
        reach.possible.extend(reach.certain.iter().cloned());
        reach.partly.extend(reach.possible.iter().cloned());
        reach
    }
}

fn pieces(allow: &[Rule]) -> Vec<TrafficSet> {
    let mut pieces: Vec<TrafficSet> = Vec::new();
    for entry in allow {
        let traffic = TrafficSet::from(entry.grant.traffic);
        let known = pieces.iter().fold(TrafficSet::empty(), |known, piece| known.union(piece));
        let split = |piece: &TrafficSet| [piece.intersection(&traffic), piece.difference(&traffic)];
        pieces = pieces.iter().flat_map(split).chain([traffic.difference(&known)]).collect();
        pieces.retain(|piece| !piece.is_empty());
    }
    pieces
}

/// How many of those behind a peer are behind some entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Members {
    All,
    Some,
    None,
    /// A list that could not be read decides.
    Unknown,
}

impl Members {
    /// Who is in a group or in a list of AWS has some address: either `0.0.0.0/0` or `::/0` holds them all. A list that
    /// could not be read may be of either family.
    fn of(view: &GroupView<'_>, peer: &Peer, entries: &[&Peer]) -> Self {
        let audiences: Vec<Audience<'_>> = entries.iter().map(|entry| Audience::of(entry, view.lists)).collect();
        let nets = || audiences.iter().flat_map(Audience::nets);
        let worlds = nets().filter(|net| net.prefix_len() == 0).count();
        let named = entries.iter().any(|entry| *entry.resolved(&view.group.owner) == *peer);
        let audience = Audience::of(peer, view.lists);
        let addresses: AddressSet = nets().copied().collect();
        let all = match audience {
            Audience::Network(_) | Audience::Networks(_) => audience.nets().iter().all(|net| addresses.covers(*net)),
            Audience::Trusted => worlds > 0,
            Audience::Unknown => worlds > 1,
        };
        let meets = |net: &IpNet| nets().any(|other| other.contains(net) || net.contains(other));
        if named || all {
            Self::All
        } else if audiences.contains(&Audience::Unknown) || (audience == Audience::Unknown && nets().next().is_some()) {
            Self::Unknown
        } else if audience.nets().iter().any(meets) {
            Self::Some
        } else {
            Self::None
        }
    }
}

fn excessive<'v>(
    parameters: &'v Parameters,
    view: &'v GroupView<'_>,
    undecided: &'v mut bool,
) -> impl Iterator<Item = (usize, &'v Rule)> {
    view.rules(Direction::Egress).filter(move |(_, rule)| {
        let judgement = parameters.egress.reach(view, &rule.grant.peer).judge(&rule.grant);
        *undecided |= judgement == Judgement::Undecided;
        judgement == Judgement::Excessive
    })
}

fn check(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let mut undecided = false;
    let found = named(excessive(parameters, view, &mut undecided).map(|(_, rule)| &rule.grant));
    if !found.is_empty() {
        Verdict::fail("egress to the declared destinations only", found)
    } else if undecided {
        Verdict::unknown("a prefix list that a rule refers to could not be read")
    } else {
        Verdict::Pass
    }
}

fn remedy(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let egress = &parameters.egress;
    excessive(parameters, view, &mut false)
        .flat_map(|(index, rule)| egress.reach(view, &rule.grant.peer).remedies(index, &rule.grant))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::SecurityGroupParameters;
    use super::super::vectors::{group, list, verdict_with};
    use super::*;

    #[test]
    fn egress_is_judged_by_coverage() {
        let allow = RuleDeclaration { traffic: "tcp/443".into(), peer: "0.0.0.0/0".into(), description: None };
        let spec = SecurityGroupParameters { egress: Some(Egress { allow: vec![allow] }), ..Default::default() };
        let verdict = |rules: &[&str]| verdict_with(&spec, "sg-no-unrestricted-egress", &group(rules));
        assert_eq!(verdict(&["tcp/443 to 10.0.0.0/8", "tcp/22 from 10.0.0.0/8"]), Verdict::Pass);
        let expected = "egress to the declared destinations only";
        assert_eq!(verdict(&["all to 0.0.0.0/0"]), Verdict::fail(expected, "all traffic to 0.0.0.0/0"));
        assert_eq!(verdict(&["tcp/443 to ::/0"]), Verdict::fail(expected, "tcp/443 to ::/0"));
    }

    fn spec(entries: &[(&str, &str)]) -> SecurityGroupParameters {
        let entry = |(traffic, peer): &(&str, &str)| RuleDeclaration {
            traffic: (*traffic).to_owned(),
            peer: (*peer).to_owned(),
            description: None,
        };
        let egress = Egress { allow: entries.iter().map(entry).collect() };
        SecurityGroupParameters { egress: Some(egress), ..Default::default() }
    }

    /// The verdict on one rule while `pl-1` holds some networks, or could not be read, and what is asked for.
    fn judged(entries: &[(&str, &str)], nets: Option<&[&str]>, rule: &str) -> (&'static str, Vec<Remedy>) {
        let group = group(&[rule]);
        let lists = nets.map(|nets| list("pl-1", nets)).unwrap_or_default();
        let parameters = Parameters::new(&spec(entries)).unwrap();
        let view = GroupView::new(&group, None, Some(&lists));
        (check(&parameters, &view).word(), remedy(&parameters, &view))
    }

    #[test]
    fn a_list_is_judged_by_all_its_networks_and_all_entries() {
        let halves = [("tcp/443", "10.0.0.0/9"), ("tcp/443", "10.128.0.0/9")];
        let of_both: Option<&[&str]> = Some(&["10.0.0.0/8", "10.200.0.0/16"]);
        assert_eq!(judged(&halves, of_both, "tcp/443 to pl-1"), ("Pass", Vec::new()));
        assert_eq!(judged(&[("tcp/443", "0.0.0.0/0")], Some(&["2001:db8::/32"]), "tcp/443 to pl-1").0, "Fail");
    }

    #[test]
    fn a_list_that_may_be_reached_in_part_is_left_to_a_person() {
        let (verdict, remedies) =
            judged(&[("tcp/443", "10.0.0.0/8")], Some(&["10.1.0.0/16", "8.8.8.8/32"]), "tcp/443 to pl-1");
        assert_eq!(verdict, "Fail");
        assert_eq!(remedies, [Remedy::keep(0, Vec::new()).held_by(Withheld::NoExactForm)]);
    }

    #[test]
    fn what_an_unread_list_cannot_excuse_fails() {
        let entries = [("tcp/443", "10.0.0.0/8")];
        assert_eq!(judged(&entries, None, "tcp/443 to pl-1").0, "Unknown");
        assert_eq!(judged(&entries, None, "all to pl-1").0, "Fail");
        assert_eq!(judged(&[("tcp/443", "pl-1")], None, "tcp/443 to 10.0.0.0/8").0, "Unknown");
    }
}
