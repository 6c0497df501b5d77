//! What a stream's two ends call by numbers once it was sent: publishers, and lists of receivers.
//!
//! The sender numbers in the order of first use. At its bound it forgets everything and begins again at 0; a definition under 0
//! tells the receiver to do the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::pack::Error;

/// The sender's side. It keeps what it has numbered, so that no other value can stand at the same address.
#[derive(Debug)]
pub(super) struct Numbered<T: ?Sized> {
    by_address: FxHashMap<usize, u32>,
    kept: Vec<Arc<T>>,
    weight: usize,
    bounds: Bounds,
}

/// How many values are numbered, and how much they may weigh together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) count: usize,
    pub(super) weight: usize,
}

impl<T: ?Sized> Numbered<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { by_address: FxHashMap::default(), kept: Vec::new(), weight: 0, bounds }
    }

    /// The number of a value, and whether the other end has to be told what it means.
    pub(super) fn number(&mut self, value: &Arc<T>, weight: usize) -> (u32, bool) {
        let address = Arc::as_ptr(value).cast::<()>() as usize;
        if let Some(number) = self.by_address.get(&address) {
            return (*number, false);
        }
        if self.kept.len() >= self.bounds.count || self.weight >= self.bounds.weight {
            self.by_address.clear();
            self.kept.clear();
            self.weight = 0;
        }
        let number = self.kept.len() as u32;
        self.by_address.insert(address, number);
        self.kept.push(value.clone());
        self.weight += weight;
        (number, true)
    }
}

/// The receiver's side.
#[derive(Debug)]
pub(super) struct Known<T> {
    values: Vec<T>,
    most: usize,
    what: &'static str,
}

impl<T: Clone> Known<T> {
    pub(super) fn new(bounds: Bounds, what: &'static str) -> Self {
        Self { values: Vec::new(), most: bounds.count, what }
    }

    pub(super) fn define(&mut self, number: u32, value: T) -> Result<(), Error> {
        if number == 0 {
            self.values.clear();
        }
        if number as usize != self.values.len() || self.values.len() >= self.most {
            return Err(Error::Value(self.what));
        }
        self.values.push(value);
        Ok(())
    }

    pub(super) fn get(&self, number: u32) -> Result<T, Error> {
        self.values.get(number as usize).cloned().ok_or(Error::Value(self.what))
    }
}
