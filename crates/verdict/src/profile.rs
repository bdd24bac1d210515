//! What the profile of RFC 5280 forbids and path building takes. It is asked of the certificates of paths
//! only: leaves that are trusted themselves may be what they are.

use polytls_core::VerificationFailure as F;
use polytls_x509::{Constraints, PathFacts};

use crate::judge::No;

/// Checks the leaf of a path.
pub(crate) fn check_leaf(facts: &PathFacts) -> Result<(), No> {
    // Whoever may sign certificates is an authority, and a leaf is none: sections 4.2.1.9 and 4.2.1.10.
    if facts.claims_to_issue {
        let why = "its key usage includes keyCertSign, but it is not a CA certificate";
        return Err(No::new(F::InvalidPurpose, why.to_owned()));
    }
    if facts.constraints != Constraints::None {
        let why = "it has name constraints, but is not a CA certificate";
        return Err(No::new(F::InvalidPurpose, why.to_owned()));
    }
    // Section 4.2.1.6.
    if facts.names_not_critical {
        let why = "it has an empty subject, but its subject alternative name is not critical";
        return Err(No::new(F::BadEncoding, why.to_owned()));
    }
    Ok(())
}

/// Checks an authority between leaf and anchor.
pub(crate) fn check_authority(facts: &PathFacts) -> Result<(), webpki::Error> {
    // Sections 4.2.1.10 and 4.2.1.11. `explain` finds which.
    if facts.constraints == Constraints::Empty || facts.policy_constraints == Some(false) {
        return Err(webpki::Error::ExtensionValueInvalid);
    }
    Ok(())
}
