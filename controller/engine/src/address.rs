//! How much of the public internet a set of networks holds.
//!
//! Exposure is judged by coverage, never by comparing with `0.0.0.0/0`: two /1 halves are the
//! world, and `10.0.0.0/7` is half private. The figures are those of the control catalogue
//! (`sg-no-open-admin-ports`).

use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::ranges::Ranges;

/// More public IPv4 addresses than this (one /8) are the world; up to it a range is merely broad.
pub const WORLD_V4: u64 = 1 << 24;

/// More public IPv6 addresses than this (one /16) are the world.
pub const WORLD_V6: u128 = 1 << 112;

/// IPv4 networks that are not reached over the internet, in ascending order: "this network",
/// RFC 1918, carrier-grade NAT, loopback, link-local, benchmarking, multicast and reserved.
/// The documentation networks count as public, so that examples behave as in real life.
const PRIVATE_V4: [RangeInclusive<u32>; 10] = [
    block(0, 0, 8),
    block(10, 0, 8),
    block(100, 64, 10),
    block(127, 0, 8),
    block(169, 254, 16),
    block(172, 16, 12),
    block(192, 168, 16),
    block(198, 18, 15),
    block(224, 0, 4),
    block(240, 0, 4),
];

/// Global unicast, `2000::/3`: the only IPv6 range that is reached over the internet.
const PUBLIC_V6: RangeInclusive<u128> = (0x2000 << 112)..=((0x4000 << 112) - 1);

const fn block(first: u8, second: u8, prefix: u32) -> RangeInclusive<u32> {
    let start = u32::from_be_bytes([first, second, 0, 0]);
    start..=(start | (u32::MAX >> prefix))
}

fn v4_range(net: Ipv4Net) -> RangeInclusive<u32> {
    net.network().to_bits()..=net.broadcast().to_bits()
}

fn v6_range(net: Ipv6Net) -> RangeInclusive<u128> {
    net.network().to_bits()..=net.broadcast().to_bits()
}

/// How many public addresses some networks hold, per address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicSize {
    /// Public IPv4 addresses.
    pub v4: u64,
    /// Public IPv6 addresses.
    pub v6: u128,
}

impl PublicSize {
    /// The public part of one network. Allocates nothing: it is asked for every rule of every group.
    pub fn of(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self { v4: public_v4(&v4_range(net)), v6: 0 },
            IpNet::V6(net) => Self { v4: 0, v6: public_v6(&v6_range(net)) },
        }
    }

    /// Whether this is the world. The families are judged apart: either is enough.
    pub fn is_world(self) -> bool {
        self.v4 > WORLD_V4 || self.v6 > WORLD_V6
    }

    /// Whether there is nothing public in it.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The sum, an upper bound for the union.
    pub fn plus(self, other: Self) -> Self {
        Self { v4: self.v4.saturating_add(other.v4), v6: self.v6.saturating_add(other.v6) }
    }

    /// The larger of the two, family by family.
    pub fn max(self, other: Self) -> Self {
        Self { v4: self.v4.max(other.v4), v6: self.v6.max(other.v6) }
    }
}

fn public_v4(range: &RangeInclusive<u32>) -> u64 {
    let overlap = |private: &RangeInclusive<u32>| {
        let (start, end) = (*range.start().max(private.start()), *range.end().min(private.end()));
        if start <= end { u64::from(end - start) + 1 } else { 0 }
    };
    let private: u64 = PRIVATE_V4.iter().map(overlap).sum();
    u64::from(range.end() - range.start()) + 1 - private
}

fn public_v6(range: &RangeInclusive<u128>) -> u128 {
    let (start, end) = (*range.start().max(PUBLIC_V6.start()), *range.end().min(PUBLIC_V6.end()));
    if start <= end { end - start + 1 } else { 0 }
}

/// A union of networks with exact arithmetic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl AddressSet {
    /// Whether all of a network is in the set.
    pub fn covers(&self, net: IpNet) -> bool {
        match net {
            IpNet::V4(net) => self.v4.covers(&v4_range(net)),
            IpNet::V6(net) => self.v6.covers(&v6_range(net)),
        }
    }

    /// How many public addresses the union holds.
    pub fn public_size(&self) -> PublicSize {
        PublicSize {
            v4: self.v4.iter().map(|range| public_v4(&range)).sum(),
            v6: self.v6.iter().map(|range| public_v6(&range)).sum(),
        }
    }
}

impl FromIterator<IpNet> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(v4_range(net)),
                IpNet::V6(net) => v6.push(v6_range(net)),
            }
        }
        Self { v4: v4.into_iter().collect(), v6: v6.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(nets: &[&str]) -> bool {
        nets.iter().map(|net| net.parse().unwrap()).collect::<AddressSet>().public_size().is_world()
    }

    #[test]
    fn the_world_is_judged_by_coverage() {
        for nets in [
            &["0.0.0.0/0"] as &[&str],
            &["::/0"],
            &["0.0.0.0/1"],
            &["128.0.0.0/1"],
            &["8.0.0.0/7"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["8.0.0.0/8", "9.0.0.0/24"],
            &["::/1"],
            &["2000::/3"],
            &["2600::/12"],
        ] {
            assert!(world(nets), "{nets:?} is the world");
        }
    }

    #[test]
    fn private_documentation_and_broad_ranges_are_not_the_world() {
        for nets in [
            &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"] as &[&str],
            &["100.64.0.0/10"],
            &["10.0.0.0/7"],
            &["8.0.0.0/8"],
            &["203.0.113.7/32"],
            &["fc00::/7", "fe80::/10"],
            &["2600::/16"],
            &["64:ff9b::/96"],
        ] {
            assert!(!world(nets), "{nets:?} is not the world");
        }
    }

    #[test]
    fn eighty_six_percent_of_ipv4_is_public() {
        let public = PublicSize::of("0.0.0.0/0".parse().unwrap()).v4;
        assert_eq!((public * 1000).div_ceil(1 << 32), 862);
    }

    #[test]
    fn the_size_of_one_network_equals_the_size_of_its_set() {
        for net in ["0.0.0.0/0", "10.0.0.0/7", "192.0.0.0/8", "::/0", "2001:db8::/32", "fc00::/7"] {
            let net: IpNet = net.parse().unwrap();
            assert_eq!(PublicSize::of(net), AddressSet::from_iter([net]).public_size());
        }
    }

    #[test]
    fn a_network_is_covered_by_its_halves() {
        let halves = AddressSet::from_iter(["10.0.0.0/9".parse().unwrap(), "10.128.0.0/9".parse().unwrap()]);
        assert!(halves.covers("10.0.0.0/8".parse().unwrap()));
        assert!(!halves.covers("10.0.0.0/7".parse().unwrap()));
    }
}
