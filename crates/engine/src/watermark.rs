//! Watermarks of several channels, and the clock of a quiet one.

use postrider_core::{ClockTime, Watermark};

/// What a channel said about itself at the last barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Rows come, or may come; the watermark holds the others back.
    Active(Watermark),
    /// Quiet; carries how far its own clock ran on.
    Idle(Watermark),
    /// Bounded and drained.
    Finished(Watermark),
}

impl Progress {
    /// The channel's own watermark.
    pub(crate) fn watermark(self) -> Watermark {
        match self {
            Self::Active(watermark) | Self::Idle(watermark) | Self::Finished(watermark) => {
                watermark
            }
        }
    }
}

/// Combines channels as Flink's `StatusWatermarkValve` does: the smallest watermark of the active
/// channels; if none is active, the largest of the idle ones; finished channels count only when
/// nothing else is left. The result never moves back, and an active channel behind it (which was idle while the
/// others went on) does not hold them back until it has caught up: Flink calls it not aligned.
#[derive(Debug)]
pub(crate) struct Combiner {
    channels: Vec<Progress>,
    combined: Watermark,
}

impl Combiner {
    /// For so many channels, which were combined to `combined` before.
    pub(crate) fn new(channels: usize, combined: Watermark) -> Self {
        Self { channels: vec![Progress::Active(Watermark::MIN); channels], combined }
    }

    pub(crate) fn set(&mut self, channel: usize, progress: Progress) {
        self.channels[channel] = progress;
    }

    /// Whether a channel was read to its end: it says so, or the time of a source without event times moved, which happens when all
    /// sources have ended.
    pub(crate) fn has_ended(&self, channel: usize) -> bool {
        match self.channels[channel] {
            Progress::Finished(_) => true,
            Progress::Active(watermark) => watermark > Watermark::MIN,
            Progress::Idle(_) => false,
        }
    }

    /// The combined progress.
    pub(crate) fn combined(&mut self) -> Progress {
        let of = |wanted: fn(&Progress) -> bool| {
            self.channels.iter().copied().filter(wanted).map(Progress::watermark)
        };
        let active = of(|progress| matches!(progress, Progress::Active(_)));
        let active = active.map(|watermark| (watermark < self.combined, watermark)).min();
        let idle = of(|progress| matches!(progress, Progress::Idle(_))).max();
        let finished = of(|progress| matches!(progress, Progress::Finished(_))).max();
        let next = active.map(|(_, watermark)| watermark).or(idle).or(finished);
        self.combined = self.combined.max(next.unwrap_or(Watermark::MIN));
        match (active, idle) {
            (Some(_), _) => Progress::Active(self.combined),
            (None, Some(_)) => Progress::Idle(self.combined),
            (None, None) => Progress::Finished(self.combined),
        }
    }
}

/// The clock of a source between events: after `timeout` without any, the source is idle, and its
/// watermark runs on with the epoch clock from where the last event left it.
///
/// The running-on follows Bytewax's `EventClock` (watermark = last + elapsed time); Flink only takes idle
/// sources out of the minimum, so that nothing fires in a quiet shop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleClock {
    /// `None`: this source never becomes idle.
    pub(crate) timeout: Option<i64>,
    /// Whether the watermark runs on.
    pub(crate) advance: bool,
    /// The watermark after the last event.
    pub(crate) base: Watermark,
    /// The epoch clock at the last event, or when this process had caught up.
    pub(crate) since: ClockTime,
}

impl IdleClock {
    /// An event came.
    pub(crate) fn restart(&mut self, base: Watermark, now: ClockTime) {
        (self.base, self.since) = (base, now);
    }

    /// The progress of a source that has nothing new at `now`.
    pub(crate) fn progress(&self, now: ClockTime) -> Progress {
        let quiet = now.0.saturating_sub(self.since.0);
        match self.timeout {
            Some(timeout) if quiet >= timeout => {
                let runs = self.advance && self.base != Watermark::MIN;
                let by = if runs { quiet } else { 0 };
                Progress::Idle(Watermark(self.base.0.saturating_add(by)))
            }
            _ => Progress::Active(self.base),
        }
    }

