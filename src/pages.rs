//! The guide that is inside the binary: pages, and the scripts and pictures that they lead to. `tests/site.rs` compares
//! the site that is made of them with the one that is made of the repository.
//!
//! The pages are not in the library, which would be built anew whenever one of them changes.

use microtome::script::docs::guide::EmbeddedFile;

macro_rules! files {
    ($($folder:literal: $($name:literal)+;)+) => {
        &[$($((concat!($folder, $name), include_bytes!(concat!("../", $folder, $name)) as &[u8]),)+)+]
    };
}

pub const PAGES: &[EmbeddedFile] = files! {
    "":
        "ARCHITECTURE.md" "CHANGELOG.md" "CONTRIBUTING.md" "README.md" "SECURITY.md";
    "assets/":
        "explorer.png" "parenthesis.png";
    "docs/":
        "README.md" "agents.md" "attribution-graphs.md" "benchmarks-agents.md" "benchmarks-attribution-graph.md"
        "benchmarks-circuit.md" "benchmarks-dashboard.md" "benchmarks-edges.md" "benchmarks-editor.md"
        "benchmarks-explorer.md" "benchmarks-flagship.md" "benchmarks-forward-avx2.md" "benchmarks-forward-xeon.md"
        "benchmarks-forward.md" "benchmarks-gpu.md" "benchmarks-gradients.md" "benchmarks-growth.md"
        "benchmarks-passes-avx2.md" "benchmarks-passes-xeon.md" "benchmarks-passes.md" "benchmarks-patching.md"
        "benchmarks-quality.md" "benchmarks-quantised.md" "benchmarks-real-avx2.md" "benchmarks-real-xeon.md" "benchmarks-real.md"
        "benchmarks-rounding.md" "benchmarks-sae-avx2.md" "benchmarks-sae.md" "benchmarks-store.md" "benchmarks-train.md"
        "benchmarks.md" "blocks.md" "charts.md" "circuit-localization.md" "dashboards.md" "data-frames.md"
        "dictionaries-as-wholes.md" "dictionaries.md" "edges.md" "editors.md" "evaluating-dictionaries.md"
        "experiments.md" "explaining-features.md" "explorer.md" "feature-circuits.md" "features-and-circuits.md"
        "from-python.md" "gpu.md" "grammar.md" "guide.md" "interventions.md" "judging-circuits.md" "libraries.md"
        "live.md" "methods.md" "model-diffing.md" "models.md" "neuronpedia.md" "notebooks.md"
        "parameter-decomposition.md" "parenthesis-circuit.md" "probes-and-lenses.md" "reports.md" "scale.md"
        "scripts-and-access.md" "showing-circuits.md" "sparse-models.md" "speed.md" "sweeps.md" "tensors.md"
        "text-and-tasks.md" "tiny-model.md" "trackers.md" "trust.md" "your-own-model.md";
    "docs/live/":
        "parenthesis.rhai";
    "docs/notebooks/":
        "circuit.ipynb" "dictionary.ipynb" "first-hour.ipynb";
    "docs/pictures/":
        "chart-annotated.svg" "chart-axes.svg" "chart-bars.svg" "chart-both-bars.svg" "chart-column.svg"
        "chart-density.svg" "chart-fit.svg" "chart-frontier.svg" "chart-grey.svg" "chart-heat-panels.svg" "chart-heat.svg"
        "chart-histogram.svg" "chart-intervals.svg" "chart-log.svg" "chart-panels.svg" "chart-points.svg"
        "chart-print-heat.svg" "chart-print.svg" "chart-right.svg" "chart-serif.svg" "editor.png" "learning.svg" "lens.svg"
        "library.png" "losses.svg" "neuronpedia.png" "notebook.png" "parenthesis-gemma.png" "session.png" "singular-values.svg"
        "tensorboard.png";
    "docs/pictures/blocks/":
        "bert.svg" "bloom.svg" "cohere.svg" "cohere2.svg" "deepseek_v2.svg" "deepseek_v2_groups.svg"
        "deepseek_v3.svg" "falcon.svg" "falcon_alibi.svg" "falcon_grouped.svg" "falcon_mamba.svg" "gemma.svg"
        "gemma2.svg" "gemma3_text.svg" "gemma4_text.svg" "gemma4_text_experts.svg" "glm4.svg" "gpt2.svg"
        "gpt_bigcode.svg" "gpt_bigcode_heads.svg" "gpt_neo.svg" "gpt_neox.svg" "gpt_neox_serial.svg"
        "gpt_oss.svg" "gptj.svg" "granite.svg" "granitemoehybrid.svg" "granitemoehybrid_experts.svg" "llama.svg"
        "llama3_rope.svg" "mamba.svg" "mamba2.svg" "mistral.svg" "mixtral.svg" "modernbert.svg"
        "modernbert_biases.svg" "mpt.svg" "olmo2.svg" "olmo3.svg" "opt.svg" "phi.svg" "qwen2_moe.svg"
        "qwen3.svg" "qwen3_5_moe_text.svg" "qwen3_5_text.svg" "qwen3_moe.svg" "rwkv7.svg"
        "smollm3.svg" "stablelm.svg";
    "examples/":
        "01_values.rhai" "02_tensors.rhai" "03_linear_algebra.rhai" "04_models.rhai" "05_sites.rhai" "06_hooks.rhai"
        "07_attribution.rhai" "08_report.rhai" "09_libraries.rhai" "10_files_and_errors.rhai" "embed.rs" "figures.rs"
        "session.rs" "torture.rs";
    "examples/index/":
        "README.md";
    "examples/library/heads/":
        "README.md";
    "examples/sweep/":
        "hundredth.rhai" "plan.rhai" "scale.rhai" "simulation.rhai";
    "examples/tasks/":
        "README.md" "answer_ranks.rhai" "attribution_graph.rhai" "explored.rhai" "feature_attribution.rhai"
        "induction_scores.rhai" "integrated_gradients.rhai" "interrupted_sweep.rhai" "own_dictionary.rhai"
        "own_library.rhai" "pandas_and_numpy.rhai" "patch_grid.rhai" "question_probe.rhai" "quote_feature.rhai"
        "resampled_sentences.rhai" "steering.rhai" "two_layers.rhai" "two_records.rhai";
    "examples/tasks/explored/":
        "explore-1.rhai";
    "examples/tasks/own_library/":
        "lib.rhai" "microtome.toml";
    "scripts/":
        "README.md" "addition_circles.rhai" "apostrophe_feature.rhai" "attribution_graph.rhai" "circuit_localization.rhai" "compiled_circuits.rhai" "das.rhai"
        "dashboard.rhai" "depth_scores.rhai" "dictionary_pareto.rhai" "dictionary_recovery.rhai" "factual_recall.rhai" "feature_circuits.rhai" "figure5.rhai"
        "four_methods.rhai" "gender_erasure.rhai" "geometry.rhai" "heads.rhai" "induction.rhai" "interpretability.rhai"
        "ioi_heads.rhai" "known_circuits.rhai" "lenses.rhai" "line_ends.rhai" "line_lengths.rhai" "lorsa.rhai" "lorsa_graph.rhai" "model_diffing.rhai" "modular_addition.rhai"
        "monosemantic_neurons.rhai"
        "parameter_decomposition.rhai" "parenthesis_circuit.rhai" "parenthesis_judged.rhai" "patchscopes.rhai"
        "persistence.rhai" "pronoun.rhai" "pythia_dictionaries.rhai" "qk_attributions.rhai" "relp.rhai"
        "safety_monitor.rhai" "smallest_circuit.rhai" "sparse_bridges.rhai" "sparse_model.rhai" "sparse_tasks.rhai"
        "steering_sweep.rhai"
        "steering_table.rhai" "superposition.rhai" "suppression_absorption.rhai" "synth_bench.rhai" "thought_anchors.rhai" "train_tiny.rhai"
        "temporal_features.rhai" "training_recipes.rhai" "traits.rhai" "transcoder_adapters.rhai" "tree_stability.rhai"
        "universality.rhai" "what_a_finetune_changed.rhai";
    "scripts/gallery/":
        "ablation_interactions.png" "addition_circles.png" "apostrophe_feature.png" "attribution_graph.png" "circuit_localization.png" "compiled_circuits.png" "das.png"
        "dashboard.png" "depth_scores.png" "dictionary_pareto.png" "dictionary_recovery.png" "factual_recall.png" "feature_circuits.png"
        "figure5.png"
        "four_methods.png" "gender_erasure.png" "geometry.png" "heads.png" "induction.png" "induction_heads.png"
        "interference.png" "interpretability.png" "ioi_heads.png" "known_circuits.png" "larger_dictionaries.png"
        "lenses.png" "line_ends.png" "line_lengths.png" "lorsa.png" "lorsa_graph.png" "mlp_dictionaries.png" "model_diffing.png" "modular_addition.png" "monosemantic_neurons.png"
        "parameter_decomposition.png" "parameter_decomposition_identity.png" "parameter_decomposition_mlp.png"
        "parameter_decomposition_residual.png"
        "parenthesis_circuit.png" "parenthesis_judged.png" "parts_of_the_layer.png" "patchscopes.png"
        "persistence.png" "pronoun.png" "qk_attributions.png" "relp.png" "safety_monitor.png" "smallest_circuit.png"
        "sparse_bridges.png" "sparse_model.png" "sparse_tasks.png"
        "splitting.png" "steering_sweep.png" "steering_table.png" "superposition.png" "suppression_absorption.png"
        "synth_bench.png" "temporal_features.png" "thought_anchors.png" "towards_monosemanticity.png"
        "training_recipes.png" "traits.png"
        "transcoder_adapters.png" "tree_stability.png" "universality.png"
        "what_a_finetune_changed.png";
};
