//! The config of an adapter of PEFT: what changes the computation is obeyed or refused by its name.

use tokenizers::utils::SysRegex;

use crate::checkpoint::family::keys::{Keys, same};
use crate::common::*;
use crate::model::adapter::AdapterSettings;

/// Keys that say how an adapter was made, or which modules it has, which its tensors say, too.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "velora_config",
];

/// Keys of features that are not implemented, with a clause on each.
const REFUSED: &[(&str, &str)] = &[
    ("use_dora", "the adapter is a DoRA"),
    ("lora_bias", "the adapter has biases of its low-rank matrices"),
    ("use_qalora", "the adapter is a QALoRA"),
    ("use_bdlora", "the adapter is block-diagonal"),
    ("layer_replication", "the adapter repeats layers of its base"),
    ("trainable_token_indices", "the adapter has embeddings of single tokens"),
    ("target_parameters", "the adapter changes parameters that are no modules"),
    ("alora_invocation_tokens", "the adapter acts behind certain tokens only"),
    ("arrow_config", "the adapter is routed between several"),
    ("kasa_config", "the adapter is a KaSA"),
    ("monteclora_config", "the adapter is a MonteCLoRA"),
];

/// Initialisations of PEFT that change the weights of the base.
const CHANGES_BASE: &[&str] = &["pissa", "olora", "corda", "loftq", "lora_ga"];

const MERGE: &str = "merge it in PEFT (`merge_and_unload`), and load what that saves as a model";

/// The config of an adapter, as far as its tensors are read by it.
#[derive(Debug)]
pub struct PeftConfig {
    pub settings: AdapterSettings,
    /// The base that the adapter names, if it names one.
    pub base: Option<String>,
    ranks: Vec<Pattern<usize>>,
    alphas: Vec<Pattern<f64>>,
}

/// A regular expression of module paths, and what holds for those that it matches.
#[derive(Debug)]
struct Pattern<T> {
    modules: SysRegex,
    value: T,
}

impl PeftConfig {
    pub fn read(json: &Value, ignore: &[String]) -> Result<Self> {
        let mut keys = Keys::new(json)?;
        match keys.word("peft_type")? {
            Some("LORA") => {}
            Some(other) => {
                return Err(err!(Format, "expected `LORA` as `peft_type`, found `{other}`, which is not implemented")
                    .hint(MERGE));
            }
            None => return Err(err!(Format, "expected `peft_type`, found none").hint("it is LORA in those of PEFT")),
        }
        for (key, what) in REFUSED {
            let given = keys.value(key).filter(|value| says_something(value));
            if let Some(value) = given.filter(|_| !ignore.iter().any(|ignored| ignored == key)) {
                return Err(err!(Format, "{what} (`{key}` is {value}), which is not implemented").hint(MERGE));
            }
        }
        if let Some(how) = keys.value("init_lora_weights").and_then(Value::as_str) {
            let how = how.to_lowercase();
            if CHANGES_BASE.iter().any(|one| how.starts_with(one)) {
                return Err(err!(Format, "the adapter belongs to a base that was changed for it (`init_lora_weights` is {how:?})")
                    .hint("save it in PEFT with `path_initial_model_for_weight_conversion`, which makes it one of the plain base"));
            }
        }
        // They configure initialisations, which were refused if they were used.
        keys.ignore(&["corda_config", "loftq_config", "lora_ga_config"]);
        let rank = keys.size("r", 8)?;
        if rank == 0 {
            return Err(err!(Format, "expected a rank of at least 1 as `r`, found 0"));
        }
        let settings = AdapterSettings {
            rank,
            alpha: keys.number("lora_alpha", 8.0)?,
            rslora: keys.flag("use_rslora", false)?,
            bias: keys.word("bias")?.unwrap_or("none").to_string(),
            saved: keys.words("modules_to_save")?.unwrap_or_default().into_iter().map(String::from).collect(),
            task: keys.word("task_type")?.map(String::from),
        };
        let base = keys.word("base_model_name_or_path")?.filter(|base| !base.is_empty()).map(String::from);
        let as_rank =
            |value: &Value| value.as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| *rank > 0);
        let ranks = patterns(&mut keys, "rank_pattern", "ranks of at least 1", as_rank)?;
        let alphas = patterns(&mut keys, "alpha_pattern", "numbers", Value::as_f64)?;
        keys.finish_beside(HARMLESS, ignore)?;
        Ok(Self { settings, base, ranks, alphas })
    }

    /// Returns the rank of a module by its path in the base.
    pub fn rank_of(&self, module: &str) -> usize {
        matching(&self.ranks, module).unwrap_or(self.settings.rank)
    }

    /// Returns alpha of a module by its path in the base.
    pub fn alpha_of(&self, module: &str) -> f64 {
        matching(&self.alphas, module).unwrap_or(self.settings.alpha)
    }
}

