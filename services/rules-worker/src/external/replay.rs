//! Random bytes that an evaluation draws again when it is repeated.

use fleethaven_rulesql::Random;
use parking_lot::Mutex;

/// Bytes in the order in which they were drawn first.
pub(crate) struct Replay {
    fresh: fn() -> [u8; 16],
    drawn: Mutex<(Vec<[u8; 16]>, usize)>,
}

/// Draws that are remembered: a statement that needs more gets fresh ones each time.
const REMEMBERED: usize = 1024;

impl Replay {
    /// Nothing drawn yet.
    pub(crate) fn of(fresh: fn() -> [u8; 16]) -> Self {
        Self { fresh, drawn: Mutex::default() }
    }

    /// Begins again with what was drawn first.
    pub(crate) fn rewind(&self) {
        self.drawn.lock().1 = 0;
    }
}

impl Random for Replay {
    fn bytes(&self) -> [u8; 16] {
        let mut drawn = self.drawn.lock();
        let (bytes, next) = &mut *drawn;
        if let Some(again) = bytes.get(*next) {
            *next += 1;
            return *again;
        }
        let fresh = (self.fresh)();
        if bytes.len() < REMEMBERED {
            bytes.push(fresh);
            *next += 1;
        }
        fresh
    }
}
