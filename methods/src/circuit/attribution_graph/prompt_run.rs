//! The run of the prompt that a graph explains. It is frozen and taken apart layer by layer, so that of what is recorded at each
//! layer no more than one layer's is in memory.

use super::dictionaries::GraphDictionaries;
use super::frozen::{self, FrozenBlock, FrozenModel, FrozenRun, recorded};
use super::mixing::Patterns;
use super::mlps::MlpPaths;
use super::sources::{GraphSources, ReadSteps};
use crate::common::*;
use crate::model::hooks::{At, Hooks};

/// A prompt's run: the frozen model, and what its parts write.
pub struct PromptRun {
    pub held: FrozenModel,
    pub sources: GraphSources,
}

impl PromptRun {
    /// Runs a model on the only text of a batch.
    pub fn of(
        model: &Arc<Decoder>,
        dictionaries: &GraphDictionaries,
        batch: &Batch,
        patterns: Patterns,
        mlps: MlpPaths,
        task: &Task,
    ) -> Result<Self> {
        let places = frozen::places(model, dictionaries, patterns);
        let mut sites: Vec<Site> = places.into_iter().map(|place| place.site).collect();
        sites.extend(mlps.sites(model.config()));
        sites.sort_unstable();
        let mut reader = LayerReader {
            run: FrozenRun { model, dictionaries, patterns, mlps, tokens: batch.width() },
            sites,
            task,
            recorded: BTreeMap::new(),
            embedded: None,
            blocks: Vec::new(),
            steps: ReadSteps::default(),
        };
        model.forward(batch, Pass { hooks: &mut reader, past: None, logits: Logits::All, task })?;
        let cache = reader.taken();
        let LayerReader { embedded, blocks, steps, .. } = reader;
        let Some(embedded) = embedded else { return Err(err!(Bug, "a run without embeddings")) };
        Ok(Self {
            held: FrozenModel::of(model, blocks, &cache)?,
            sources: GraphSources::of(steps, dictionaries.steps(), embedded)?,
        })
    }
}

/// Hooks that record a layer, and take from it what is held when it has written.
struct LayerReader<'a> {
    run: FrozenRun<'a>,
    /// The sites that are recorded, in the order of the computation.
    sites: Vec<Site>,
    task: &'a Task,
    /// The activations that were recorded since the layer before.
    recorded: BTreeMap<Place, Tensor>,
    embedded: Option<Tensor>,
    blocks: Vec<FrozenBlock>,
    steps: ReadSteps,
}

impl LayerReader<'_> {
    /// Takes what was recorded since the layer before.
    fn taken(&mut self) -> Cache {
        let recorded = std::mem::take(&mut self.recorded);
        Cache::of(self.run.model.config().clone(), vec![self.run.tokens], recorded)
    }

    /// Reads a layer, all of whose sites are recorded.
    fn read(&mut self, layer: usize) -> Result<()> {
        let mut cache = self.taken();
        if layer == 0 {
            self.embedded = Some(recorded(&cache, Site::new(SiteKind::Embed, 0))?);
        }
        let block = FrozenBlock::of(self.run, &mut cache, layer).map_err(|e| e.within(format!("layer {layer}")))?;
        self.steps.read(self.run, &cache, layer, &block, self.task)?;
        self.blocks.push(block);
        Ok(())
    }
}

impl Hooks for LayerReader<'_> {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains(&site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        self.recorded.insert(Place { site: at.site, head: None }, x.clone());
        // The output of the MLP is the last site of a layer that is recorded.
        if at.site.kind == SiteKind::MlpOut {
            self.read(at.site.layer)?;
        }
        Ok(None)
    }

    fn last(&self) -> Option<Site> {
        self.sites.last().copied()
    }
}
