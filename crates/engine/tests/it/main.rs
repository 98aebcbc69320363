//! The engine seen from outside: SQL and rows in, rows out.

mod harness;
mod lifecycle;
mod windows;
