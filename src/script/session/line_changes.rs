//! The lines in which two texts differ.

/// Number of lines that differ above which two texts are shown as one change.
const MOST: usize = 4_000;

/// A place where lines were taken out of a text, and others put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineChange {
    /// The number of the first line, from 1, in the old text.
    pub line: usize,
    /// The lines as they were and as they are, with their ends.
    pub old: String,
    pub new: String,
}

impl LineChange {
    /// Writes the change under its place, `-` what was and `+` what would be.
    pub fn shown(&self, name: &str) -> String {
        let lines = |mark, text: &str| text.split_inclusive('\n').map(|line| shown(mark, line)).collect::<String>();
        format!("{name}:{}\n{}{}", self.line, lines('-', &self.old), lines('+', &self.new))
    }
}

fn shown(mark: char, line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => format!("{mark}{line}\n"),
        None => format!("{mark}{line} (no line end)\n"),
    }
}

/// Lists the changes that make one text the other; none for equal texts.
pub fn between(old: &str, new: &str) -> Vec<LineChange> {
    // With their ends, so that a line end that is missing shows.
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let text = |lines: &[&str], from, to| lines.get(from..to).unwrap_or_default().concat();
    let change = |gap: LineGap| {
        let LineGap { from, to } = gap;
        LineChange { line: from.old + 1, old: text(&old, from.old, to.old), new: text(&new, from.new, to.new) }
    };
    gaps(&common(&old, &new), LinePair { old: old.len(), new: new.len() }).map(change).collect()
}

/// The numbers of a line in the old and in the new text, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinePair {
    pub old: usize,
    pub new: usize,
}

/// A run of lines between two that stay: the numbers of the first, and those of the line after the last.
pub struct LineGap {
    pub from: LinePair,
    pub to: LinePair,
}

/// Finds where something stands between the lines that stay; `ends` are the numbers of all lines.
pub fn gaps(kept: &[LinePair], ends: LinePair) -> impl Iterator<Item = LineGap> {
    let behind = |pair: &LinePair| LinePair { old: pair.old + 1, new: pair.new + 1 };
    let begins = std::iter::once(LinePair::default()).chain(kept.iter().map(behind));
    let all = begins.zip(kept.iter().copied().chain([ends])).map(|(from, to)| LineGap { from, to });
    all.filter(|gap| gap.from != gap.to)
}

/// Finds pairs of lines that stay, as many as possible.
pub fn common<Line: PartialEq>(old: &[Line], new: &[Line]) -> Vec<LinePair> {
    let begin = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let a = old.get(begin..).unwrap_or_default();
    let b = new.get(begin..).unwrap_or_default();
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let a = &a[..a.len() - end];
    let b = &b[..b.len() - end];
    let mut kept: Vec<LinePair> = (0..begin).map(|at| LinePair { old: at, new: at }).collect();
    if a.len().max(b.len()) <= MOST {
        kept.extend(longest(a, b).into_iter().map(|pair| LinePair { old: begin + pair.old, new: begin + pair.new }));
    }
    kept.extend((0..end).map(|at| LinePair { old: old.len() - end + at, new: new.len() - end + at }));
    kept
}

/// Finds the longest common subsequence, by how much of it lies behind each pair of places.
fn longest<Line: PartialEq>(a: &[Line], b: &[Line]) -> Vec<LinePair> {
    let wide = b.len() + 1;
    let mut behind = vec![0_u16; (a.len() + 1) * wide];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            behind[i * wide + j] = if a[i] == b[j] {
                behind[(i + 1) * wide + j + 1] + 1
            } else {
                behind[(i + 1) * wide + j].max(behind[i * wide + j + 1])
            };
        }
    }
    let mut i = 0;
    let mut j = 0;
    let mut kept = Vec::new();
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            kept.push(LinePair { old: i, new: j });
            (i, j) = (i + 1, j + 1);
        } else if behind[(i + 1) * wide + j] >= behind[i * wide + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        between(old, new).iter().map(|change| change.shown("x")).collect()
    }

    #[test]
    fn changes_stand_under_their_lines() {
        assert_eq!(shown("a\nb\n", "a\nb\n"), "");
        assert_eq!(shown("a\nb\nc\nd\n", "a\nB\nc\nd\ne\n"), "x:2\n-b\n+B\nx:5\n+e\n");
        assert_eq!(shown("a", "a\n"), "x:1\n-a (no line end)\n+a\n");
        assert_eq!(shown("a\n\n\nb\n", "a\n\nb\n"), "x:3\n-\n");
    }
}
