//! In which order the pictures of an epoch come, and where its random numbers are from.

use crate::tensor::random::Philox;

/// Streams of one seed: parameters are drawn from those that count up from 0, orders from this one on, and what happens
/// to single pictures from [`PICTURES`] on.
const ORDERS: u64 = 1 << 32;
/// Which pictures are held back is drawn from this one.
const HELD_BACK: u64 = ORDERS - 1;
/// The stream of a picture is this, for each epoch, plus the picture's number, which is below 2^32.
const PICTURES: u64 = 2 << 32;

/// The order of an epoch: a function of what stands here alone, so that a training that goes on in the middle of an epoch
/// sees the same batches as one that never stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// As in the data set, and without chance: what would be random happens in the middle, and nothing is mirrored.
    #[default]
    Unshuffled,
    /// Shuffled for an epoch.
    Shuffled {
        /// The training's.
        seed: u64,
        /// Counted from 0.
        epoch: usize,
    },
}

/// `count` of `pictures`, drawn by the seed, in the order of their numbers.
pub(crate) fn held_back(seed: u64, pictures: usize, count: usize) -> Vec<usize> {
    let drawn = Philox::new(seed, HELD_BACK).permutation(pictures).into_iter().take(count);
    let mut held: Vec<usize> = drawn.map(|picture| picture as usize).collect();
    held.sort_unstable();
    held
}

impl Order {
    /// Which picture comes at each of `count` places.
    pub fn pictures(self, count: usize) -> Vec<u32> {
        match self {
            Order::Unshuffled => (0..count as u32).collect(),
            Order::Shuffled { seed, epoch } => Philox::new(seed, ORDERS + epoch as u64).permutation(count),
        }
    }

    /// The random numbers for what happens to a picture in this epoch; none where nothing is left to chance.
    pub fn chance(self, picture: usize) -> Option<Philox> {
        match self {
            Order::Unshuffled => None,
            Order::Shuffled { seed, epoch } => {
                Some(Philox::new(seed, PICTURES + ((epoch as u64) << 32) + picture as u64))
            }
        }
    }

    /// The order behind this one.
    pub fn next(self) -> Order {
        match self {
            Order::Unshuffled => Order::Unshuffled,
            Order::Shuffled { seed, epoch } => Order::Shuffled { seed, epoch: epoch + 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_orders_parameters_and_pictures_are_apart() {
        let first = |order: Order, picture| order.chance(picture).unwrap().next_u32();
        let order = |epoch| Order::Shuffled { seed: 1, epoch };
        let drawn = [first(order(0), 0), first(order(0), 1), first(order(1), 0), first(order(1), 1)];
        for (i, word) in drawn.iter().enumerate() {
            assert!(!drawn[..i].contains(word));
        }
        assert_eq!(first(order(1), 7), Philox::new(1, (3 << 32) + 7).next_u32());
        assert!(Order::Unshuffled.chance(0).is_none());
        assert_eq!(order(2).next(), order(3));
        assert_eq!(Order::Unshuffled.pictures(3), [0, 1, 2]);
    }
}
