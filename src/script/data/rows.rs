//! Texts as rows of tokens: ids, the origin of each token, and its labels.

use std::ops::Range;

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::text::map;
use crate::base::{Result, memory};
use crate::data::Text;
use crate::data::pack::{self, Row, Stretch};
use crate::err;
use crate::model::labels::Values;
use crate::model::tokenizer::Tokenizer;
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::value::{Any, Fallible, Given, Options, given};
use crate::tensor::{Device, Tensor};

/// What rows are read, and with which tokenizer.
pub struct Wanted {
    tokenizer: Tokenizer,
    context: usize,
    count: Option<usize>,
}

impl Wanted {
    /// For a model or a tokenizer, the first argument, and the options.
    fn read(m: &Dynamic, map: Options) -> Result<Self> {
        let mut read = options(map);
        let (context, count) = (read.get("context", Given::size)?, read.get("rows", Given::size)?);
        read.finish()?;
        let (tokenizer, own) = match (m.read_lock::<Model>(), m.read_lock::<Tokenizer>()) {
            (Some(model), _) => (model.tokenizer().map_err(|e| e.about("m"))?.clone(), Some(model.config().context)),
            (None, Some(tokenizer)) => (tokenizer.clone(), None),
            (None, None) => return Err(given("m", m).refuse("a model or a tokenizer")),
        };
        let context = context.or(own).ok_or_else(|| {
            err!(Argument, "expected `context`, the length of rows, beside a tokenizer")
                .hint("#{ context: 256 }")
                .about("m")
        })?;
        Ok(Self { tokenizer, context, count })
    }

    fn gathered<T>(&self, ctx: &NativeCallContext, text: &Text, keep: impl Fn(Row) -> Result<T>) -> Fallible<Vec<T>> {
        Ok(pack::gathered(text, &self.tokenizer, self.context, self.count, &env(ctx)?.task, keep)?)
    }
}

/// Rows of numbers as integers `[rows, pos]`.
fn tensor(rows: Vec<Vec<u32>>) -> Result<Tensor> {
    let shape = (rows.len(), rows.first().map_or(0, Vec::len));
    memory::check((shape.0 * shape.1 * size_of::<i64>()) as u128, || "the tensor of a text".into())?;
    let numbers: Vec<i64> = rows.into_iter().flatten().map(i64::from).collect();
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

/// A row as a map.
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
    /// The token ids of a text in rows, as a tensor [rows, pos].
    ///
    /// `m` is a model or a tokenizer. Documents are packed without gaps, separated by the EOS token where the tokenizer
    /// has one. An incomplete last row is dropped; a text that is shorter than a row is one short row.
    ///
    /// # Options
    /// - `context` = the model's: tokens in a row
    /// - `rows` = all: maximum number of rows
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d e", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::texts(["a b c", "d e"]).ids(t, #{ context: 2 }).to_array()  //=> [[0, 1], [2, 3]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ids(ctx: NativeCallContext, text: &mut Text, m: Any, options: Options) -> Fallible<Tensor> {
        let wanted = Wanted::read(&m, options)?;
        let rows = wanted.gathered(&ctx, text, |row| Ok(row.ids))?;
        Ok(super::tensor(rows)?)
    }

    /// The rows of a text: for each its `ids`, the bytes of its document that each token covers as `spans`, and the
    /// `documents` in it, with the first position of each and the one after its last.
    ///
    /// # Options
    /// - `context` = the model's: tokens in a row
    /// - `rows` = all: maximum number of rows
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
        let wanted = Wanted::read(&m, options)?;
        wanted.gathered(&ctx, text, |row| Ok(super::row_map(row)))
    }

    /// One column of the labels of a text's tokens: a tensor of the shape of `ids`, with the same options.
    ///
    /// A column of kinds has 0 for none, 1 for the first; `kinds` has their names.
    ///
    /// # Options
    /// - `context` = the model's: tokens in a row
    /// - `rows` = all: maximum number of rows
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
        let wanted = Wanted::read(&m, options)?;
        let column = pack::column(text, column, &env(&ctx)?.task).map_err(|e| e.about("column"))?;
        let rows = wanted.gathered(&ctx, text, |row| pack::values(&row, &column))?;
        Ok(super::tensor(rows)?)
    }

    /// The names of a text's labels: the columns of `labels`.
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

    /// The names of the values of a column of kinds, in the order of their numbers; the first is "none".
    ///
    /// # Example
    /// ```
    /// data::text("grammar").kinds("phenomenon").contains("ioi")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn kinds(ctx: NativeCallContext, text: &mut Text, column: &str) -> Fallible<Array> {
        let found = pack::column(text, column, &env(&ctx)?.task).map_err(|e| e.about("column"))?;
        match found.values {
            Values::Kind(names) => {
                Ok(["none"].into_iter().chain(names).map(|name| Dynamic::from(name.to_string())).collect())
            }
            Values::Number | Values::Since => {
                Err(err!(Argument, "expected a column of kinds, found numbers in `{column}`").about("column").into())
            }
        }
    }
}
