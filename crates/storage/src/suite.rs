//! The behaviour every store must show.
