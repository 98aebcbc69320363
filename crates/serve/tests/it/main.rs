//! The collector and the mailbox page over real connections on loopback.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mailbox;
#[cfg(test)]
mod options;
#[cfg(test)]
mod shutdown;
