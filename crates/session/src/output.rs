//! Bytes on their way to the client.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Payloads from this size on are shared with other receivers instead of copied.
const SHARE_FROM: usize = 4096;
/// A drained buffer above this capacity is given back.
const KEEP_CAPACITY: usize = 1024;
/// Unwritten answers above this many bytes: a client that asks without reading is not read either.
const ANSWERS_BOUND: usize = 64 << 10;

/// The output of one connection: small packets are gathered in one buffer, large payloads are shared segments.
#[derive(Debug, Default)]
pub struct Output {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
    shared: usize,
    /// Bytes written to the client so far.
    written: u64,
    /// Bytes of answers since the one that ends at `answers_from`; forgotten once that one is written.
    answers: usize,
    answers_from: u64,
}

impl Output {
    /// The buffer that packets are written into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends a payload, shared when it is large and copied when that is cheaper.
    pub fn put_payload(&mut self, payload: &Bytes) {
        if payload.len() < SHARE_FROM {
            self.tail.extend_from_slice(payload);
            return;
        }
        if !self.tail.is_empty() {
            let head = self.tail.split().freeze();
            self.push(head);
        }
        self.push(payload.clone());
    }

    fn push(&mut self, segment: Bytes) {
        self.shared += segment.len();
        self.segments.push_back(segment);
    }

    /// The last `bytes` put here answer something the client sent.
    pub(crate) fn count_answer(&mut self, bytes: usize) {
        if self.answers == 0 {
            self.answers_from = self.written + self.len() as u64;
        }
        self.answers += bytes;
    }

    /// Whether the client leaves too many answers unread, so that no more should be provoked.
    pub(crate) fn is_flooded(&self) -> bool {
        self.answers > ANSWERS_BOUND
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.shared + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives memory back once everything is written, so that an idle connection holds none.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.tail.capacity() > KEEP_CAPACITY {
            self.tail = BytesMut::new();
            self.segments = VecDeque::new();
        }
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.tail, |segment| segment)
    }

    fn advance(&mut self, mut count: usize) {
        self.written += count as u64;
        if self.written >= self.answers_from {
            self.answers = 0;
        }
        while count > 0 {
            let Some(front) = self.segments.front_mut() else { break };
            let step = count.min(front.len());
            front.advance(step);
            self.shared -= step;
            count -= step;
            if front.is_empty() {
                self.segments.pop_front();
            }
        }
        self.tail.advance(count);
        if self.tail.is_empty() {
            // Moves the cursor of an emptied buffer back, so that its capacity is used again.
            self.tail.clear();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.segments.iter().map(|segment| &segment[..]).chain(std::iter::once(&self.tail[..]));
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_small_and_large_pieces() {
        let mut output = Output::default();
        let large = Bytes::from(vec![b'x'; SHARE_FROM]);
        output.buffer().extend_from_slice(b"ab");
        output.put_payload(&large);
        output.put_payload(&Bytes::from_static(b"cd"));
        assert_eq!(output.remaining(), SHARE_FROM + 4);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(output.chunks_vectored(&mut slices), 3);
        output.advance(2 + SHARE_FROM + 1);
        assert_eq!(output.chunk(), b"d");
        output.advance(1);
        assert!(output.is_empty());
    }
}
