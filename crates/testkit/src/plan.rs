//! What a process is to do, and when it is to die.

use crate::{Death, Dice, time::SECOND};

/// The plan of one life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// When it dies.
    pub(crate) death: Death,
    /// Whether the machine loses power with it.
    pub(crate) power: bool,
    /// Instances of each stage.
    pub(crate) shards: usize,
    /// What it does before it is told to end.
    pub(crate) actions: u64,
    /// How long nothing runs before it, in nanoseconds.
    pub(crate) downtime: i64,
}

impl Plan {
    /// The last life: it only waits until everything has come to its end.
    pub(crate) const LAST: Self =
        Self { death: Death::Never, power: false, shards: 2, actions: 0, downtime: SECOND };

    /// A life like any other. A fifth of them end before they are up.
    pub(crate) fn roll(dice: &mut Dice) -> Self {
        let death = match dice.between(0, 10) {
            0 | 1 => Death::Recovering(dice.between(1, 40)),
            2 => Death::Never,
            _ => Death::Running(dice.between(1, 250)),
        };
        Self {
            death,
            power: dice.percent(50),
            shards: usize::try_from(dice.between(1, 4)).unwrap_or(1),
            actions: dice.between(5, 30),
            downtime: (dice.between(0, 60) * SECOND.unsigned_abs()).cast_signed(),
        }
    }

    /// Whether it may be stopped in an orderly way.
    pub(crate) const fn may_stop(self) -> bool {
        matches!(self.death, Death::Never | Death::Recovering(_))
    }
}
