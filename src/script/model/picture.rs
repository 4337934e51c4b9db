//! `m.picture()`: the blocks of a model, drawn.

use crate::report::block::ModelPicture;
use crate::script::model::Model;
use crate::script::prelude::*;

handle!(ModelPicture, "ModelPicture", |picture| {
    format!("picture of {}, {} of blocks", visible(&picture.title), count(picture.kinds(), "kind"))
});

#[export_module(manifest)]
pub mod methods {
    /// Draws the model: each distinct kind of its blocks once, with the layers that it stands for, and what is before and behind
    /// all blocks.
    ///
    /// The residual stream runs down the left side. What branches off it and is added to it again is drawn as boxes, and each
    /// activation that hooks can read is named where it flows, with its shape: the sites that `m.sites()` lists.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.picture()  //=> picture of microtome: 2 layers of 8, 1 kind of blocks
    /// m.picture().save("doc/model.svg").ends_with("model.svg")  //=> true
    /// ```
    #[rhai_fn(global, pure)]
    pub fn picture(m: &mut Model) -> ModelPicture {
        ModelPicture::of(m.config())
    }

    /// Writes the picture as .svg, .png, .pdf, .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// model::load("tiny").picture().save("doc/tiny.png").ends_with("tiny.png")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, picture: &mut ModelPicture, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, picture, path)?)
    }

    /// Tabulates the boxes of the picture: the part of the model, the computation, and the sites.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.picture().table()["sites"].filter(|sites| sites.contains("pattern")).len  //=> 1
    /// ```
    #[rhai_fn(global, pure)]
    pub fn table(picture: &mut ModelPicture) -> Table {
        picture.table()
    }

    /// Returns the picture's data as a map: its sections, with their layers, their steps along the residual stream, and the
    /// boxes of each.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.picture().to_map().sections.map(|section| section.title)  //=> ["Input", "Layers 0, 1", "Output"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(picture: &mut ModelPicture) -> Fallible<Dynamic> {
        Ok(mapped(picture)?)
    }
}
