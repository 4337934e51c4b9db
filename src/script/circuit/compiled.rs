//! `circuit::compiled`: models whose circuit is known, and what is known of them.

use crate::circuit;
use crate::circuit::compiled as core;
use crate::script::circuit::Circuit;
use crate::script::data::pairs::map;
use crate::script::model::prelude::*;

/// A compiled model.
#[derive(Clone)]
pub struct Compiled(core::CompiledModel);

impl Item for Compiled {
    fn kind(&self) -> &'static str {
        "compiled"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let truth = self.truth();
        Ok(format!("{}\n\n{}", self.0.algorithm.text, truth.graph().table().terminal(screen)?))
    }

    fn html(&self) -> Result<String> {
        Ok(paragraphs(&[self.0.algorithm.text]) + self.truth().html()?.as_str())
    }

    fn data(&self) -> Result<Value> {
        let core::CompiledModel { algorithm, truth, .. } = &self.0;
        let edges: Vec<String> = truth.edges.iter().map(|edge| truth.edge_name(edge)).collect();
        Ok(json!({ "name": algorithm.name, "algorithm": algorithm.text, "vocab": algorithm.tokens, "truth": edges }))
    }
}

handle!(Compiled, "Compiled", |one| {
    let layers = one.0.model.decoder.config().layers;
    let edges = count(one.0.truth.edges.len(), "true edge");
    format!("compiled model `{}` of {}, {edges}", one.0.algorithm.name, count(layers, "layer"))
});

impl Compiled {
    fn truth(&self) -> Circuit {
        Circuit::new(circuit::Circuit::without_dictionaries(self.0.truth.clone()), &[])
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Returns a small transformer whose weights are constructed, so that its algorithm and its circuit are known, as a
    /// test for methods that find circuits. `circuit::compiled()` lists the names of all.
    ///
    /// It is right on every prompt that it is made for. An edge of its `truth` carries what the algorithm needs, and all
    /// other edges exactly nothing: the other heads and MLPs are decoys, which read everything and write where nobody
    /// reads. An edge is true where the output changes once the receiver does not read the sender (zero ablation); what
    /// both prompts of a pair have in common shows no difference when activations come from the other prompt.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("indirect object");
    /// c  //=> compiled model `indirect object` of 3 layers, 8 true edges
    /// c.model.predict("Ann Bob Ann to", 1)["token"]  //=> [" Bob"]
    /// circuit::compiled().len()  //=> 9
    /// ```
    #[rhai_fn(return_raw)]
    pub fn compiled(name: &str) -> Fallible<Compiled> {
        Ok(Compiled(core::compiled(name)?))
    }

    #[rhai_fn(name = "compiled")]
    pub fn compiled_names() -> Array {
        core::all().map(Into::into).collect()
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the model, with its tokenizer.
    ///
    /// # Example
    /// ```
    /// circuit::compiled("sort").model  //=> microtome model of 2 layers, d_model 20
    /// ```
    #[rhai_fn(global, get = "model", pure)]
    pub fn compiled_model(c: &mut Compiled) -> Model {
        c.0.model.clone().into()
    }

    /// Returns the known circuit: its nodes, with what each does, and its edges.
    ///
    /// # Example
    /// ```
    /// let truth = circuit::compiled("reverse").truth;
    /// truth.edges.len()  //=> 4
    /// truth.nodes[1].meaning  //=> "the position of `>`"
    /// ```
    #[rhai_fn(global, get = "truth", pure)]
    pub fn compiled_truth(c: &mut Compiled) -> Circuit {
        c.truth()
    }

    /// Says what the model computes, and how, in words.
    ///
    /// # Example
    /// ```
    /// circuit::compiled("most frequent").algorithm.contains("the share of each")  //=> true
    /// ```
    #[rhai_fn(global, get = "algorithm", pure)]
    pub fn compiled_algorithm(c: &mut Compiled) -> String {
        c.0.algorithm.text.into()
    }

    /// Lists the tokens, those that the model predicts first.
    ///
    /// # Example
    /// ```
    /// circuit::compiled("parity of brackets").vocab  //=> ["yes", "no", "(", ")", "^"]
    /// ```
    #[rhai_fn(global, get = "vocab", pure)]
    pub fn compiled_vocab(c: &mut Compiled) -> Array {
        c.0.algorithm.tokens.iter().map(|token| (*token).into()).collect()
    }

    /// Makes pairs of prompts of one length with different answers, as `data::pairs` does. Each answer is as frequent
    /// as the others, and the first pairs do not depend on `n`.
    ///
    /// # Options
    /// - [compiled_pairs]
    ///
    /// # Example
    /// ```
    /// let pair = circuit::compiled("histogram").pairs(1, #{ seed: 1 })[0];
    /// pair.answers != pair.wrong  //=> true
    /// ```
    #[rhai_fn(global, name = "pairs", pure, return_raw)]
    pub fn compiled_pairs(ctx: NativeCallContext, c: &mut Compiled, n: Int, options: Options) -> Fallible<Array> {
        let env = env(&ctx)?;
        let n = given("n", &n).size()?;
        Ok(c.0.pairs(n, &taken(options)?, &env.task)?.into_iter().map(|pair| map(pair).into()).collect())
    }
}
