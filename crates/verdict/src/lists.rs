//! CRLs that were given: what they say, and until when.

use polytls_core::Error;
use polytls_core::pki_types::CertificateRevocationListDer;
use polytls_x509::{RevocationList, Summary, revocation_list};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use crate::errors::words;

/// All lists of one policy.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// As path building takes them. Of two that speak of a certificate it asks the first: so the newest
    /// come first.
    parsed: Vec<CertRevocationList<'static>>,
    /// What they say of themselves, in the same order.
    facts: Vec<RevocationList>,
}

impl Lists {
    pub(crate) fn read(lists: &[CertificateRevocationListDer<'_>]) -> Result<Self, Error> {
        let wrong = |index: usize, why: String| {
            Error::configuration("trust_store", format!("CRL {index} cannot be used: {why}"))
        };
        let mut read = Vec::with_capacity(lists.len());
        for (index, der) in lists.iter().enumerate() {
            let facts = revocation_list(der).map_err(|error| wrong(index, error.to_string()))?;
            let parsed = OwnedCertRevocationList::from_der(der)
                .map_err(|error| wrong(index, words(&error).to_owned()))?;
            read.push((facts, CertRevocationList::from(parsed)));
        }
        read.sort_by_key(|(facts, _)| std::cmp::Reverse(facts.this_update));
        let (facts, parsed) = read.into_iter().unzip();
        Ok(Self { parsed, facts })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.parsed.is_empty()
    }

    pub(crate) fn parsed(&self) -> Vec<&CertRevocationList<'static>> {
        self.parsed.iter().collect()
    }

    /// Whether a list of the certificate's issuer names it. Its signature and its age are not looked at,
    /// and its issuer's key may not even be known here: whoever gave the list wants that certificate refused.
    pub(crate) fn name(&self, certificate: &Summary) -> bool {
        let lists = self.facts.iter().zip(&self.parsed);
        let mut theirs = lists.filter(|(facts, _)| facts.issuer_der == certificate.issuer_der);
        theirs.any(|(_, list)| !matches!(list.find_serial(&certificate.serial_number), Ok(None)))
    }

    /// The last second of the first that ends of those that are in force and speak of certificates of
    /// `issuer`, a Name in DER. From nextUpdate on a list is not in force (RFC 5280 section 6.3.3).
    pub(crate) fn end(&self, issuer: &[u8], now: i64) -> Option<i64> {
        let theirs = self.facts.iter().filter(|list| list.issuer_der == issuer);
        let ends = theirs.filter_map(|list| Some(list.next_update?.saturating_sub(1)));
        ends.filter(|end| *end >= now).min()
    }
}
