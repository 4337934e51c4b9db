//! What a dictionary is kept under: a hash of all that its numbers depend on.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::base::{Result, Task, memory};
use crate::data::Text;
use crate::data::harvest::{Contents, Harvest, Options};
use crate::data::store::Made;
use crate::err;
use crate::model::Model;
use crate::sae::fit::Recipe;
use crate::tensor::{DType, kernels};

/// Which numbers fitting gives. It is raised with every change after which a fit ends in other bits than before, so that
/// nothing is found that would be fitted otherwise by now; the version of the program stays the same between two releases.
const FITTING: u32 = 3;

/// What fits read: a text, as a model has it.
pub struct Reads {
    /// The model, the text and the options of the reading.
    made: Value,
    contents: Contents,
    /// Where the model was loaded from, by which it is called in dictionaries.
    model: String,
    device: String,
}

/// How the rows of one site come.
pub struct Rows<'a> {
    pub site: &'a str,
    /// How many rows of tokens go through the model at once.
    pub at_once: usize,
    /// How many rows of activations are in memory at once, where that is not all of them.
    pub buffer: Option<usize>,
    /// The seed of their order.
    pub seed: u64,
}

impl Reads {
    /// `harvest` is one of this model, text and options; of its sites nothing is taken.
    pub fn new(model: &Model, text: &Text, options: &Options, harvest: Harvest, task: &Task) -> Result<Self> {
        let made = Made::new(model, &harvest, text, options, (DType::F32, 0), task)?;
        let mut made = serde_json::to_value(made).map_err(|e| err!(Bug, "a key that cannot be written: {e}"))?;
        // Where a model was loaded from does not matter, but what it is.
        made["model"]["origin"] = Value::Null;
        let device = format!("{:?}", model.decoder.device().location());
        Ok(Self { made, contents: harvest.contents(task)?, model: model.origin.clone(), device })
    }

    /// How many rows of activations each pass over the text gives.
    pub fn rows(&self) -> u64 {
        self.contents.rows
    }
}

/// The key of one dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    hash: String,
    text: String,
    model: String,
    site: String,
}

impl Key {
    /// In it are
    ///
    /// - the program and [`FITTING`]: another may fit otherwise;
    /// - processor, its instructions, threads and device: sums are added up in another order on another;
    /// - the model by a hash of its weights, its config and its dtype: activations are its own;
    /// - the text by its recipe and by a hash of the tokens that were read and kept just now: files may have changed;
    /// - the site, and how its rows come: in which order, and in which batches through the model;
    /// - every option of the fit, the seed among them, and how many features there are.
    ///
    /// Not in it is where model and dictionary lie.
    pub fn new(reads: &Reads, rows: &Rows, recipe: &Recipe, d_sae: usize) -> Self {
        let mut made = reads.made.clone();
        made["sites"] = json!(rows.site);
        made["at_once"] = json!(rows.at_once);
        let text = json!({
            "fitting": FITTING,
            "processor": memory::processor(),
            "instructions": format!("{:?}", kernels::arch()),
            "wide_products": cfg!(feature = "avx512"),
            "threads": rayon::current_num_threads(),
            "device": reads.device,
            "reads": made,
            "tokens": reads.contents.hash,
            "rows": reads.contents.rows,
            "buffer": rows.buffer,
            "order": rows.seed,
            "recipe": recipe.json(),
            "d_sae": d_sae,
        });
        let text = text.to_string();
        let hash = hex(&Sha256::digest(&text));
        Self { hash, text, model: reads.model.clone(), site: rows.site.into() }
    }

    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// All that is in it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the model is called here.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The site that the dictionary reads.
    pub fn site(&self) -> &str {
        &self.site
    }
}
