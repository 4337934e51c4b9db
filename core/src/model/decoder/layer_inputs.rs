//! Inputs of layers: a vector for each token and layer, and what the layer makes of it (gemma 4).

use super::flow::{Flow, FlowResult};
use super::{Decoder, linear};
use crate::base::{Result, memory};
use crate::err;
use crate::model::site::SiteKind;
use crate::model::weights::LayerInput;
use crate::tensor::Tensor;

impl Decoder {
    /// Computes the inputs of all layers, from the embeddings of the tokens of a pass, `[batch, pos, d_model]`:
    /// projections of these, and rows of a table of their own, with factors that keep their size.
    pub(super) fn read_layer_inputs(&self, flow: &mut Flow, embedded: &Tensor) -> Result<()> {
        let (Some(width), Some(weights)) = (self.config.layer_inputs, &self.weights.layer_inputs) else {
            return Ok(());
        };
        let (rows, columns, d) = embedded.dims3()?;
        let by_layer = [rows, columns, self.config.layers, width];
        // Those of tokens, of embeddings, and the sum of both.
        let bytes = 3 * by_layer.iter().product::<usize>() * embedded.dtype().size_in_bytes();
        memory::check_on(self.device(), bytes as u128, || "the inputs of all layers".into())?;
        let ids = flow.batch.ids(self.device())?.flatten_all()?;
        let own = (kernels::reshape(&weights.embed.look_up(&ids)?, &by_layer)? * (width as f64).sqrt())?;
        let shared = (linear(flow.task, embedded, &weights.project)? * (d as f64).powf(-0.5))?;
        let shared = self.plainly_normed(weights.norm.as_ref(), &kernels::reshape(&shared, &by_layer)?)?;
        let all = (kernels::add(&shared, &own)? * 0.5_f64.sqrt())?;
        let all = kernels::reshape(&all, &[rows, columns, self.config.layers * width])?;
        flow.side_inputs.inputs = Some((all, flow.columns.start));
        Ok(())
    }

    /// Computes what a layer makes of its input and adds to the residual stream `x`.
    pub(super) fn layer_out(
        &self,
        flow: &mut Flow,
        layer: usize,
        weights: &LayerInput,
        x: &Tensor,
    ) -> FlowResult<Tensor> {
        let (Some(width), Some((all, first))) = (self.config.layer_inputs, &flow.side_inputs.inputs) else {
            return Err(err!(Bug, "layer {layer} has no input").into());
        };
        let columns = flow.columns.clone();
        let own = all.narrow(2, layer * width, width)?.narrow(1, columns.start - first, columns.len())?.contiguous()?;
        let input = flow.see(SiteKind::LayerInput, layer, own)?;
        let gate = flow.see(SiteKind::LayerGate, layer, linear(flow.task, x, &weights.gate)?)?;
        let hidden = self.gated(&gate, &input, self.config.act)?;
        let hidden = flow.see(SiteKind::LayerHidden, layer, hidden)?;
        let out = linear(flow.task, &hidden, &weights.project)?;
        let out = self.normed(flow, weights.post_norm.as_ref(), &out, SiteKind::LayerPostScale, layer)?;
        flow.see(SiteKind::LayerOut, layer, out)
    }
}
