//! The heads, MLPs and edges of a model, by number.
//!
//! Senders are the token embedding, what each head writes (without the bias of attention) and what each MLP writes.
//! Receivers are the queries, keys and values of each head, the MLPs and the logits. An edge leads from every sender to
//! every later receiver. Query heads that share keys and values have a copy of them each. Where attention has a norm
//! behind it (Gemma 2 and 3), a head writes what it adds to the sum before that norm, and each receiver reads the norm
//! of the sum of what the heads of a layer write to it, as in the authors' code of EAP-IG (Hanna et al. 2024).

use crate::circuit::Port;
use crate::common::*;
use crate::model::config::{Order, QkNorm};

/// Nodes that write to the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    Embed,
    Head { layer: usize, head: usize },
    Mlp { layer: usize },
}

/// Inputs that read the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiver {
    Port { layer: usize, head: usize, port: Port },
    Mlp { layer: usize },
    Logits,
}

/// Columns in which something is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// The extent of senders and receivers that nothing reads.
    Nowhere,
    /// The columns that the metric reads, and later ones.
    Ends,
    Everywhere,
}

/// Senders that a receiver reads together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub senders: std::ops::Range<usize>,
    /// The layer of heads whose sum goes through the norm behind attention before it is read.
    pub normed: Option<usize>,
}

/// All edges of a model. Senders and receivers have numbers in the order of the computation, and edges theirs by
/// receivers: those into the first one come first, by their senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    pub layers: usize,
    pub heads: usize,
    has_mlp: bool,
    pub is_serial: bool,
    /// Whether what the heads of a layer write goes through a norm together.
    pub is_normed: bool,
    pub senders: Vec<Sender>,
    pub receivers: Vec<Receiver>,
    /// The number of senders that reach each receiver: the first ones.
    before: Vec<usize>,
    /// The number of the first edge into each receiver; at the end the number of all.
    first: Vec<usize>,
    numbers: BTreeMap<Sender, usize>,
}

impl Wiring {
    /// Numbers the edges of a model; refuses one whose residual stream is not the sum of what its heads and MLPs write.
    pub fn new(config: &Config) -> Result<Self> {
        config.expect_next_token("a circuit of edges")?;
        let why = match config {
            Config { qk_norm: QkNorm::Whole, .. } => Some("one norm for the queries of all heads"),
            _ if config.recurrent_layers().is_some() => config.recurrent_layers(),
            Config { gated_heads: true, .. } => Some("gates of heads, which read the stream, too"),
            _ => config.beyond_sums(),
        };
        if let Some(why) = why {
            return Err(err!(
                Argument,
                "edges need heads that do not depend on each other within a layer, and this model has {why}"
            )
            .hint("`intervene::grid` patches heads and MLPs of such models, and `circuit::sparse_features` finds circuits of features")
            .about("m"));
        }
        let is_normed = config.post_norm && config.norm.is_some();
        let is_serial = config.order == Order::Serial;
        Ok(Self { is_normed, ..Self::of(config.layers, config.heads, config.has_mlp(), is_serial) })
    }

    /// Builds the edges by sizes. In a model that is not serial the MLP reads what attention reads.
    pub fn of(layers: usize, heads: usize, has_mlp: bool, is_serial: bool) -> Self {
        let mut senders = vec![Sender::Embed];
        let mut receivers = Vec::new();
        let mut before = Vec::new();
        for layer in 0..layers {
            let reaching = senders.len();
            for port in Port::ALL {
                receivers.extend((0..heads).map(|head| Receiver::Port { layer, head, port }));
            }
            senders.extend((0..heads).map(|head| Sender::Head { layer, head }));
            before.resize(receivers.len(), reaching);
            if has_mlp {
                receivers.push(Receiver::Mlp { layer });
                before.push(if is_serial { senders.len() } else { reaching });
                senders.push(Sender::Mlp { layer });
            }
        }
        receivers.push(Receiver::Logits);
        before.push(senders.len());
        let mut first = vec![0];
        for count in &before {
            first.push(first.last().copied().unwrap_or(0) + count);
        }
        let numbers = senders.iter().enumerate().map(|(number, sender)| (*sender, number)).collect();
        Self { layers, heads, has_mlp, is_serial, is_normed: false, senders, receivers, before, first, numbers }
    }

    /// Returns the number of edges.
    pub fn edges(&self) -> usize {
        self.first.last().copied().unwrap_or(0)
    }

    /// Returns the senders that reach a receiver, by number.
    pub fn before(&self, receiver: usize) -> std::ops::Range<usize> {
        0..self.before[receiver]
    }

    /// Splits the first senders into those that are read together.
    pub fn parts(&self, count: usize) -> Vec<Part> {
        if !self.is_normed {
            return vec![Part { senders: 0..count, normed: None }];
        }
        let mut parts: Vec<Part> = Vec::new();
        for (number, sender) in self.senders[..count].iter().enumerate() {
            let normed = match sender {
                Sender::Head { layer, .. } => Some(*layer),
                Sender::Embed | Sender::Mlp { .. } => None,
            };
            match parts.last_mut() {
                Some(part) if normed.is_some() && part.normed == normed => part.senders.end += 1,
                _ => parts.push(Part { senders: number..number + 1, normed }),
            }
        }
        parts
    }

    /// Returns the number of an edge.
    pub fn edge(&self, sender: usize, receiver: usize) -> usize {
        self.first[receiver] + sender
    }

    /// Returns the sender and the receiver of an edge.
    pub fn ends(&self, edge: usize) -> (usize, usize) {
        let receiver = self.first.partition_point(|first| *first <= edge) - 1;
        (edge - self.first[receiver], receiver)
    }

    pub fn sender(&self, sender: Sender) -> Option<usize> {
        self.numbers.get(&sender).copied()
    }

