//! The only source of chance.

/// A seeded generator (SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that roll what `seed` says.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice for a part of a run, which roll the same whatever the other parts do.
    #[must_use]
    pub fn split(&self, part: u64) -> Self {
        let mut dice = Self(self.0 ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(dice.roll())
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` up to, but not, `to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.roll() % to.saturating_sub(from).max(1)
    }

    /// True in so many of a hundred rolls.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }
}
