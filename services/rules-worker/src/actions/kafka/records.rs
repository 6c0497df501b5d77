//! Record batches (magic 2): what a produce request carries for a partition, with its checksum, compressed or not.

use std::io::{self, Write};

use bytes::{BufMut, Bytes};
use flate2::write::GzEncoder;

use super::wire::{length, put_varint};

/// How the records of a batch are compressed; the number is the one on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

/// One message for Kafka.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) key: Option<String>,
    pub(super) value: Bytes,
    pub(super) headers: Vec<(String, String)>,
    /// Milliseconds since 1970.
    pub(super) at: i64,
}

impl Record {
    /// About how many bytes it takes in a batch.
    pub(super) fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.len() + 10).sum();
        self.value.len() + self.key.as_ref().map_or(0, String::len) + headers + 32
    }
}

/// By which a broker tells a batch that it has already from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    /// That of the first record.
    pub(super) sequence: i32,
}

const UNSTAMPED: Stamp = Stamp { producer: -1, epoch: -1, sequence: -1 };
const MAGIC: u8 = 2;
/// From the checksum's end to the records.
const HEAD: usize = 40;

/// A batch of the records, in their order.
///
/// # Errors
/// Those of a compressor, which none that is used here has for bytes in memory.
pub(super) fn batch(
    records: &[Record],
    compression: Compression,
    stamp: Option<Stamp>,
) -> io::Result<Vec<u8>> {
    let stamp = stamp.unwrap_or(UNSTAMPED);
    let base = records.first().map_or(0, |record| record.at);
    let latest = records.iter().map(|record| record.at).max().unwrap_or(base);
    let mut plain = Vec::with_capacity(records.iter().map(Record::weight).sum());
    for (offset, record) in (0..).zip(records) {
        put_record(&mut plain, record, offset, base);
    }
    let content = compressed(plain, compression)?;

    let mut checked = Vec::with_capacity(HEAD + content.len());
    checked.put_i16(compression as i16);
    checked.put_i32(length(records) - 1);
    checked.put_i64(base);
    checked.put_i64(latest);
    checked.put_i64(stamp.producer);
    checked.put_i16(stamp.epoch);
    checked.put_i32(stamp.sequence);
    checked.put_i32(length(records));
    checked.extend_from_slice(&content);

    let mut out = Vec::with_capacity(checked.len() + 21);
    out.put_i64(0);
    // The epoch of the leader, the format and the checksum count as well.
    out.put_i32(length(&checked).saturating_add(9));
    out.put_i32(-1);
    out.put_u8(MAGIC);
    out.put_u32(crc_fast::crc32_iscsi(&checked));
    out.extend_from_slice(&checked);
    Ok(out)
}

fn put_record(out: &mut Vec<u8>, record: &Record, offset: i64, base: i64) {
    let mut content = Vec::with_capacity(record.weight());
    content.push(0);
    put_varint(&mut content, record.at - base);
    put_varint(&mut content, offset);
    match &record.key {
        Some(key) => put_sized(&mut content, key.as_bytes()),
        None => put_varint(&mut content, -1),
    }
    put_sized(&mut content, &record.value);
    put_varint(&mut content, length(&record.headers).into());
    for (key, value) in &record.headers {
        put_sized(&mut content, key.as_bytes());
        put_sized(&mut content, value.as_bytes());
    }
    put_sized(out, &content);
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, length(bytes).into());
    out.extend_from_slice(bytes);
}

fn compressed(plain: Vec<u8>, compression: Compression) -> io::Result<Vec<u8>> {
    Ok(match compression {
        Compression::None => plain,
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&plain)?;
            encoder.finish()?
        }
        Compression::Snappy => snappy(&plain)?,
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(&plain)?;
            encoder.finish().map_err(io::Error::other)?
        }
        Compression::Zstd => {
            ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest)
        }
    })
}

/// Snappy as Java's clients frame it, which all others read as well.
fn snappy(plain: &[u8]) -> io::Result<Vec<u8>> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    const CHUNK: usize = 32 << 10;
    let mut out = MAGIC.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for chunk in plain.chunks(CHUNK) {
        let chunk = encoder.compress_vec(chunk).map_err(io::Error::other)?;
        out.put_i32(length(&chunk));
        out.extend_from_slice(&chunk);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&str>, value: &'static str, at: i64) -> Record {
        Record {
            key: key.map(str::to_owned),
            value: Bytes::from_static(value.as_bytes()),
            headers: Vec::new(),
            at,
        }
    }

    #[test]
    fn a_batch_has_the_layout_of_the_protocol() {
        let mut first = record(Some("k"), "v", 1000);
        first.headers.push(("h".to_owned(), "x".to_owned()));
        let stamp = Stamp { producer: 7, epoch: 1, sequence: 5 };
        let batch = batch(&[first, record(None, "", 1002)], Compression::None, Some(stamp)).unwrap();
        let (head, rest) = batch.split_at(21);
        assert_eq!(head[..8], [0; 8], "the base offset");
        assert_eq!(head[8..12], u32::try_from(batch.len() - 12).unwrap().to_be_bytes());
        assert_eq!(head[12..17], [0xff, 0xff, 0xff, 0xff, 2], "no leader epoch, magic 2");
        assert_eq!(head[17..], crc_fast::crc32_iscsi(rest).to_be_bytes());
        let (fields, records) = rest.split_at(HEAD);
        assert_eq!(fields[..2], [0, 0], "not compressed");
        assert_eq!(fields[2..6], [0, 0, 0, 1], "the last offset");
        assert_eq!(fields[6..22], [1000i64.to_be_bytes(), 1002i64.to_be_bytes()].concat());
        assert_eq!(fields[22..36], [&7i64.to_be_bytes()[..], &[0, 1], &[0, 0, 0, 5]].concat());
        assert_eq!(fields[36..], [0, 0, 0, 2]);
        let first = [24, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 2, b'x'];
        let second = [12, 0, 4, 2, 1, 0, 0];
        assert_eq!(records, [&first[..], &second].concat());
    }

    #[test]
    fn compressed_records_can_be_unpacked() {
        let value = "a value that is worth it ".repeat(4000);
        let plain = value.as_bytes().to_vec();
        let packed = |compression| compressed(plain.clone(), compression).unwrap();
        let mut unpacked = Vec::new();
        io::copy(&mut flate2::read::GzDecoder::new(packed(Compression::Gzip).as_slice()), &mut unpacked)
            .unwrap();
        assert_eq!(unpacked, plain);
        let mut unpacked = Vec::new();
        let lz4 = packed(Compression::Lz4);
        io::copy(&mut lz4_flex::frame::FrameDecoder::new(lz4.as_slice()), &mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        let snappy = packed(Compression::Snappy);
        assert!(snappy.starts_with(b"\x82SNAPPY\0"));
        let (mut rest, mut unpacked) = (&snappy[16..], Vec::new());
        while let Some((size, more)) = rest.split_first_chunk::<4>() {
            let (chunk, more) = more.split_at(usize::try_from(u32::from_be_bytes(*size)).unwrap());
            unpacked.extend(snap::raw::Decoder::new().decompress_vec(chunk).unwrap());
            rest = more;
        }
        assert_eq!(unpacked, plain);
        let zstd = packed(Compression::Zstd);
        assert!(zstd.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) && zstd.len() < plain.len());
    }
}
