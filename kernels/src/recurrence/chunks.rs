//! Going through the tokens of a recurrence backwards.

/// Tokens whose states are held at a time.
const CHUNK: usize = 32;

/// Shows `back` the tokens from the last to the first, with the states before and behind each, of `size` coordinates. States
/// are zeros before the first token and change by `step`. They are computed again, a chunk of tokens at a time, from those
/// that are kept before each chunk.
pub(super) fn backwards(
    columns: usize,
    size: usize,
    mut step: impl FnMut(usize, &mut [f32]),
    mut back: impl FnMut(usize, &[f32], &[f32]),
) {
    let chunks = columns.div_ceil(CHUNK);
    let mut kept = vec![0.0; chunks * size];
    let mut states = vec![0.0; size];
    for column in 0..columns {
        if column.is_multiple_of(CHUNK) {
            kept[column / CHUNK * size..][..size].copy_from_slice(&states);
        }
        step(column, &mut states);
    }
    // Within a chunk the states before each token.
    let mut within = vec![0.0; (CHUNK + 1) * size];
    for chunk in (0..chunks).rev() {
        let of_chunk = chunk * CHUNK..columns.min((chunk + 1) * CHUNK);
        within[..size].copy_from_slice(&kept[chunk * size..][..size]);
        for (at, column) in of_chunk.clone().enumerate() {
            let (before, behind) = within[at * size..].split_at_mut(size);
            behind[..size].copy_from_slice(before);
            step(column, &mut behind[..size]);
        }
        for (at, column) in of_chunk.enumerate().rev() {
            let (before, behind) = within[at * size..].split_at(size);
            back(column, before, &behind[..size]);
        }
    }
}
