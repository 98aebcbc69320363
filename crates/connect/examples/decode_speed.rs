//! Measures the JSON decoder against `arrow-json` on the same bytes, one thread:
//! `cargo run --release -p postrider-connect --example decode_speed`.
//!
//! The documents are those of a shop: 430 bytes, nine fields, one of them an object.

use std::{error::Error, fmt::Write as _, io::Write as _, sync::Arc, time::Instant};

use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use postrider_connect::{JsonDecoder, JsonOptions, SourceSpec, open_source};
use postrider_core::{
    Chunk, ChunkData, Clock, ClockTime, Decoder, Format, OptionValue, Polled, Position, Sleep,
    TableOption, TableOptions,
};

/// Chunks of a MiB, as the file source cuts them.
const CHUNKS: usize = 64;
const CHUNK_BYTES: usize = 1 << 20;
/// Each measurement is repeated, and the best counts.
const ROUNDS: usize = 5;

fn chunk(number: usize) -> Result<Chunk, Box<dyn Error>> {
    let mut text = String::with_capacity(CHUNK_BYTES);
    let mut row = number * 2500;
    while text.len() < CHUNK_BYTES - 512 {
        let customer = (row * 7919) % 100_000;
        let price = (row * 31 % 20_000) as f64 / 100.0;
        write!(
            text,
            r#"{{"event_id":"0190f3c2-7a54-7c1e-9b1d-{row:012}","event_type":"product_viewed","customer_id":"customer-{customer:06}","ts":"2026-03-01T{:02}:{:02}:{:02}.{:03}Z","product_id":"product-{:05}","price":{price},"quantity":{},"url":"https://shop.example/catalogue/garden/tools/product-{:05}?utm_source=newsletter&utm_campaign=spring","properties":{{"device":"mobile","os":"iOS 19.3","currency":"EUR","experiment":"checkout-b","tags":["garden","sale"]}}}}"#,
            row / 3600 % 24,
            row / 60 % 60,
            row % 60,
            row % 1000,
            row % 20_000,
            row % 5 + 1,
            row % 20_000,
        )?;
        text.push('\n');
        row += 1;
    }
    let end = Position::at(text.len() as u64);
    Ok(Chunk { start: Position::at(0), end, data: ChunkData::Lines(Bytes::from(text)) })
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> =
        columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// Rows and seconds of the fastest round.
fn best(
    mut round: impl FnMut() -> Result<usize, Box<dyn Error>>,
) -> Result<(usize, f64), Box<dyn Error>> {
    let mut best = (0, f64::INFINITY);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let rows = round()?;
        best = (rows, best.1.min(start.elapsed().as_secs_f64()));
    }
    Ok(best)
}

fn ours(
    chunks: &[Chunk],
    schema: &SchemaRef,
    options: JsonOptions,
) -> Result<(usize, f64), Box<dyn Error>> {
    let decoder = JsonDecoder::new(Arc::clone(schema), options)
        .map_err(|faults| faults.first().map_or_else(String::new, ToString::to_string))?;
    best(|| {
        let mut rows = 0;
        for chunk in chunks {
            let decoded = decoder.decode(chunk)?;
            rows += decoded.rows.num_rows();
            if let Some(reject) = decoded.rejects.first() {
                return Err(reject.message.clone().into());
            }
        }
        Ok(rows)
    })
}

fn arrow(chunks: &[Chunk], schema: &SchemaRef) -> Result<(usize, f64), Box<dyn Error>> {
    best(|| {
        let mut rows = 0;
        for chunk in chunks {
            let ChunkData::Lines(bytes) = &chunk.data else { continue };
            let builder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(8192);
            for batch in builder.build(&bytes[..])? {
                rows += batch?.num_rows();
            }
        }
        Ok(rows)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let chunks: Vec<Chunk> = (0..CHUNKS).map(chunk).collect::<Result<_, _>>()?;
    let total: u64 = chunks.iter().map(|chunk| chunk.end.offset).sum();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let all = [
        ("customer_id", DataType::Utf8),
        ("ts", time),
        ("price", DataType::Float64),
        ("event_type", DataType::Utf8),
        ("product_id", DataType::Utf8),
        ("quantity", DataType::Int64),
        ("event_id", DataType::Utf8),
        ("url", DataType::Utf8),
    ];
    let mut out = std::io::stdout();
    writeln!(out, "columns  decoder       M documents/s  MB/s  ratio")?;
    for columns in [3, 5, 8] {
        let schema = schema(&all[..columns]);
        let (rows, base) = arrow(&chunks, &schema)?;
        let flat = ours(&chunks, &schema, JsonOptions { envelope: false })?;
        let envelope = ours(&chunks, &schema, JsonOptions { envelope: true })?;
        for (name, (found, seconds)) in
            [("arrow-json", (rows, base)), ("postrider", flat), ("  envelope", envelope)]
        {
            assert_eq!(found, rows, "{name} lost rows");
            let million = rows as f64 / seconds / 1e6;
            let megabytes = total as f64 / seconds / 1e6;
            let ratio = base / seconds;
            writeln!(
                out,
                "{columns:>7}  {name:<12}  {million:>13.2}  {megabytes:>4.0}  {ratio:>5.2}"
            )?;
        }
    }
    let (bytes, seconds) = read_file(&chunks)?;
    writeln!(out, "reading the file alone: {:.0} MB/s", bytes as f64 / seconds / 1e6)?;
    writeln!(out, "{} bytes a document", total / u64::try_from(arrow_rows(&chunks)?)?)?;
    Ok(())
}

/// A clock for a source that needs none.
#[derive(Debug)]
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> ClockTime {
        ClockTime(0)
    }

    fn sleep_until(&self, _: ClockTime) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

/// Bytes and seconds of the `single_file` source on a file in the page cache.
fn read_file(chunks: &[Chunk]) -> Result<(usize, f64), Box<dyn Error>> {
    let mut file = tempfile::NamedTempFile::new()?;
    for chunk in chunks {
        if let ChunkData::Lines(bytes) = &chunk.data {
            file.write_all(bytes)?;
        }
    }
    let path =
        TableOption { value: OptionValue::Text(file.path().display().to_string()), range: 0..0 };
    let options = TableOptions::new("events", 0..0, [("path".to_owned(), path)].into());
    let spec = SourceSpec {
        options,
        format: Format::Json,
        json: postrider_core::JsonForm::default(),
        schema: schema(&[("ts", DataType::Utf8)]),
        base_dir: "/".as_ref(),
        env: &|_| None,
        clock: Arc::new(NoClock),
    };
    let mut source = open_source("single_file", spec)
        .map_err(|faults| faults.first().map_or_else(String::new, ToString::to_string))?
        .source;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    best(|| {
        runtime.block_on(async {
            source.seek(None).await?;
            let mut bytes = 0;
            while let Polled::Chunk(chunk) = source.poll(None).await? {
                if let ChunkData::Lines(lines) = &chunk.data {
                    bytes += lines.len();
                }
            }
            Ok(bytes)
        })
    })
}

fn arrow_rows(chunks: &[Chunk]) -> Result<usize, Box<dyn Error>> {
    let mut rows = 0;
    for chunk in chunks {
        let ChunkData::Lines(bytes) = &chunk.data else { continue };
        rows += bytes.iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(rows)
}
