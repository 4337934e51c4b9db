//! Activations that a dictionary is fitted or measured on, from what scripts give.

use std::ops::ControlFlow;

use crate::base::{Result, Task, memory};
use crate::data::Text;
use crate::data::harvest::{Block, Harvest, Keep, Options, Streamed};
use crate::err;
use crate::model::Model;
use crate::script::options::OptionReader;
use crate::script::value::Given;
use crate::tensor::{Device, Tensor};

/// Reads which positions of a text are harvested.
pub fn keeping(read: &mut OptionReader) -> Result<Options> {
    let keep = Keep {
        without_bos: read.flag("without_bos", false)?,
        without_first: read.size("without_first", 0)?,
        ..Keep::default()
    };
    Ok(Options { keep, context: read.get("context", Given::size)? })
}

/// The activations of a model at some sites on a text, in memory: `[rows, width]` of each, in the order of the
/// computation, with the sites' names.
pub fn harvested(
    model: &Model,
    sites: &[&str],
    text: &Text,
    options: &Options,
    task: &Task,
) -> Result<Vec<(String, Tensor)>> {
    let harvest = Harvest::new(model, sites, text, options, task)?;
    let (widths, places) = (harvest.widths().to_vec(), harvest.places().to_vec());
    if let Some(tokens) = text.options().tokens {
        let bytes = 4 * tokens as u128 * widths.iter().sum::<usize>() as u128;
        memory::check(bytes, || "the activations of this text".into())?;
    }
    let mut found: Vec<Vec<f32>> = vec![Vec::new(); widths.len()];
    let mut sink = Streamed(|block: Block| {
        for (all, x) in found.iter_mut().zip(&block.activations) {
            let numbers = x.flatten_all()?.to_vec1::<f32>()?;
            memory::check(4 * numbers.len() as u128, || "more activations of this text".into())?;
            all.extend(numbers);
        }
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, task)?;
    let tensors = found.into_iter().zip(widths).zip(places).map(|((numbers, width), place)| {
        if numbers.is_empty() {
            return Err(err!(Argument, "no position of the text is left to harvest at {place}"));
        }
        let rows = numbers.len() / width;
        Ok((place.to_string(), Tensor::from_vec(numbers, (rows, width), &Device::Cpu)?))
    });
    tensors.collect()
}
