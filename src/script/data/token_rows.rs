//! Texts as rows of tokens: ids, the origin of each token, and its labels.

use super::tokenizer::tokenizer_of;
use crate::data::pack::{self, Row, RowOptions, Stretch};
use crate::script::engine::value::map;
use crate::script::prelude::*;

/// Reads the rows of a text with the tokens of a model or a tokenizer.
fn gathered<T>(
    ctx: &NativeCallContext,
    text: &Text,
    m: &Dynamic,
    options: &RowOptions,
    keep: impl Fn(Row) -> Result<T>,
) -> Result<Vec<T>> {
    let (tokenizer, model) = tokenizer_of("m", m)?;
    let own = model.map(|model| model.config().row_length());
    options.gathered(text, &tokenizer, own, &env(ctx)?.task, keep)
}

/// Converts a row into a map.
fn row_map(row: Row) -> Dynamic {
    let number = |number: u64| Dynamic::from(number as i64);
    let document = |stretch: &Stretch| -> Dynamic {
        let fields: [(&str, Dynamic); 3] = [
            ("start", number(stretch.positions.start as u64)),
            ("end", number(stretch.positions.end as u64)),
            ("origin", stretch.origin.to_string().into()),
        ];
        map(fields)
    };
    let span = |span: &Range<u64>| Dynamic::from(vec![number(span.start), number(span.end)]);
    map([
        ("ids", row.ids.iter().map(|id| number(u64::from(*id))).collect::<Array>().into()),
        ("spans", row.spans.iter().map(span).collect::<Array>().into()),
        ("documents", row.stretches.iter().map(document).collect::<Array>().into()),
    ])
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the token ids of a text in rows, as a tensor [rows, pos].
    ///
    /// `m` is a model or a tokenizer. Documents are packed without gaps, separated by the EOS token where the tokenizer
    /// has one. An incomplete last row is dropped; a text that is shorter than a row is one short row.
    ///
    /// # Options
    /// - [rows]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d e", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::texts(["a b c", "d e"]).ids(t, #{ context: 2 }).to_array()  //=> [[0, 1], [2, 3]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ids(ctx: NativeCallContext, text: &mut Text, m: Any, options: Options) -> Fallible<Tensor> {
        Ok(pack::tensor(super::gathered(&ctx, text, &m, &taken(options)?, |row| Ok(row.ids))?)?)
    }

    /// Returns the rows of a text: for each its `ids`, the bytes of its document that each token covers as `spans`, and
    /// the `documents` in it, with the first position of each and the one after its last.
    ///
    /// # Options
    /// - [rows]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d e", #{ kind: "words", special: [], min_frequency: 1 });
    /// let row = data::texts(["a b c", "d e"]).rows(t, #{ context: 2 })[1];
    /// row.spans  //=> [[4, 5], [0, 1]]
    /// row.documents[1]  //=> #{ end: 2, origin: "text 1", start: 1 }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn rows(ctx: NativeCallContext, text: &mut Text, m: Any, options: Options) -> Fallible<Array> {
        Ok(super::gathered(&ctx, text, &m, &taken(options)?, |row| Ok(super::row_map(row)))?)
    }

    /// Returns one column of the labels of a text's tokens: a tensor of the shape of `ids`, with the same options.
    ///
    /// A column of kinds has 0 for none, 1 for the first; `kinds` has their names.
    ///
    /// # Options
    /// - [rows]
    ///
    /// # Example
    /// ```
    /// let text = data::text("grammar", #{ mix: #{ parentheses: 1 } });
    /// let t = data::tokenizer("abc", #{ vocab: 300 });
    /// let depth = text.labels(t, "depth", #{ context: 64, rows: 20 });
    /// [depth.shape, depth.min(), depth.max() > 0]  //=> [[20, 64], 0, true]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn labels(ctx: NativeCallContext, text: &mut Text, m: Any, column: &str, options: Options) -> Fallible<Tensor> {
        let options = taken(options)?;
        let column = pack::column(text, column, &env(&ctx)?.task).map_err(|e| e.about("column"))?;
        Ok(pack::tensor(super::gathered(&ctx, text, &m, &options, |row| pack::values(&row, &column))?)?)
    }

    /// Returns the names of a text's labels: the columns of `labels`.
    ///
    /// # Example
    /// ```
    /// data::text("grammar").columns().contains("depth")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn columns(ctx: NativeCallContext, text: &mut Text) -> Fallible<Array> {
        let found = pack::columns(text, &env(&ctx)?.task)?;
        Ok(found.into_iter().map(|column| Dynamic::from(column.name.to_string())).collect())
    }

    /// Returns the names of the values of a column of kinds, in the order of their numbers; the first is "none".
    ///
    /// # Example
    /// ```
    /// data::text("grammar").kinds("phenomenon").contains("ioi")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn kinds(ctx: NativeCallContext, text: &mut Text, column: &str) -> Fallible<Array> {
        let found = pack::column(text, column, &env(&ctx)?.task).and_then(|column| pack::kinds(&column));
        Ok(found.map_err(|e| e.about("column"))?.into_iter().map(Dynamic::from).collect())
    }
}
