//! Parts as bytes: an Arrow IPC stream, perhaps LZ4-compressed; a bitmap of dead rows as a count and its bits.

use arrow::{array::RecordBatch, buffer::BooleanBuffer, error::ArrowError};
use arrow_ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};
use bytes::Bytes;

use crate::limits::STATE_BATCH_ROWS;

/// Encodes the rows of a part.
///
/// # Errors
/// Only for a fault of Postrider's own.
pub(crate) fn encode_rows(batches: &[RecordBatch], compress: bool) -> Result<Bytes, ArrowError> {
    let Some(first) = batches.first() else { return Ok(Bytes::new()) };
    let options = IpcWriteOptions::default()
        .try_with_compression(compress.then_some(CompressionType::LZ4_FRAME))?;
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &first.schema(), options)?;
    for batch in batches {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = STATE_BATCH_ROWS.min(batch.num_rows() - from);
            writer.write(&batch.slice(from, rows))?;
            from += rows;
        }
    }
    writer.finish()?;
    drop(writer);
    Ok(bytes.into())
}

/// Decodes the rows of a part.
///
/// # Errors
/// When the bytes are not what [`encode_rows`] gave.
pub(crate) fn decode_rows(bytes: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    StreamReader::try_new(bytes, None)?.collect()
}

/// Encodes a bitmap.
pub(crate) fn encode_bitmap(bits: &BooleanBuffer) -> Bytes {
    let mut bytes = (bits.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(bits.sliced().as_slice());
    bytes.into()
}

/// Decodes a bitmap; `None` if the bytes are not one.
pub(crate) fn decode_bitmap(bytes: &[u8]) -> Option<BooleanBuffer> {
    let (length, bits) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    (bits.len() == length.div_ceil(8)).then(|| BooleanBuffer::new(bits.to_vec().into(), 0, length))
}

#[cfg(test)]
mod tests {
    use arrow::buffer::BooleanBuffer;

    use super::{decode_bitmap, encode_bitmap};

    #[test]
    fn bitmaps_come_back_and_others_are_refused() {
        let bits = BooleanBuffer::from_iter((0..77).map(|row| row % 3 == 0));
        assert_eq!(decode_bitmap(&encode_bitmap(&bits)), Some(bits.clone()));
        let tail = bits.slice(5, 70);
        assert_eq!(decode_bitmap(&encode_bitmap(&tail)), Some(tail));
        assert_eq!(decode_bitmap(&encode_bitmap(&bits)[..9]), None);
        assert_eq!(decode_bitmap(b"short"), None);
    }
}
