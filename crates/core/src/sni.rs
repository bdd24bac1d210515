//! Which of a server's chains answer to a name (RFC 6066 section 3, RFC 9525 section 6.3).

use std::collections::HashMap;

/// The DNS names of several chains, looked up by the name in ClientHello.
#[derive(Clone, Debug, Default)]
pub struct NameTable {
    exact: HashMap<String, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    /// The first chain, and those with just its names (one per key type, usually).
    fallback: Vec<usize>,
}

impl NameTable {
    /// A table of chains, each given by the DNS names its leaf is valid for, in the order of
    /// preference.
    pub fn new<Names, Name>(chains: impl IntoIterator<Item = Names>) -> Self
    where
        Names: IntoIterator<Item = Name>,
        Name: AsRef<str>,
    {
        let mut table = Self::default();
        let mut first: Option<Vec<String>> = None;
        for (index, names) in chains.into_iter().enumerate() {
            let mut names: Vec<String> = names
                .into_iter()
                .map(|name| name.as_ref().to_ascii_lowercase())
                .collect();
            names.sort_unstable();
            names.dedup();
            for name in &names {
                let (map, key) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.wildcard, parent),
                    None => (&mut table.exact, name.as_str()),
                };
                map.entry(key.to_owned()).or_default().push(index);
            }
            if *first.get_or_insert_with(|| names.clone()) == names {
                table.fallback.push(index);
            }
        }
        table
    }

    /// The chains that answer to `name`, best first: those with the very name, else those with a
    /// wildcard for it, else (and without a name) the first chain and its twins. Never empty in a
    /// table that is not.
    #[must_use]
    pub fn candidates(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name else {
            return &self.fallback;
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.exact
            .get(&name)
            .or_else(|| self.wildcard.get(name.split_once('.')?.1))
            .unwrap_or(&self.fallback)
    }
}

impl NameTable {
    /// All that [`Self::candidates`] can give.
    pub fn choices(&self) -> impl Iterator<Item = &[usize]> {
        let named = self.exact.values().chain(self.wildcard.values());
        named.chain([&self.fallback]).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_beats_wildcard_beats_the_first_chain() {
        let table = NameTable::new([
            vec!["default.example"],
            vec!["*.example.org", "Example.ORG"],
            vec!["www.example.org"],
            vec!["www.example.org", "other.example"],
            vec!["default.example"],
        ]);
        for (name, expected) in [
            (Some("www.example.org"), &[2, 3][..]),
            (Some("WWW.example.org."), &[2, 3]),
            (Some("mail.example.org"), &[1]),
            (Some("example.org"), &[1]),
            (Some("a.b.example.org"), &[0, 4]),
            (Some("unknown"), &[0, 4]),
            (None, &[0, 4]),
        ] {
            assert_eq!(table.candidates(name), expected, "{name:?}");
        }
    }
}