    pub fn receiver(&self, receiver: Receiver) -> Option<usize> {
        let block = 3 * self.heads + usize::from(self.has_mlp);
        let number = match receiver {
            Receiver::Port { layer, head, port } if head < self.heads => {
                layer * block + port as usize * self.heads + head
            }
            Receiver::Mlp { layer } => layer * block + 3 * self.heads,
            Receiver::Logits => self.receivers.len() - 1,
            Receiver::Port { .. } => return None,
        };
        (self.receivers.get(number) == Some(&receiver)).then_some(number)
    }

    /// Returns the node that a receiver is an input of, or none for the logits.
    pub fn owner(&self, receiver: usize) -> Option<usize> {
        match self.receivers[receiver] {
            Receiver::Port { layer, head, .. } => self.sender(Sender::Head { layer, head }),
            Receiver::Mlp { layer } => self.sender(Sender::Mlp { layer }),
            Receiver::Logits => None,
        }
    }

    /// Returns from which columns on each sender and each receiver is needed, where only some edges are kept. What
    /// attention reads as keys and values it reads everywhere; all else stays in its column.
    pub fn extents(&self, kept: &[bool]) -> (Vec<Extent>, Vec<Extent>) {
        let mut senders = vec![Extent::Nowhere; self.senders.len()];
        let mut receivers = vec![Extent::Nowhere; self.receivers.len()];
        for receiver in (0..self.receivers.len()).rev() {
            let own = self.owner(receiver).map_or(Extent::Ends, |owner| senders[owner]);
            let reads_all = matches!(self.receivers[receiver], Receiver::Port { port: Port::K | Port::V, .. });
            let extent = if reads_all && own != Extent::Nowhere { Extent::Everywhere } else { own };
            receivers[receiver] = extent;
            for sender in self.before(receiver).filter(|sender| kept[self.edge(*sender, receiver)]) {
                senders[sender] = senders[sender].max(extent);
            }
        }
        (senders, receivers)
    }

    /// Returns the edges in the order of EAP-IG's files: layer by layer, into the heads by sender, head and port, then
    /// into the MLP; last into the logits.
    pub fn listed(&self) -> Vec<usize> {
        let mut all = Vec::with_capacity(self.edges());
        let into = |all: &mut Vec<usize>, receiver: Option<usize>| {
            if let Some(receiver) = receiver {
                all.extend(self.before(receiver).map(|sender| self.edge(sender, receiver)));
            }
        };
        for layer in 0..self.layers {
            let ports: Vec<usize> = (0..self.heads)
                .flat_map(|head| Port::ALL.map(|port| self.receiver(Receiver::Port { layer, head, port })))
                .flatten()
                .collect();
            let reaching = ports.first().map_or(0..0, |first| self.before(*first));
            all.extend(reaching.flat_map(|sender| ports.iter().map(move |port| self.edge(sender, *port))));
            into(&mut all, self.receiver(Receiver::Mlp { layer }));
        }
        into(&mut all, self.receiver(Receiver::Logits));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_has_one_number() {
        for (has_mlp, is_serial) in [(true, true), (true, false), (false, true)] {
            let wiring = Wiring::of(3, 2, has_mlp, is_serial);
            for edge in 0..wiring.edges() {
                let (sender, receiver) = wiring.ends(edge);
                assert!(wiring.before(receiver).contains(&sender));
                assert_eq!(wiring.edge(sender, receiver), edge);
                assert_eq!(wiring.receiver(wiring.receivers[receiver]), Some(receiver));
            }
            let mut listed = wiring.listed();
            listed.sort_unstable();
            assert_eq!(listed, (0..wiring.edges()).collect::<Vec<_>>());
        }
        let normed = Wiring { is_normed: true, ..Wiring::of(2, 3, true, true) };
        let part = |senders, normed| Part { senders, normed };
        assert_eq!(normed.parts(5), [part(0..1, None), part(1..4, Some(0)), part(4..5, None)]);
        assert_eq!(normed.parts(7).last(), Some(&part(5..7, Some(1))));
        assert_eq!(Wiring::of(2, 3, true, true).parts(5), [part(0..5, None)]);
        // As in Pythia-70M: 55 senders, 151 receivers.
        let wiring = Wiring::of(6, 8, true, false);
        assert_eq!((wiring.senders.len(), wiring.receivers.len(), wiring.edges()), (55, 151, 3580));
    }

    #[test]
    fn what_is_needed_follows_from_what_is_kept() {
        let wiring = Wiring::of(2, 1, true, true);
        let embed = 0;
        let a0 = 1;
        let a1 = 3;
        let port = |layer, port| wiring.receiver(Receiver::Port { layer, head: 0, port }).unwrap();
        let logits = wiring.receiver(Receiver::Logits).unwrap();
        let mut kept = vec![false; wiring.edges()];
        let nothing = wiring.extents(&kept);
        assert!(nothing.0.iter().all(|extent| *extent == Extent::Nowhere));
        assert_eq!(nothing.1[logits], Extent::Ends);
        kept[wiring.edge(a1, logits)] = true;
        kept[wiring.edge(a0, port(1, Port::Q))] = true;
        kept[wiring.edge(embed, port(0, Port::V))] = true;
        let (senders, receivers) = wiring.extents(&kept);
        assert_eq!([senders[a1], senders[a0], senders[embed]], [Extent::Ends, Extent::Ends, Extent::Everywhere]);
        assert_eq!([receivers[port(1, Port::K)], receivers[port(0, Port::Q)]], [Extent::Everywhere, Extent::Ends]);
        kept[wiring.edge(a0, port(1, Port::V))] = true;
        assert_eq!(wiring.extents(&kept).0[a0], Extent::Everywhere);
    }
}