/// Reads a map of patterns, whose first one that matches a module holds for it.
fn patterns<T>(
    keys: &mut Keys,
    key: &'static str,
    wanted: &str,
    of: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<Pattern<T>>> {
    let Some(value) = keys.value(key).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let wrong = || keys.wrong(key, &format!("a map of {wanted}"), value);
    let fields = value.as_object().ok_or_else(wrong)?;
    let pattern = |(modules, value): (&String, &Value)| -> Result<Pattern<T>> {
        // The rule of PEFT (`get_pattern_key`).
        let modules = SysRegex::new(&format!(r"\A(?:.*\.)?(?:{modules})\z"))
            .map_err(|e| err!(Format, "expected a regular expression in `{key}`, found `{modules}`: {e}"))?;
        Ok(Pattern { modules, value: of(value).ok_or_else(wrong)? })
    };
    fields.iter().map(pattern).collect()
}

fn matching<T: Copy>(patterns: &[Pattern<T>], module: &str) -> Option<T> {
    let found = patterns.iter().find(|pattern| pattern.modules.find_iter(module).next().is_some());
    found.map(|pattern| pattern.value)
}

/// Returns whether a value is another one than none, false, or empty.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(all) => !all.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        other => !same(other, &false.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(more: &Value) -> String {
        let mut config = json!({ "peft_type": "LORA", "r": 8 });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        PeftConfig::read(&config, &[]).unwrap_err().to_string()
    }

    #[test]
    fn patterns_match_ends_of_paths_as_in_peft() {
        let config = json!({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": { "layers.0.self_attn.q_proj": 2, "v_proj|o_proj": 3 },
            "alpha_pattern": { ".*\\.1\\.mlp\\..*": 5, "q_proj": 6.5 },
        });
        let config = PeftConfig::read(&config, &[]).unwrap();
        let of = |module: &str| (config.rank_of(module), config.alpha_of(module));
        assert_eq!(of("model.layers.0.self_attn.q_proj"), (2, 6.5));
        assert_eq!(of("model.layers.10.self_attn.q_proj"), (4, 6.5));
        assert_eq!(of("model.layers.1.self_attn.o_proj"), (3, 8.0));
        assert_eq!(of("model.layers.1.self_attn.xo_proj"), (4, 8.0));
        assert_eq!(of("model.layers.1.mlp.up_proj"), (4, 5.0));
        assert_eq!(of("v_proj"), (3, 8.0));
    }

    #[test]
    fn what_would_compute_something_else_is_refused_by_name() {
        assert!(refused(&json!({ "peft_type": "IA3" })).contains("expected `LORA` as `peft_type`, found `IA3`"));
        assert!(refused(&json!({ "use_dora": true })).contains("the adapter is a DoRA (`use_dora` is true)"));
        assert!(refused(&json!({ "lora_bias": true })).contains("`lora_bias`"));
        assert!(refused(&json!({ "target_parameters": ["mlp.experts.gate_up_proj"] })).contains("`target_parameters`"));
        assert!(refused(&json!({ "alora_invocation_tokens": [1] })).contains("`alora_invocation_tokens` is [1]"));
        assert!(refused(&json!({ "init_lora_weights": "pissa_niter_4" })).contains("a base that was changed for it"));
        assert!(
            refused(&json!({ "rank_pattern": { "q_proj(": 2 } }))
                .contains("expected a regular expression in `rank_pattern`")
        );
        assert!(refused(&json!({ "rank_pattern": { "q_proj": 0 } })).contains("expected a map of ranks of at least 1"));
        assert!(refused(&json!({ "turns": 3 })).contains("the config key `turns` (3) is not known here"));
        assert!(refused(&json!({ "r": 0 })).contains("expected a rank of at least 1"));
        assert!(PeftConfig::read(&json!({}), &[]).unwrap_err().message.contains("`peft_type`"));
    }

    #[test]
    fn what_is_switched_off_or_of_training_alone_is_read_over() {
        let config = json!({
            "peft_type": "LORA", "r": 4, "use_rslora": true, "use_dora": false, "lora_bias": false, "layer_replication": null,
            "target_modules": ["q_proj"], "lora_dropout": 0.1, "init_lora_weights": "gaussian", "loftq_config": {},
            "corda_config": null, "inference_mode": true, "task_type": "CAUSAL_LM", "base_model_name_or_path": "",
        });
        let config = PeftConfig::read(&config, &[]).unwrap();
        assert_eq!((config.settings.alpha, config.settings.bias.as_str(), config.base), (8.0, "none", None));
        assert_eq!(config.settings.scaling(4, 8.0), 4.0);
        let more = json!({ "peft_type": "LORA", "r": 4, "turns": 3 });
        assert!(PeftConfig::read(&more, &["turns".into()]).is_ok());
    }
}
