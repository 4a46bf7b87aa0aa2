//! Choices out of numbers that proptest generates and shrinks. Nested strategies would take longer than the engine.

/// Makes choices. Once the numbers have run out it always makes the first one, so that shorter is simpler.
pub(crate) struct Dice<'n> {
    numbers: std::slice::Iter<'n, u16>,
}

impl<'n> Dice<'n> {
    pub(crate) fn new(numbers: &'n [u16]) -> Self {
        Self { numbers: numbers.iter() }
    }

    /// A number below another.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.numbers.next().copied().unwrap_or(0)) % end.max(1)
    }

    /// True in one of so many cases, and never by default.
    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) + 1 == many
    }

    pub(crate) fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }

    /// Some of the items, at least one if there are any.
    pub(crate) fn some<T: Clone + PartialEq>(&mut self, items: &[T]) -> Vec<T> {
        let mut some: Vec<T> = Vec::new();
        for _ in 0..1 + self.below(items.len()) {
            let item = self.pick(items);
            if !some.contains(item) {
                some.push(item.clone());
            }
        }
        some
    }

    /// A permutation of the items.
    pub(crate) fn shuffled<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let mut shuffled = items.to_vec();
        for end in (1..shuffled.len()).rev() {
            shuffled.swap(end, self.below(end + 1));
        }
        shuffled
    }
}
