//! Exact set arithmetic in two dimensions: services (protocol and port) by addresses.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use range_set_blaze::RangeSetBlaze;

type Addresses = RangeSetBlaze<u128>;

/// What makes one set of addresses out of two.
pub(super) type Operation = fn(&Addresses, &Addresses) -> Addresses;

/// Ranges of services, ascending and disjoint, each with the addresses that may use them. Neighbours with equal
/// addresses are one range and no range is without addresses, so equal regions have equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Region(Vec<(RangeInclusive<u32>, Addresses)>);

impl Region {
    pub(super) fn new(services: RangeInclusive<u32>, addresses: Addresses) -> Self {
        Self(vec![(services, addresses)])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn slabs(&self) -> &[(RangeInclusive<u32>, Addresses)] {
        &self.0
    }

    /// Cuts both regions at all their edges; between two edges both are constant.
    pub(super) fn combine(&self, other: &Self, operation: Operation) -> Self {
        let edges: BTreeSet<u32> = self.edges().chain(other.edges()).collect();
        let mut combined = Self::default();
        for (start, next) in edges.iter().zip(edges.iter().skip(1)) {
            let addresses = operation(&self.addresses_at(*start), &other.addresses_at(*start));
            combined.append(*start..=next - 1, addresses);
        }
        combined
    }

    /// Where something begins, and the number after each end. Numbers have 24 bits, so there is one after the last.
    fn edges(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(services, _)| [*services.start(), services.end() + 1])
    }

    fn addresses_at(&self, service: u32) -> Addresses {
        let index = self.0.partition_point(|(services, _)| *services.end() < service);
        match self.0.get(index) {
            Some((services, addresses)) if services.contains(&service) => addresses.clone(),
            _ => Addresses::new(),
        }
    }

    fn append(&mut self, services: RangeInclusive<u32>, addresses: Addresses) {
        if addresses.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some((last, same)) if *same == addresses && last.end() + 1 == *services.start() => {
                *last = *last.start()..=*services.end();
            }
            _ => self.0.push((services, addresses)),
        }
    }
}