    /// When this source's progress may let `timer` fire: on becoming idle, and on reaching it. What an epoch at `seen`
    /// took into account already is not said again; a moment that passed since then is due at once.
    pub(crate) fn wake_at(&self, timer: Watermark, seen: ClockTime) -> Option<ClockTime> {
        let idle_at = ClockTime(self.since.0.saturating_add(self.timeout?));
        if idle_at > seen {
            return Some(idle_at);
        }
        if !self.advance || self.base == Watermark::MIN {
            return None;
        }
        let reached = ClockTime(self.since.0.saturating_add(timer.0.saturating_sub(self.base.0)));
        (reached > seen).then_some(reached)
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::{ClockTime, Watermark};

    use super::{Combiner, IdleClock, Progress};

    #[test]
    fn the_slowest_active_channel_leads_and_nothing_moves_back() {
        let mut combiner = Combiner::new(2, Watermark::MIN);
        combiner.set(0, Progress::Active(Watermark(10)));
        assert_eq!(combiner.combined(), Progress::Active(Watermark::MIN));
        combiner.set(1, Progress::Active(Watermark(7)));
        assert_eq!(combiner.combined(), Progress::Active(Watermark(7)));
        combiner.set(1, Progress::Idle(Watermark(7)));
        assert_eq!(combiner.combined(), Progress::Active(Watermark(10)));
        combiner.set(1, Progress::Active(Watermark(8)));
        assert_eq!(combiner.combined(), Progress::Active(Watermark(10)));
        // Channel 1 is behind what was said while it was idle: channel 0 goes on without it.
        combiner.set(0, Progress::Active(Watermark(12)));
        assert_eq!(combiner.combined(), Progress::Active(Watermark(12)));
        combiner.set(1, Progress::Active(Watermark(13)));
        combiner.set(0, Progress::Active(Watermark(15)));
        assert_eq!(combiner.combined(), Progress::Active(Watermark(13)));
    }

    #[test]
    fn all_idle_is_the_furthest_and_a_finished_channel_holds_nobody_back() {
        let mut combiner = Combiner::new(3, Watermark::MIN);
        combiner.set(0, Progress::Finished(Watermark(3)));
        combiner.set(1, Progress::Idle(Watermark(5)));
        combiner.set(2, Progress::Idle(Watermark(9)));
        assert_eq!(combiner.combined(), Progress::Idle(Watermark(9)));
        combiner.set(2, Progress::Finished(Watermark(9)));
        assert_eq!(combiner.combined(), Progress::Idle(Watermark(9)));
    }

    #[test]
    fn a_quiet_source_runs_on_from_its_last_event() {
        let clock = IdleClock {
            timeout: Some(30),
            advance: true,
            base: Watermark(1_000),
            since: ClockTime(5_000),
        };
        assert_eq!(clock.progress(ClockTime(5_029)), Progress::Active(Watermark(1_000)));
        assert_eq!(clock.progress(ClockTime(5_030)), Progress::Idle(Watermark(1_030)));
        assert_eq!(clock.wake_at(Watermark(1_100), ClockTime(5_000)), Some(ClockTime(5_030)));
        assert_eq!(clock.wake_at(Watermark(1_100), ClockTime(5_030)), Some(ClockTime(5_100)));
        assert_eq!(clock.wake_at(Watermark(1_100), ClockTime(5_100)), None);
    }

    #[test]
    fn without_a_timeout_a_source_is_never_idle() {
        let clock =
            IdleClock { timeout: None, advance: true, base: Watermark(1), since: ClockTime(0) };
        assert_eq!(clock.progress(ClockTime(i64::MAX)), Progress::Active(Watermark(1)));
        assert_eq!(clock.wake_at(Watermark(2), ClockTime(0)), None);
    }
}
