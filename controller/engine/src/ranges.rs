//! Sets of numbers as sorted ranges, with exact arithmetic. What only asks a question allocates nothing: it is
//! asked for every rule of every group.

use std::ops::RangeInclusive;

/// A number with neighbours.
pub(crate) trait Number: Copy + Ord {
    fn before(self) -> Option<Self>;
    fn after(self) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }

            fn after(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    )*};
}

number!(u16, u32, u128);

/// A set of numbers: ranges in ascending order that neither overlap nor touch, so that equal sets are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges<N>(Vec<(N, N)>);

impl<N> Default for Ranges<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N: Number> Ranges<N> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RangeInclusive<N>> {
        self.0.iter().map(|&(start, end)| start..=end)
    }

    /// Whether any of a range is in the set.
    pub(crate) fn meets(&self, range: &RangeInclusive<N>) -> bool {
        self.meeting(*range.start(), *range.end()).next().is_some()
    }

    /// Whether all of a range is in the set.
    pub(crate) fn covers(&self, range: &RangeInclusive<N>) -> bool {
        let (&start, &end) = (range.start(), range.end());
        self.meeting(start, end).any(|(first, last)| first <= start && end <= last)
    }

    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|range| other.covers(&range))
    }

    pub(crate) fn is_disjoint(&self, other: &Self) -> bool {
        let (few, many) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        few.0.iter().all(|&(start, end)| !many.meets(&(start..=end)))
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => self.iter().chain(other.iter()).collect(),
        }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        for &(start, end) in &self.0 {
            both.extend(other.meeting(start, end).map(|(first, last)| (start.max(first), end.min(last))));
        }
        Self(both)
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        for &(start, end) in &self.0 {
            let mut from = Some(start);
            for (first, last) in other.meeting(start, end) {
                rest.extend(from.zip(first.before()).filter(|(from, to)| from <= to));
                from = last.after();
            }
            rest.extend(from.map(|from| (from, end)).filter(|(from, to)| from <= to));
        }
        Self(rest)
    }

    /// The ranges that share a number with `start..=end`.
    fn meeting(&self, start: N, end: N) -> impl Iterator<Item = (N, N)> {
        let first = self.0.partition_point(|&(_, last)| last < start);
        let from = self.0.get(first..).unwrap_or_default();
        from.iter().copied().take_while(move |&(first, _)| first <= end)
    }
}

impl<N: Number> From<RangeInclusive<N>> for Ranges<N> {
    fn from(range: RangeInclusive<N>) -> Self {
        Self(vec![range.into_inner()])
    }
}

impl<N: Number> FromIterator<RangeInclusive<N>> for Ranges<N> {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<N>>>(ranges: I) -> Self {
        let mut sorted: Vec<(N, N)> = ranges.into_iter().map(RangeInclusive::into_inner).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, kept| {
            let touches = kept.1.after().is_none_or(|after| next.0 <= after);
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
        Self(sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use range_set_blaze::RangeSetBlaze;

    type Pairs = Vec<(u16, u16)>;

    fn pairs() -> impl Strategy<Value = Pairs> {
        let number = prop_oneof![0..40u16, (u16::MAX - 5)..=u16::MAX];
        prop::collection::vec((number.clone(), number), 0..6)
    }

    fn ours(pairs: &Pairs) -> Ranges<u16> {
        pairs.iter().map(|&(one, other)| one.min(other)..=one.max(other)).collect()
    }

    fn theirs(pairs: &Pairs) -> RangeSetBlaze<u16> {
        pairs.iter().map(|&(one, other)| one.min(other)..=one.max(other)).collect()
    }

    fn same(ours: &Ranges<u16>, theirs: &RangeSetBlaze<u16>) -> bool {
        ours.iter().eq(theirs.ranges())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_operation_agrees_with_another_implementation(a in pairs(), b in pairs()) {
            let ((a, b), (x, y)) = ((ours(&a), ours(&b)), (theirs(&a), theirs(&b)));
            prop_assert!(same(&a, &x));
            prop_assert!(same(&a.union(&b), &(&x | &y)));
            prop_assert!(same(&a.intersection(&b), &(&x & &y)));
            prop_assert!(same(&a.difference(&b), &(&x - &y)));
            prop_assert_eq!(a.is_subset(&b), x.is_subset(&y));
            prop_assert_eq!(a.is_disjoint(&b), x.is_disjoint(&y));
            prop_assert_eq!(a.is_empty(), x.is_empty());
        }
    }
}
