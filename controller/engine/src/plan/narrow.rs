//! Exact narrowing: what remains of one rule within the bounds of all who want to change it.

use crate::address::AddressSet;
use crate::controls::security_group::Bound;
use crate::facts::{Grant, Peer};
use crate::traffic::TrafficSet;

/// More rules than this in the place of one are no exact form: "everything but one port" would be
/// hundreds of protocol numbers.
pub(super) const MOST_GRANTS: usize = 60;

/// What remains of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remains {
    /// All of it.
    Unchanged,
    /// These grants, or nothing.
    Grants(Vec<Grant>),
    /// Something that cannot be written as a few rules.
    NoExactForm,
}

/// Intersects a rule with every list of bounds. Only ever takes away: each grant of the result lies inside the rule.
pub fn narrow(rule: &Grant, bounds: &[&[Bound]]) -> Remains {
    let whole = TrafficSet::from(rule.traffic);
    let mut regions = vec![(whole, rule.peer.clone())];
    for bounds in bounds {
        regions =
            regions.iter().flat_map(|region| bounds.iter().filter_map(|bound| intersect(region, bound))).collect();
        regions = united(regions);
    }
    // Only now: what goes on the way would depend on the order of the bounds.
    let regions = without_covered(regions);
    if all_of(&rule.peer, &TrafficSet::from(rule.traffic), &regions) {
        return Remains::Unchanged;
    }
    let mut grants = Vec::new();
    for (traffic, peer) in regions {
        let direction = rule.direction;
        grants.extend(traffic.rules().into_iter().map(|traffic| Grant { direction, traffic, peer: peer.clone() }));
    }
    grants.sort();
    match grants.as_slice() {
        [only] if only == rule => Remains::Unchanged,
        many if many.len() > MOST_GRANTS => Remains::NoExactForm,
        _ => Remains::Grants(grants),
    }
}

type Region = (TrafficSet, Peer);

fn intersect((traffic, peer): &Region, bound: &Bound) -> Option<Region> {
    let peer = match &bound.peer {
        None => peer.clone(),
        Some(other) => peer.intersection(other)?,
    };
    let traffic = traffic.intersection(&bound.traffic);
    (!traffic.is_empty()).then_some((traffic, peer))
}

/// Unites the traffic of equal peers.
fn united(regions: Vec<Region>) -> Vec<Region> {
    let mut by_peer: Vec<Region> = Vec::new();
    for (traffic, peer) in regions {
        match by_peer.iter_mut().find(|(_, other)| *other == peer) {
            Some((united, _)) => *united = united.union(&traffic),
            None => by_peer.push((traffic, peer)),
        }
    }
    by_peer
}

/// Drops the peers for which wider ones let everything through anyway.
fn without_covered(regions: Vec<Region>) -> Vec<Region> {
    let covered = |(traffic, peer): &Region| {
        let wider = regions.iter().filter(|(_, around)| around != peer && around.contains(peer));
        traffic.is_subset(&wider.fold(TrafficSet::empty(), |all, (wide, _)| all.union(wide)))
    };
    regions.iter().filter(|region| !covered(region)).cloned().collect()
}

/// Whether some regions together are all of a rule although it takes several of them, such as two halves of its network.
fn all_of(peer: &Peer, traffic: &TrafficSet, regions: &[Region]) -> bool {
    let Some(net) = peer.as_network().filter(|_| regions.len() > 1) else {
        return false;
    };
    let covered = |part: &TrafficSet| {
        let holders = regions.iter().filter(|(held, _)| part.is_subset(held));
        let nets: AddressSet = holders.filter_map(|(_, peer)| peer.as_network()).collect();
        nets.covers(net)
    };
    // Split until each part lies wholly inside or outside of every region.
    let mut parts = vec![traffic.clone()];
    for (held, _) in regions {
        let split = |part: &TrafficSet| [part.intersection(held), part.difference(held)];
        parts = parts.iter().flat_map(split).filter(|part| !part.is_empty()).collect();
    }
    parts.iter().all(covered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Direction;
    use crate::traffic::Traffic;

    fn grant(traffic: &str, peer: &str) -> Grant {
        Grant { direction: Direction::Ingress, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() }
    }

    fn set(texts: &[&str]) -> TrafficSet {
        texts.iter().map(|text| text.parse::<Traffic>().unwrap()).collect()
    }

    fn all_but(texts: &[&str]) -> Vec<Bound> {
        vec![Bound::anybody(TrafficSet::universe().difference(&set(texts)))]
    }

    #[test]
    fn a_range_loses_exactly_the_forbidden_ports() {
        let remains = narrow(&grant("tcp/20-30", "0.0.0.0/0"), &[&all_but(&["tcp/22"]), &all_but(&["tcp/23"])]);
        assert_eq!(remains, Remains::Grants(vec![grant("tcp/20-21", "0.0.0.0/0"), grant("tcp/24-30", "0.0.0.0/0")]));
        assert_eq!(narrow(&grant("udp/22", "0.0.0.0/0"), &[&all_but(&["tcp/22"])]), Remains::Unchanged);
        assert_eq!(narrow(&grant("tcp/22", "0.0.0.0/0"), &[&all_but(&["tcp/22"])]), Remains::Grants(Vec::new()));
    }

    #[test]
    fn everything_but_a_port_has_no_exact_form_and_a_few_ports_have() {
        assert_eq!(narrow(&grant("all", "0.0.0.0/0"), &[&all_but(&["tcp/22"])]), Remains::NoExactForm);
        let allowed = vec![Bound::anybody(set(&["tcp/80", "tcp/443"]))];
        let expected = Remains::Grants(vec![grant("tcp/80", "::/0"), grant("tcp/443", "::/0")]);
        assert_eq!(narrow(&grant("all", "::/0"), &[&allowed, &all_but(&["tcp/22"])]), expected);
    }

    #[test]
    fn replacement_networks_keep_access_only_inside_the_old_source() {
        let bounds = [
            Bound::anybody(set(&["tcp/443"])),
            Bound::all_with("203.0.113.0/24".parse().unwrap()),
            Bound::all_with("2001:db8::/32".parse().unwrap()),
        ];
        let expected = vec![grant("tcp/22-443", "203.0.113.0/24"), grant("tcp/443", "0.0.0.0/0")];
        let Remains::Grants(mut grants) = narrow(&grant("tcp/22-443", "0.0.0.0/0"), &[&bounds]) else { panic!() };
        grants.sort_by_key(|grant| grant.traffic);
        assert_eq!(grants, expected);
    }
}
