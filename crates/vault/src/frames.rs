//! Sealed files: written once, read from end to end.
//!
//! [`MAGIC`], then where the file's key comes from (number of the data key, salt, count), then frames: the length of what is in it
//! (u32, the upper bit set in the last one), the sealed bytes and the tag. The key is the file's own, a frame's nonce is its place
//! in the file, and its length with the mark of the last one is bound to it: frames cannot change places, and a file that was
//! cut short, or goes on, is no file.

use std::io::{self, Read, Write};
use std::sync::Arc;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::error::Unspecified;

use crate::vault::{Error, PLACE, Place, TAG, Use, Vault};

/// What a sealed file begins with.
pub const MAGIC: &[u8; 8] = b"FHSEAL1\n";
/// Bytes of a frame before they are sealed, at most.
const FRAME: usize = 64 << 10;
/// The mark of the last frame in its length.
const LAST: u32 = 1 << 31;

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

fn changed() -> io::Error {
    Error::Changed.into()
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes.iter_mut().skip(NONCE_LEN - 8).zip(index.to_be_bytes()).for_each(|(byte, part)| *byte = part);
    Nonce::assume_unique_for_key(bytes)
}

/// Writes a sealed file. What was written is whole only after [`finish`](Self::finish).
pub struct Sealer<W> {
    out: W,
    key: Arc<LessSafeKey>,
    index: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn new(vault: &Vault, mut out: W) -> io::Result<Self> {
        let place = vault.next();
        let key = vault.key(Use::File, place)?;
        out.write_all(MAGIC)?;
        out.write_all(&place.encode())?;
        Ok(Self { out, key, index: 0, buffer: Vec::with_capacity(FRAME + TAG) })
    }

    /// Ends the file; what it was written to.
    ///
    /// # Errors
    /// When that cannot be written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.frame(LAST)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn frame(&mut self, mark: u32) -> io::Result<()> {
        let length = u32::try_from(self.buffer.len()).map_err(|_| changed())? | mark;
        let head = length.to_be_bytes();
        let sealed = self.key.seal_in_place_append_tag(nonce(self.index), Aad::from(head), &mut self.buffer);
        sealed.map_err(|Unspecified| Error::Library)?;
        self.out.write_all(&head)?;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.index += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == FRAME {
            self.frame(0)?;
        }
        let (taken, _) = bytes.split_at_checked(FRAME - self.buffer.len()).unwrap_or((bytes, &[]));
        self.buffer.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// Nothing of a frame is written before it is full.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a sealed file. Each frame is checked before anything of it is told, and that the file ends where it should before its end
/// is told.
pub struct Opener<R> {
    source: R,
    key: Arc<LessSafeKey>,
    index: u64,
    frame: Vec<u8>,
    told: usize,
    last: bool,
}

impl<R: Read> Opener<R> {
    /// Opens a file of which [`MAGIC`] was read already.
    ///
    /// # Errors
    /// When it cannot be read, or was sealed under another data key.
    pub fn after_magic(vault: &Vault, mut source: R) -> io::Result<Self> {
        let mut place = [0; PLACE];
        source.read_exact(&mut place).map_err(cut_short)?;
        let key = vault.key(Use::File, Place::decode(&place).ok_or_else(changed)?)?;
        Ok(Self { source, key, index: 0, frame: Vec::new(), told: 0, last: false })
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let mut head = [0; 4];
        self.source.read_exact(&mut head).map_err(cut_short)?;
        let length = u32::from_be_bytes(head);
        let bytes = usize::try_from(length & !LAST).map_err(|_| changed())?;
        if bytes > FRAME {
            return Err(changed());
        }
        self.frame.resize(bytes + TAG, 0);
        self.source.read_exact(&mut self.frame).map_err(cut_short)?;
        let opened = self.key.open_in_place(nonce(self.index), Aad::from(head), &mut self.frame);
        opened.map_err(|Unspecified| changed())?;
        self.frame.truncate(bytes);
        (self.index, self.told, self.last) = (self.index + 1, 0, length & LAST != 0);
        if self.last && self.source.read(&mut [0])? != 0 {
            return Err(changed());
        }
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut rest = self.frame.get(self.told..).unwrap_or_default();
            if rest.is_empty() && !self.last {
                self.next_frame()?;
                continue;
            }
            let read = rest.read(bytes)?;
            self.told += read;
            return Ok(read);
        }
    }
}

fn cut_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => changed(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::master::DataKey;

    fn vault() -> Vault {
        Vault::new([(1, DataKey([1; 32]))], [7; 12]).unwrap()
    }

    fn sealed(vault: &Vault, contents: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(vault, Vec::new()).unwrap();
        sealer.write_all(contents).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(vault: &Vault, file: &[u8]) -> io::Result<Vec<u8>> {
        let rest = file.strip_prefix(MAGIC.as_slice()).ok_or_else(changed)?;
        let mut contents = Vec::new();
        Opener::after_magic(vault, rest)?.read_to_end(&mut contents)?;
        Ok(contents)
    }

    #[test]
    fn files_of_any_length_read_back() {
        let vault = vault();
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME + 17] {
            let contents: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let file = sealed(&vault, &contents);
            assert_eq!(opened(&vault, &file).unwrap(), contents, "{length}");
        }
    }

    #[test]
    fn frames_cannot_go_change_places_or_be_added() {
        let vault = vault();
        let file = sealed(&vault, &vec![5; 3 * FRAME]);
        let (head, frames) = file.split_at(MAGIC.len() + PLACE);
        let frames: Vec<_> = frames.chunks(4 + FRAME + TAG).collect();
        assert_eq!(frames.len(), 3);
        let [a, b, c] = frames[..] else { unreachable!() };
        let whole = [head, a, b, c].concat();
        assert!(opened(&vault, &whole).is_ok());
        let other = sealed(&vault, &vec![5; 3 * FRAME]);
        for parts in [vec![a, b], vec![b, a, c], vec![a, c], vec![a, b, c, c], vec![a, b, c, &[0]]] {
            assert!(opened(&vault, &[head, &parts.concat()].concat()).is_err());
        }
        let (other_head, _) = other.split_at(head.len());
        assert!(opened(&vault, &[other_head, a, b, c].concat()).is_err(), "another file's frames");
        let stranger = Vault::new([(1, DataKey([2; 32]))], [7; 12]).unwrap();
        assert!(opened(&stranger, &file).is_err());
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(contents: Vec<u8>, at: proptest::sample::Index, bit in 0..8_u8) {
            let vault = vault();
            let mut file = sealed(&vault, &contents);
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(opened(&vault, &file).is_err());
        }

        #[test]
        fn no_beginning_is_a_file(contents: Vec<u8>, at: proptest::sample::Index) {
            let vault = vault();
            let file = sealed(&vault, &contents);
            prop_assert!(opened(&vault, &file[..at.index(file.len())]).is_err());
        }
    }
}
