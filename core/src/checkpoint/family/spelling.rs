//! The names of the sizes that every model has: ours, and those in published configs.

use super::{FAMILIES, Keys};
use crate::common::*;

/// Sizes by our names, and the aliases of each.
const SPELLINGS: [(&str, &[&str]); 11] = [
    ("layers", &["num_hidden_layers", "n_layer", "num_layers", "n_layers"]),
    ("d_model", &["hidden_size", "n_embd"]),
    ("heads", &["num_attention_heads", "n_head", "num_heads", "n_heads"]),
    ("kv_heads", &["num_key_value_heads", "n_key_value_heads", "num_kv_heads"]),
    ("d_head", &["head_dim"]),
    ("d_mlp", &["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"]),
    ("vocab", &["vocab_size", "d_vocab"]),
    ("context", &["max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len"]),
    ("act", &["hidden_act", "activation_function", "act_fn", "activation"]),
    ("norm_eps", &["layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps"]),
    ("tied", &["tie_word_embeddings"]),
];

/// Lists the names that published configs have for the sizes.
pub fn aliases<'a>() -> impl Iterator<Item = &'a str> {
    SPELLINGS.iter().flat_map(|(_, theirs)| theirs.iter().copied())
}

/// Returns the options of a model of our own family, with aliases replaced by our names.
pub fn ours(given: &Map<String, Value>) -> Result<Map<String, Value>> {
    respelt(given, |key| SPELLINGS.iter().find(|(_, theirs)| theirs.contains(&key)).map(|(ours, _)| *ours))
}

/// Returns the options of a model of a published family, each under the name that this family's configs have for it.
pub fn theirs(config_json: &Value) -> Result<Value> {
    let Some(given) = config_json.as_object() else { return Ok(config_json.clone()) };
    let asked = asked(config_json)?;
    let spelt = respelt(given, |key| {
        let is_row = |(ours, theirs): &&(&'static str, &[&'static str])| *ours == key || theirs.contains(&key);
        let (_, theirs) = SPELLINGS.iter().find(is_row)?;
        let first = theirs.iter().find(|name| asked.contains(*name)).copied()?;
        // GPT-2's configs have the context twice.
        let is_second = asked.contains(key) && given.contains_key(first);
        (!is_second).then_some(first)
    })?;
    Ok(Value::Object(spelt))
}

/// Suggests what was meant by the first option that the family does not read, of all names that sizes have.
pub fn hint(config_json: &Value) -> Result<Option<String>> {
    let asked = asked(config_json)?;
    let mut given = config_json.as_object().into_iter().flat_map(Map::keys).filter(|key| *key != "model_type");
    let Some(unread) = given.find(|key| !asked.contains(key.as_str())) else { return Ok(None) };
    let known = SPELLINGS.iter().filter(|(_, theirs)| theirs.iter().any(|name| asked.contains(name)));
    let spellings = known.flat_map(|(ours, theirs)| theirs.iter().copied().chain([*ours]));
    Ok(names::suggestion(unread, asked.iter().copied().chain(spellings)))
}

/// Returns the keys that the family of a config reads.
fn asked(config_json: &Value) -> Result<BTreeSet<&'static str>> {
    let name = config_json.get("model_type").and_then(Value::as_str);
    let Some(family) = FAMILIES.iter().find(|family| Some(family.name) == name) else { return Ok(BTreeSet::new()) };
    let mut keys = Keys::new(config_json)?;
    // A wrong value is reported later, when it is read under its own name.
    let _config_or_error = (family.read)(&mut keys);
    Ok(keys.asked().clone())
}

fn respelt(given: &Map<String, Value>, name: impl Fn(&str) -> Option<&'static str>) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for (key, value) in given {
        let spelt = name(key).unwrap_or(key);
        let other = given.keys().find(|other| *other != key && name(other).unwrap_or(other) == spelt);
        if let Some(other) = other {
            return Err(err!(Argument, "expected one of `{key}` and `{other}`, found both")
                .hint("they are two names of the same"));
        }
        all.insert(spelt.into(), if key == spelt { value.clone() } else { worded(spelt, value) });
    }
    Ok(all)
}

/// Translates the name of an activation function for another key.
fn worded(key: &str, value: &Value) -> Value {
    let word = match (key, value.as_str()) {
        ("act", Some("gelu_new" | "gelu_fast" | "gelu_pytorch_tanh")) => "gelu_tanh",
        ("act", Some("gelu_python")) => "gelu",
        ("act", Some("swish")) => "silu",
        ("hidden_act" | "activation_function" | "activation", Some("gelu_tanh")) => "gelu_new",
        _ => return value.clone(),
    };
    word.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::checkpoint::described::described;

    #[test]
    fn sizes_have_either_spelling() {
        let config = |options| described(&options).map(|(config, _)| config);
        let ours = json!({"layers": 1, "d_model": 16, "heads": 2, "d_mlp": 16, "vocab": 10, "context": 2048});
        let theirs = json!({"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16,
            "vocab_size": 10, "max_position_embeddings": 2048});
        assert_eq!(config(theirs.clone()), config(ours.clone()));
        for family in ["falcon", "gpt_neox", "gpt2", "llama"] {
            let of = |options: &serde_json::Value| {
                let mut options = options.clone();
                options["model_type"] = family.into();
                config(options).unwrap_or_else(|e| panic!("{family}: {e}"))
            };
            assert_eq!(of(&theirs), of(&ours), "{family}");
            assert_eq!((of(&ours).layers, of(&ours).context, of(&ours).vocab), (1, 2048, 10), "{family}");
        }
        let (_, published) = described(&json!({"model_type": "gpt2", "layers": 1, "act": "gelu_tanh"})).unwrap();
        let written = published.unwrap().config_json;
        assert_eq!(written, json!({"model_type": "gpt2", "n_layer": 1, "activation_function": "gelu_new"}));
        let both = config(json!({"model_type": "gpt_neox", "layers": 1, "num_hidden_layers": 2})).unwrap_err();
        assert_eq!(both.message, "expected one of `layers` and `num_hidden_layers`, found both");
        let unknown = config(json!({"model_type": "gpt_neox", "contexts": 1})).unwrap_err();
        assert!(unknown.message.contains("`contexts`"), "{unknown}");
        assert_eq!(unknown.hint.as_deref(), Some("did you mean `context`?"));
        let twice = config(json!({"model_type": "gpt2", "layers": 1, "n_ctx": 32})).unwrap();
        assert_eq!(twice.context, 32);
        let hint = |options| config(options).unwrap_err().hint.unwrap();
        assert_eq!(hint(json!({"vocab": 10, "n_layr": 2})), "did you mean `n_layer`?");
        assert_eq!(hint(json!({"vocab": 10, "hidden_sise": 16})), "did you mean `hidden_size`?");
        assert_eq!(hint(json!({"vocab": 10, "contxt": 16})), "did you mean `context`?");
        assert_eq!(hint(json!({"model_type": "gpt2", "n_layr": 2})), "did you mean `n_layer`?");
        assert_eq!(hint(json!({"model_type": "gpt_neox", "hiden_size": 16})), "did you mean `hidden_size`?");
        let misspelt = config(json!({"layers": 1, "vocb": 32})).unwrap_err();
        assert_eq!(misspelt.hint.as_deref(), Some("it is the number of tokens; `vocb` is no option"));
    }
}
