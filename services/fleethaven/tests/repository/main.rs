//! What the repository says of itself, held against the code: the layers of its crates, and its pages.

mod layers;
mod pages;
