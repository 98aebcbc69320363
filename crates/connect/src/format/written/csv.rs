//! Rows to CSV (RFC 4180), in the forms that the decoder reads back.
//!
//! A field is quoted if it holds a comma, a quote or a line break, or if it is an empty text: NULL is an empty field without
//! quotes. Times are RFC 3339 in UTC.

use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, cast::AsArray, types::TimestampNanosecondType,
};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, SchemaRef, TimeUnit};
use postrider_core::{Diagnostic, format_time};

use crate::format::csv;

/// Checks the columns of a table that is written.
///
/// # Errors
/// One for each that a text can't hold.
pub(crate) fn check(schema: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    let cast_it = |fault: Diagnostic| Diagnostic {
        hint: Some("cast it in the query, such as CAST(x AS TEXT)".to_owned()),
        ..fault
    };
    csv::check(schema).map_err(|faults| faults.into_iter().map(cast_it).collect())
}

/// Writes rows of the same columns.
#[derive(Debug)]
pub(crate) struct CsvEncoder {
    /// The first line.
    header: Vec<u8>,
}

impl CsvEncoder {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let mut header = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            if index > 0 {
                header.push(b',');
            }
            append(field.name(), &mut header);
        }
        header.push(b'\n');
        Self { header }
    }

    pub(crate) fn header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }

    pub(crate) fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let texts = rows.columns().iter().map(texts).collect::<Result<Vec<_>, _>>()?;
        for row in 0..rows.num_rows() {
            for (index, column) in texts.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if column.is_valid(row) {
                    append(column.value(row), out);
                }
            }
            // A line without anything on it is no record.
            if let [only] = texts.as_slice()
                && only.is_null(row)
            {
                out.extend_from_slice(b"\"\"");
            }
            out.push(b'\n');
        }
        Ok(())
    }
}

/// A column as texts.
fn texts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let texts = match column.data_type() {
        DataType::Timestamp(_, zone) => {
            let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
            let times = cast(column, &nanoseconds)?;
            let times = times.as_primitive::<TimestampNanosecondType>();
            return Ok(times.iter().map(|time| time.map(format_time)).collect());
        }
        _ => cast(column, &DataType::Utf8)?,
    };
    Ok(texts.as_string::<i32>().clone())
}

fn append(text: &str, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.as_bytes().iter().any(special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(b"\"\"");
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMillisecondArray,
    };

    use super::CsvEncoder;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let texts = ["a", "", "b,c", "say \"hi\"", "two\nlines"].map(Some);
        let texts = StringArray::from_iter(texts.into_iter().chain([None]));
        let numbers = Int64Array::from(vec![Some(1), None, Some(-3), Some(4), Some(5), None]);
        let parts = [1.5, 1e300, -0.0, 0.1, 2.0, 3.0];
        let times =
            TimestampMillisecondArray::from(vec![Some(0), Some(1_500), None, None, None, None]);
        let money = Decimal128Array::from(vec![Some(1990), None, None, None, None, Some(-5)]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(texts)),
            ("a \"number\"", Arc::new(numbers)),
            ("part", Arc::new(Float64Array::from(parts.to_vec()))),
            ("at", Arc::new(times.with_timezone("UTC"))),
            ("money", Arc::new(money.with_precision_and_scale(10, 2).unwrap())),
            ("day", Arc::new(Date32Array::from(vec![Some(20_000), None, None, None, None, None]))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let encoder = CsvEncoder::new(&rows.schema());
        let mut out = Vec::new();
        encoder.header(&mut out);
        encoder.encode(&rows, &mut out).unwrap();
        let wanted = "text,\"a \"\"number\"\"\",part,at,money,day\n\
            a,1,1.5,1970-01-01T00:00:00Z,19.90,2024-10-04\n\
            \"\",,1e300,1970-01-01T00:00:01.500Z,,\n\
            \"b,c\",-3,-0.0,,,\n\
            \"say \"\"hi\"\"\",4,0.1,,,\n\
            \"two\nlines\",5,2.0,,,\n\
            ,,3.0,,-0.05,\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
