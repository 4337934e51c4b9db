//! Activations of many texts at some sites, text by text, in batches of a few thousand tokens.

use crate::common::*;

/// The number of tokens in a batch of the model, about.
const TOKENS: usize = 1 << 12;

/// Gives `see` the number of each text and its activations at each place, `[1, pos, ..]`, without padding.
pub fn each_text(
    model: &Decoder,
    texts: &[Vec<u32>],
    places: &[Place],
    task: &Task,
    see: &mut dyn FnMut(usize, &[Tensor]) -> Result<()>,
) -> Result<()> {
    let longest = texts.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let mut text = 0;
    for part in texts.chunks((TOKENS / longest).max(1)) {
        let ask = Ask { places: places.to_vec(), ..Ask::default() };
        let cache = model.cache(&Batch::new(part.to_vec())?, ask, task)?;
        let all = places.iter().map(|place| cache.at(*place)).collect::<Result<Vec<_>>>()?;
        for (row, ids) in part.iter().enumerate() {
            task.check()?;
            let own = all.iter().map(|x| Ok(x.narrow(0, row, 1)?.narrow(1, 0, ids.len())?));
            see(text, &own.collect::<Result<Vec<_>>>()?)?;
            text += 1;
        }
    }
    Ok(())
}
