//! Programs in, plans or diagnostics out.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod facts;
mod guard_rails;
