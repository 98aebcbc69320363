//! What fails on command, for tests of this crate and of those above it.

pub use crate::{
    checkpoint::faulty::{Fault, FaultyStore, Operation, Pause},
    files::page_cache::{CachedFiles, SECTOR},
};
