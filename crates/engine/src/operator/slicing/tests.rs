//! Windows against their definition in whole numbers, also where 64 bits of nanoseconds end.

use std::collections::BTreeMap;

use postrider_core::Watermark;
use proptest::prelude::*;

use super::{Grid, SlicingWindows};
use crate::{
    limits::{ADVANCE_BATCHES, EVENT_TIMES},
    operator::{
        Advanced, Operator,
        testing::{batch, counts, windows},
    },
};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 1678-01-01, the first time that an event can have.
const FIRST: i64 = EVENT_TIMES.start;
/// The last time that an event can have.
const LAST: i64 = EVENT_TIMES.end - 1;

fn advance(operator: &mut SlicingWindows, watermark: Watermark) -> Vec<(i64, i64, i64)> {
    let mut found = Vec::new();
    loop {
        let mut out = Vec::new();
        let advanced = operator.advance(watermark, &mut out).unwrap();
        assert!(out.len() <= ADVANCE_BATCHES);
        found.extend(windows(&out));
        if advanced == Advanced::Whole {
            return found;
        }
    }
}

/// Windows of times that are all later, shifted back.
fn shifted(offset: i64, operator: SlicingWindows, batches: &[&[i64]]) -> Vec<(i64, i64, i64)> {
    let later: Vec<Vec<i64>> =
        batches.iter().map(|times| times.iter().map(|time| time + offset).collect()).collect();
    let later: Vec<&[i64]> = later.iter().map(Vec::as_slice).collect();
    let found = run_all(operator, &later);
    found.into_iter().map(|(start, end, rows)| (start - offset, end - offset, rows)).collect()
}

/// All hopping windows over rows that come in these batches, at the end.
fn run(slide: i64, size: i64, batches: &[&[i64]]) -> Vec<(i64, i64, i64)> {
    run_all(SlicingWindows::new(Grid::hop(slide, size, 0), counts()), batches)
}

fn run_all(mut operator: SlicingWindows, batches: &[&[i64]]) -> Vec<(i64, i64, i64)> {
    for times in batches {
        operator.take_rows(&batch(times)).unwrap();
    }
    assert_eq!(operator.take_late_rows(), 0);
    advance(&mut operator, Watermark::MAX)
}

/// The same by definition: window `n` holds the times from `n * slide` on and before `n * slide + size`.
fn expected(slide: i64, size: i64, times: &[i64]) -> Vec<(i64, i64, i64)> {
    let (slide, size) = (i128::from(slide), i128::from(size));
    let mut counts: BTreeMap<i128, i64> = BTreeMap::new();
    for time in times.iter().map(|&time| i128::from(time)) {
        let mut start = time.div_euclid(slide) * slide;
        while start + size > time {
            *counts.entry(start).or_default() += 1;
            start -= slide;
        }
    }
    let seen = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    counts.into_iter().map(|(start, rows)| (seen(start), seen(start + size), rows)).collect()
}

/// Cumulating windows by definition: bucket `b` holds the times from `b * size` on, and its window `n` those of them before
/// `b * size + n * step`. The first one with a row is followed by all others of its bucket.
fn expected_cumulating(step: i64, size: i64, times: &[i64]) -> Vec<(i64, i64, i64)> {
    let (step, size) = (i128::from(step), i128::from(size));
    let mut counts: BTreeMap<(i128, i128), i64> = BTreeMap::new();
    for time in times.iter().map(|&time| i128::from(time)) {
        let start = time.div_euclid(size) * size;
        for end in (1..=size / step).map(|n| start + n * step).filter(|&end| end > time) {
            *counts.entry((end, start)).or_default() += 1;
        }
    }
    let seen = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    counts.into_iter().map(|((end, start), rows)| (seen(start), seen(end), rows)).collect()
}

#[test]
fn a_cumulating_window_that_gets_no_rows_repeats_the_one_before() {
    let found = run_all(SlicingWindows::new(Grid::cumulate(10, 40, 0), counts()), &[&[12, 95]]);
    let (first, second) =
        ([(0, 20, 1), (0, 30, 1), (0, 40, 1)], [(80, 100, 1), (80, 110, 1), (80, 120, 1)]);
    assert_eq!(found, [first, second].concat());
}

#[test]
fn a_row_that_is_late_for_some_cumulating_windows_counts_in_the_others() {
    let mut operator = SlicingWindows::new(Grid::cumulate(10, 40, 0), counts());
    operator.take_rows(&batch(&[5, 15])).unwrap();
    assert_eq!(advance(&mut operator, Watermark(25)), [(0, 10, 1), (0, 20, 2)]);
    operator.take_rows(&batch(&[3, 22, -1])).unwrap();
    assert_eq!(operator.take_late_rows(), 1);
    assert_eq!(advance(&mut operator, Watermark(29)), [(0, 30, 4)]);
    operator.take_rows(&batch(&[39])).unwrap();
    assert_eq!(advance(&mut operator, Watermark(39)), [(0, 40, 5)]);
    operator.take_rows(&batch(&[39])).unwrap();
    assert_eq!((operator.take_late_rows(), operator.next_timer()), (1, None));
}

#[test]
fn a_late_row_that_is_the_first_of_its_bucket_fires_what_is_left_of_it() {
    let mut operator = SlicingWindows::new(Grid::cumulate(10, 40, 0), counts());
    assert_eq!(advance(&mut operator, Watermark(25)), []);
    operator.take_rows(&batch(&[3])).unwrap();
    assert_eq!(operator.next_timer(), Some(Watermark(29)));
    assert_eq!(advance(&mut operator, Watermark::MAX), [(0, 30, 1), (0, 40, 1)]);
}

