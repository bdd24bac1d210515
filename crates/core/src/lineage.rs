//! Sessions that are named: what one connection hands out for others to resume.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The session of a connection, for others to resume: the tickets that it received, and those of all
/// connections that resume it, in a form that only its library knows.
#[derive(Clone)]
pub struct Lineage(pub Arc<dyn Any + Send + Sync>);

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Lineage {}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lineage")
    }
}

/// A [`Lineage`] that has passed the verdict for one name, and so may be offered to the server of that
/// name. Only [`crate::ClientEngine::admit`] makes one; what is in it, only its library knows.
#[derive(Clone)]
pub struct Offer(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer")
    }
}
