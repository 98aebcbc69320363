//! The conformance suite, pacing, and the values of rows.

use std::sync::{Arc, atomic::Ordering};

use arrow_array::{
    cast::AsArray,
    types::{Float64Type, Int8Type, Int64Type, TimestampNanosecondType},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use postrider_core::{Format, Polled, Position, Source};

use super::{GeneratorOptions, GeneratorSource};
use crate::{
    SourceParts, SourceSpec,
    conformance::{
        options,
        source::{SourceCase, StoppedClock, is_ready},
        source_conformance,
    },
    open_source,
};

fn schema() -> SchemaRef {
    let column = |name: &str, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![
        column("ts", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        column("n", DataType::Int64),
        column("small", DataType::Int8),
        column("cart_id", DataType::Int64),
        column("user_id", DataType::Utf8),
        column("price", DataType::Float64),
        column("amount", DataType::Decimal128(10, 2)),
        column("member", DataType::Boolean),
        column("day", DataType::Date32),
    ]))
}

fn open(values: &[(&str, &str)]) -> SourceParts {
    let spec = SourceSpec {
        options: options(values),
        format: Format::Json,
        json: postrider_core::JsonForm::default(),
        schema: schema(),
        base_dir: ".".as_ref(),
        env: &|_| None,
        clock: Arc::new(StoppedClock::default()),
    };
    open_source("generator", spec).unwrap()
}

source_conformance!(SourceCase {
    connector: "generator",
    format: Format::Json,
    options: &[("rows", "40000"), ("keys", "10")],
    schema,
    prepare: |_| {},
    chunks: 5,
});

#[tokio::test]
async fn values_follow_from_the_row_number() {
    let values = [("rows", "300"), ("keys", "7"), ("start", "2026-03-01T00:00:00Z")];
    let mut parts = open(&values);
    let Polled::Chunk(chunk) = parts.source.poll(None).await.unwrap() else { panic!("no rows") };
    let rows = parts.decoder.decode(&chunk).unwrap().rows;
    assert_eq!(rows.num_rows(), 300);
    let times = rows.column(0).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.value(2) - times.value(1), 1_000_000_000);
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().value(299), 299);
    assert_eq!(rows.column(2).as_primitive::<Int8Type>().value(130), 2);
    let keys = rows.column(3).as_primitive::<Int64Type>();
    let users = rows.column(4).as_string::<i32>();
    for row in 0..300 {
        assert!(keys.value(row) < 7);
        assert_eq!(users.value(row), format!("user-{}", keys.value(row)));
    }
    let prices = rows.column(5).as_primitive::<Float64Type>();
    assert!(prices.values().iter().all(|price| (0.0..100.0).contains(price)));
    let mean = prices.values().iter().sum::<f64>() / prices.len() as f64;
    assert!((40.0..60.0).contains(&mean), "{mean}");
    let again = open(&values).decoder.decode(&chunk).unwrap().rows;
    assert_eq!(rows, again);
    let other = open(&[("rows", "300"), ("keys", "7"), ("seed", "2")]).decoder;
    assert_ne!(rows.column(4), other.decode(&chunk).unwrap().rows.column(4));
}

#[tokio::test]
async fn rows_come_due_as_the_clock_moves() {
    let clock = StoppedClock::default();
    let options = GeneratorOptions::take(options(&[("events_per_second", "1000")])).unwrap();
    let mut source = GeneratorSource::new(&options, Arc::new(clock.clone()));
    assert!(matches!(source.poll(None).await.unwrap(), Polled::Empty));
    assert!(!is_ready(&mut source));
    clock.0.store(25_000_000, Ordering::SeqCst);
    assert!(is_ready(&mut source));
    for end in [10, 20] {
        let Polled::Chunk(chunk) = source.poll(None).await.unwrap() else { panic!("not due") };
        assert_eq!(chunk.end, Position::at(end));
    }
    assert!(matches!(source.poll(None).await.unwrap(), Polled::Empty));
    // A replay does not wait.
    source.seek(Some(Position::at(5))).await.unwrap();
    let until = Position::at(1005);
    let mut last = 5;
    while let Polled::Chunk(chunk) = source.poll(Some(&until)).await.unwrap() {
        assert_eq!(chunk.start, Position::at(last));
        last = chunk.end.offset;
    }
    assert_eq!(last, 1005);
}