#[test]
fn a_window_that_begins_before_time_does_ends_where_it_should() {
    let year = 365 * DAY;
    // The windows border on 1678-03-15.
    let border = -292 * year;
    let may = FIRST + 120 * DAY;
    assert!(border > FIRST && border < may);
    let found = [(i64::MIN, border, 1), (border, border + year, 1)];
    assert_eq!(run(year, year, &[&[FIRST, may]]), found);
    assert_eq!(run(year, year, &[&[may, FIRST]]), found);
    assert_eq!(run(year, year, &[&[FIRST], &[may]]), found);
}

#[test]
fn hops_that_begin_before_time_does_keep_to_their_slide() {
    let found = run(DAY, 365 * DAY, &[&[FIRST]]);
    assert_eq!(found.len(), 365);
    assert_eq!(found, expected(DAY, 365 * DAY, &[FIRST]));
    assert!(found.iter().all(|(_, end, _)| end.rem_euclid(DAY) == 0));
}

#[test]
fn a_timer_is_the_watermark_that_fires() {
    for time in [FIRST, -1, 0, LAST] {
        let mut operator = SlicingWindows::new(Grid::hop(DAY, 365 * DAY, 0), counts());
        operator.take_rows(&batch(&[time])).unwrap();
        let mut fired = Vec::new();
        while let Some(timer) = operator.next_timer() {
            assert_eq!(advance(&mut operator, Watermark(timer.0 - 1)), []);
            fired.extend(advance(&mut operator, timer));
        }
        assert_eq!(fired, expected(DAY, 365 * DAY, &[time]), "{time}");
    }
}

#[test]
fn a_row_is_late_once_its_last_window_has_fired() {
    let mut operator = SlicingWindows::new(Grid::hop(DAY, 2 * DAY, 0), counts());
    operator.take_rows(&batch(&[FIRST])).unwrap();
    let day = FIRST.div_euclid(DAY) * DAY;
    assert_eq!(advance(&mut operator, Watermark(day + DAY - 1)), [(day - DAY, day + DAY, 1)]);
    operator.take_rows(&batch(&[FIRST, FIRST - DAY, day + DAY])).unwrap();
    assert_eq!(operator.take_late_rows(), 1);
    let found = [(day, day + 2 * DAY, 3), (day + DAY, day + 3 * DAY, 1)];
    assert_eq!(advance(&mut operator, Watermark::MAX), found);
}

#[test]
fn a_call_returns_few_of_the_many_windows_of_a_row() {
    let mut operator = SlicingWindows::new(Grid::hop(SECOND, 30 * DAY, 0), counts());
    operator.take_rows(&batch(&[0])).unwrap();
    for call in 0..3 {
        let mut out = Vec::new();
        assert_eq!(operator.advance(Watermark::MAX, &mut out).unwrap(), Advanced::Partly);
        let ends = windows(&out).into_iter().map(|(_, end, _)| end);
        let due = call * ADVANCE_BATCHES as i64 + 1..=(call + 1) * ADVANCE_BATCHES as i64;
        assert!(ends.eq(due.map(|end| end * SECOND)), "call {call}");
    }
}

#[test]
fn an_offset_shifts_windows_and_what_is_late() {
    let mut operator = SlicingWindows::new(Grid::hop(40, 40, 10), counts());
    operator.take_rows(&batch(&[9, 10, 49, 50, -31])).unwrap();
    assert_eq!(operator.next_timer(), Some(Watermark(-31)));
    assert_eq!(advance(&mut operator, Watermark(49)), [(-70, -30, 1), (-30, 10, 1), (10, 50, 2)]);
    operator.take_rows(&batch(&[49, 50])).unwrap();
    assert_eq!(operator.take_late_rows(), 1);
    assert_eq!(advance(&mut operator, Watermark::MAX), [(50, 90, 2)]);
}

/// Sizes in slides, so that a row is in few windows.
fn lengths() -> impl Strategy<Value = (i64, i64)> {
    let slide = prop_oneof![
        Just(1),
        Just(7 * SECOND),
        Just(DAY),
        Just(365 * DAY),
        Just(36_500 * DAY),
        1..400 * DAY,
        Just(i64::MAX / 12),
    ];
    (slide, 4..48_i64)
        .prop_map(|(slide, quarters)| (slide, (slide / 4).saturating_mul(quarters).max(slide)))
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    let around = |place: i64, reach: i64| place.saturating_sub(reach)..place.saturating_add(reach);
    let time = prop_oneof![
        FIRST..FIRST + 500 * DAY,
        FIRST..FIRST + 10,
        around(0, 3 * SECOND),
        around(0, 1_000 * DAY),
        LAST - 500 * DAY..LAST,
        LAST - 10..LAST,
    ];
    prop::collection::vec(time, 1..12)
}

proptest! {
    #[test]
    fn windows_are_as_defined_however_rows_are_cut_into_batches(
        (slide, size) in lengths(),
        times in times(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(times.len())).collect();
        cuts.extend([0, times.len()]);
        cuts.sort_unstable();
        let batches: Vec<_> = cuts.windows(2).map(|pair| &times[pair[0]..pair[1]]).collect();
        prop_assert_eq!(run(slide, size, &batches), expected(slide, size, &times));
        // Around 1970, where a bound that is shifted back is one.
        if times.iter().all(|time| time.abs() < 1_000 * DAY) && size < i64::MAX / 4 {
            let offset = slide / 3;
            let operator = SlicingWindows::new(Grid::hop(slide, size, offset), counts());
            prop_assert_eq!(shifted(offset, operator, &batches), expected(slide, size, &times));
        }
        let step = slide.max(2);
        let size = step.saturating_mul(size / slide);
        let cumulating = SlicingWindows::new(Grid::cumulate(step, size, 0), counts());
        prop_assert_eq!(run_all(cumulating, &batches), expected_cumulating(step, size, &times));
    }
}
