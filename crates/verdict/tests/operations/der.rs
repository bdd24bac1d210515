//! DER as a tree, so that what is edited keeps right lengths, and reaches what is behind them.

use polytls_conformance::Input;

const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 4;
/// Nothing real is nested deeper; what is, stays as it is.
const DEPTH: usize = 16;

#[derive(Clone, Debug)]
struct Node {
    tag: u8,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Nodes(Vec<Node>),
}

/// Changes one node of `der`, which stays as it is where it cannot be read.
pub(crate) fn edit(der: &mut Vec<u8>, input: &mut Input<'_>) -> Option<()> {
    let Some(mut nodes) = parse(der, 0).filter(|nodes| !nodes.is_empty()) else {
        return input.edit(der);
    };
    let count = nodes.iter().map(Node::count).sum::<usize>();
    let grafted = find(&mut nodes, &mut (input.number()? % count))?.clone();
    let at = input.number()? % count;
    let kind = input.byte()? % 6;
    if kind < 2 {
        // What has brothers: deleted, or put there twice.
        change_siblings(&mut nodes, &mut { at }, kind == 0);
    } else {
        let node = find(&mut nodes, &mut { at })?;
        match (kind, &mut node.content) {
            (2, _) => node.tag = input.byte()?,
            (3, _) => *node = grafted,
            (4, content) => *content = Content::Bytes(input.bytes()?.to_vec()),
            (_, Content::Bytes(bytes)) => input.edit(bytes)?,
            (_, Content::Nodes(children)) => children.push(grafted),
        }
    }
    *der = nodes.iter().flat_map(Node::encode).collect();
    Some(())
}

impl Node {
    fn count(&self) -> usize {
        match &self.content {
            Content::Bytes(_) => 1,
            Content::Nodes(nodes) => 1 + nodes.iter().map(Self::count).sum::<usize>(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let content = match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Nodes(nodes) => nodes.iter().flat_map(Self::encode).collect(),
        };
        let mut der = vec![self.tag];
        let length = content.len().to_be_bytes();
        let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
        match length {
            [] => der.push(0),
            [short @ ..=0x7f] => der.push(*short),
            long => {
                der.push(0x80 | u8::try_from(long.len()).expect("a length of 8 bytes at most"));
                der.extend(long);
            }
        }
        der.extend(content);
        der
    }
}

/// The node of this index, parents before children.
fn find<'a>(nodes: &'a mut [Node], index: &mut usize) -> Option<&'a mut Node> {
    for node in nodes {
        let Some(inside) = index.checked_sub(1) else {
            return Some(node);
        };
        let count = node.count();
        if *index < count {
            *index = inside;
            return match &mut node.content {
                Content::Nodes(children) => find(children, index),
                Content::Bytes(_) => None,
            };
        }
        *index -= count;
    }
    None
}

fn change_siblings(nodes: &mut Vec<Node>, index: &mut usize, is_removed: bool) -> bool {
    for at in 0..nodes.len() {
        if *index == 0 {
            if is_removed {
                nodes.remove(at);
            } else {
                nodes.insert(at, nodes[at].clone());
            }
            return true;
        }
        *index -= 1;
        if let Content::Nodes(children) = &mut nodes[at].content
            && change_siblings(children, index, is_removed)
        {
            return true;
        }
    }
    false
}

/// All of `der` as nodes; extensions are read inside their OCTET STRING.
fn parse(mut der: &[u8], depth: usize) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    while let [tag, first, rest @ ..] = der {
        if depth > DEPTH || tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match first {
            ..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(length)?;
        let inside = (tag & CONSTRUCTED != 0 || *tag == OCTET_STRING)
            .then(|| parse(content, depth + 1))
            .flatten()
            .filter(|nodes| !nodes.is_empty());
        nodes.push(Node {
            tag: *tag,
            content: inside.map_or_else(|| Content::Bytes(content.to_vec()), Content::Nodes),
        });
        der = behind;
    }
    der.is_empty().then_some(nodes)
}
