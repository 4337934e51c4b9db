//! The lines in which two texts differ.

/// Texts of more lines that differ are shown as one change.
const MOST: usize = 4_000;

/// Each change under the number of its first line, `-` what was and `+` what would be; nothing for equal texts.
pub fn between(name: &str, old: &str, new: &str) -> String {
    // With their ends, so that a line end that is missing shows.
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let kept = common(&old, &new);
    let mut out = String::new();
    let (mut i, mut j) = (0, 0);
    for (to_i, to_j) in kept.into_iter().chain([(old.len(), new.len())]) {
        if to_i > i || to_j > j {
            out.push_str(&format!("{name}:{}\n", i + 1));
            old.get(i..to_i).unwrap_or_default().iter().for_each(|line| out.push_str(&shown('-', line)));
            new.get(j..to_j).unwrap_or_default().iter().for_each(|line| out.push_str(&shown('+', line)));
        }
        (i, j) = (to_i + 1, to_j + 1);
    }
    out
}

fn shown(mark: char, line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => format!("{mark}{line}\n"),
        None => format!("{mark}{line} (no line end)\n"),
    }
}

/// Pairs of places of lines that stay, as many as possible.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let begin = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (a, b) = (old.get(begin..).unwrap_or_default(), new.get(begin..).unwrap_or_default());
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    let mut kept: Vec<(usize, usize)> = (0..begin).map(|at| (at, at)).collect();
    if a.len().max(b.len()) <= MOST {
        kept.extend(longest(a, b).into_iter().map(|(i, j)| (begin + i, begin + j)));
    }
    kept.extend((0..end).map(|at| (old.len() - end + at, new.len() - end + at)));
    kept
}

/// The longest common subsequence, by how much of it lies behind each pair of places.
fn longest(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    let wide = b.len() + 1;
    let mut behind = vec![0_u16; (a.len() + 1) * wide];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            behind[i * wide + j] = match a[i] == b[j] {
                true => behind[(i + 1) * wide + j + 1] + 1,
                false => behind[(i + 1) * wide + j].max(behind[i * wide + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut kept) = (0, 0, Vec::new());
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

    #[test]
    fn changes_stand_under_their_lines() {
        assert_eq!(between("x", "a\nb\n", "a\nb\n"), "");
        assert_eq!(between("x", "a\nb\nc\nd\n", "a\nB\nc\nd\ne\n"), "x:2\n-b\n+B\nx:5\n+e\n");
        assert_eq!(between("x", "a", "a\n"), "x:1\n-a (no line end)\n+a\n");
        assert_eq!(between("x", "a\n\n\nb\n", "a\n\nb\n"), "x:3\n-\n");
    }
}
