//! Gated delta nets in GGUF files. Where several value heads belong to one key head, the converter puts the first of every
//! key head before the second of every key head; ours are key head by key head.

use crate::model::config::DeltaNets;
use crate::model::layout::{StepBack, WeightFrom};

/// Returns where a weight of a delta net is, in the tensor of this name. None for a part that no delta net has.
pub(super) fn place(part: &str, net: &DeltaNets, d_model: usize, name: String) -> Option<WeightFrom> {
    let keys = net.key_heads * net.d_key;
    let values = net.value_heads * net.d_value;
    let channels = net.channels();
    let takes_turns = net.key_heads != net.value_heads;
    let grouped = |axis, start, width| StepBack::Grouped {
        axis,
        start,
        groups: net.key_heads,
        each: net.value_heads / net.key_heads.max(1),
        width,
    };
    let (whole, axis_of_heads, start, width, before) = match part {
        "delta.q" => return Some(WeightFrom::Rows { name, start: 0, count: keys }),
        "delta.k" => return Some(WeightFrom::Rows { name, start: keys, count: keys }),
        "delta.v" if !takes_turns => return Some(WeightFrom::Rows { name, start: 2 * keys, count: values }),
        "delta.norm" => return Some(WeightFrom::Same(name)),
        "delta.v" => {
            (vec![channels, d_model], 0, 0, net.d_value, vec![StepBack::Rows { start: 2 * keys, count: values }])
        }
        // The converter drops the axis of size 1, and has the rates themselves.
        "delta.conv" => (vec![channels, net.kernel], 0, 2 * keys, net.d_value, Vec::new()),
        "delta.log_rate" => (vec![net.value_heads], 0, 0, 1, vec![StepBack::LogOfOpposite]),
        "delta.forget_bias" => (vec![net.value_heads], 0, 0, 1, Vec::new()),
        "delta.write" | "delta.forget" => (vec![net.value_heads, d_model], 0, 0, 1, Vec::new()),
        "delta.gate" => (vec![values, d_model], 0, 0, net.d_value, Vec::new()),
        "delta.o" => (vec![d_model, values], 1, 0, net.d_value, Vec::new()),
        _ => return None,
    };
    let mut back = before;
    back.extend(takes_turns.then(|| grouped(axis_of_heads, start, width)));
    back.extend((part == "delta.conv").then_some(StepBack::Unsqueezed(1)));
    Some(if back.is_empty() { WeightFrom::Same(name) } else { WeightFrom::Rewritten { name, whole, back } })
}
