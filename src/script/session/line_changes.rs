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
    gaps(&common(&old, &new), (old.len(), new.len()))
        .map(|((i, j), (to_i, to_j))| LineChange { line: i + 1, old: text(&old, i, to_i), new: text(&new, j, to_j) })
        .collect()
}

/// Finds where something stands between the lines that stay, each from a pair of places to another.
pub fn gaps(kept: &[(usize, usize)], ends: (usize, usize)) -> impl Iterator<Item = ((usize, usize), (usize, usize))> {
    let begins = std::iter::once((0, 0)).chain(kept.iter().map(|(i, j)| (i + 1, j + 1)));
    begins.zip(kept.iter().copied().chain([ends])).filter(|(from, to)| from != to)
}

/// Finds pairs of places of lines that stay, as many as possible.
pub fn common<Line: PartialEq>(old: &[Line], new: &[Line]) -> Vec<(usize, usize)> {
    let begin = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let a = old.get(begin..).unwrap_or_default();
    let b = new.get(begin..).unwrap_or_default();
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let a = &a[..a.len() - end];
    let b = &b[..b.len() - end];
    let mut kept: Vec<(usize, usize)> = (0..begin).map(|at| (at, at)).collect();
    if a.len().max(b.len()) <= MOST {
        kept.extend(longest(a, b).into_iter().map(|(i, j)| (begin + i, begin + j)));
    }
    kept.extend((0..end).map(|at| (old.len() - end + at, new.len() - end + at)));
    kept
}

/// Finds the longest common subsequence, by how much of it lies behind each pair of places.
fn longest<Line: PartialEq>(a: &[Line], b: &[Line]) -> Vec<(usize, usize)> {
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
            kept.push((i, j));
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
