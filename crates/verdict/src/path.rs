//! Paths from a leaf to an anchor, built by webpki.

use polytls_x509::key_use;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::anchors::Anchors;
use crate::judge::{Case, Judge, No};
use crate::leaf::{check_key_use, check_validity, read};

impl Judge {
    pub(crate) fn path(&self, anchors: &Anchors, case: &Case<'_>) -> Result<Vec<Vec<u8>>, No> {
        let leaf = EndEntityCert::try_from(case.leaf)?;
        if anchors.exact.contains(case.leaf) {
            check_validity(&read(case.leaf)?, case.now)?;
            return Ok(vec![case.leaf.to_vec()]);
        }
        let lists: Vec<&CertRevocationList<'_>> = self.revocation_lists.iter().collect();
        // Without lists nothing is asked about revocation; with some, a certificate that none of
        // them speaks of is refused.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let usage = if self.peer_is_server {
            KeyUsage::server_auth()
        } else {
            KeyUsage::client_auth()
        };
        let path = leaf.verify_for_usage(
            self.crypto.algorithms,
            &anchors.roots,
            case.intermediates,
            case.now,
            usage,
            revocation,
            Some(&issuers_may_issue),
        )?;
        check_key_use(case.leaf)?;
        let between = path
            .intermediate_certificates()
            .map(|certificate| certificate.der().to_vec());
        let anchor = anchors.certificate_of(path.anchor());
        Ok(std::iter::once(case.leaf.to_vec())
            .chain(between)
            .chain(anchor.map(|anchor| anchor.to_vec()))
            .collect())
    }
}

/// What webpki leaves out of key usage: authorities whose key must not sign certificates.
fn issuers_may_issue(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for issuer in path.intermediate_certificates() {
        match key_use(&issuer.der()) {
            Ok(usage) if usage.certificates => {}
            Ok(_) => return Err(webpki::Error::EndEntityUsedAsCa),
            Err(_) => return Err(webpki::Error::BadDer),
        }
    }
    Ok(())
}
