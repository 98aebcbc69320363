//! How sessions are emitted.

use postrider_core::Watermark;

use super::SessionWindows;
use crate::{
    limits::ADVANCE_ROWS,
    operator::{
        Advanced, Operator,
        testing::{batch, counts, windows},
    },
};

#[test]
fn a_call_emits_a_part_of_many_sessions() {
    let mut operator = SessionWindows::new(1, counts()).unwrap();
    let sessions = 2 * ADVANCE_ROWS as i64 + 1;
    let times: Vec<_> = (0..sessions).map(|number| 10 * number).collect();
    operator.take_rows(&batch(&times)).unwrap();

    let mut found = Vec::new();
    for (advanced, rows) in
        [(Advanced::Partly, ADVANCE_ROWS), (Advanced::Partly, ADVANCE_ROWS), (Advanced::Whole, 1)]
    {
        let mut out = Vec::new();
        assert_eq!(operator.advance(Watermark::MAX, &mut out).unwrap(), advanced);
        assert_eq!(out.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), rows);
        found.extend(windows(&out));
    }
    let expected: Vec<_> = times.iter().map(|&time| (time, time + 1, 1)).collect();
    assert_eq!(found, expected);
    assert_eq!(operator.next_timer(), None);
}
