//! Proposals for the usual work: what is asked, a script that begins it, and what belongs to an honest answer.

use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::Value;

use crate::base::{Result, names};
use crate::{bail, err};

/// Largest number of characters of an argument.
const LONGEST: usize = 2_000;

/// An argument of a proposal, which stands in its script as a word in capitals.
struct ProposalArgument {
    name: &'static str,
    word: &'static str,
    about: &'static str,
    usual: &'static str,
}

const MODEL: ProposalArgument = ProposalArgument {
    name: "model",
    word: "MODEL",
    about: "The model: tiny, a folder, a file, or org/name of the hub",
    usual: "tiny",
};

struct Proposal {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    arguments: &'static [ProposalArgument],
    script: &'static str,
    /// Work that follows on the script, and words that belong to its result.
    then: &'static str,
}

const TABLE: &[Proposal] = &[
    Proposal {
        name: "find_heads",
        title: "Find the heads that move a name",
        about: "Activation and path patching on indirect object identification, with a control of random weights",
        arguments: &[MODEL],
        script: include_str!("prompts/heads.rhai"),
        then: "Name the heads whose interval excludes zero, how much of each is a direct effect, and the largest effect in \
            the control. Then look at what such a head attends to (help: Model.attention_map), and ablate it.",
    },
    Proposal {
        name: "train_dictionary",
        title: "Train and judge a dictionary",
        about: "A sparse autoencoder of one site: fit, held-out measures, random directions beside it",
        arguments: &[
            MODEL,
            ProposalArgument { name: "site", word: "SITE", about: "The site to explain", usual: "resid_post.3" },
        ],
        script: include_str!("prompts/dictionary.rhai"),
        then: "Say FVE, L0, dead share and loss recovered on held-out text, with n, beside the random directions. Repeat the \
            fit with another seed before you say that a feature is there.",
    },
    Proposal {
        name: "trace_token",
        title: "Trace a token",
        about: "Logit lens, direct logit attribution and ablations for one prediction",
        arguments: &[
            MODEL,
            ProposalArgument {
                name: "text",
                word: "TEXT",
                about: "The text before the token",
                usual: "Once upon a time there was a little",
            },
        ],
        script: include_str!("prompts/trace.rhai"),
        then: "Say which parts matter by ablation, and where attribution says otherwise. One prompt is n = 1: make some \
            twenty prompts of the same kind and repeat it on their mean before you say anything of the model.",
    },
    Proposal {
        name: "steer",
        title: "Steer and measure the damage",
        about: "A steering vector in several strengths: effect, KL on other text, random directions",
        arguments: &[MODEL],
        script: include_str!("prompts/steer.rhai"),
        then: "Name the strength at which the effect is largest for its damage, both with intervals, and what random \
            directions of the same length do. Let the model write with and without the vector, and read it.",
    },
    Proposal {
        name: "compare_models",
        title: "Compare two models",
        about: "Bits per byte of two models on held-out documents, and of their difference, with intervals",
        arguments: &[
            MODEL,
            ProposalArgument {
                name: "other",
                word: "OTHER",
                about: "The other model, or the words random weights",
                usual: "random weights",
            },
        ],
        script: include_str!("prompts/compare.rhai"),
        then: "Say the difference with its margin and n. For what one model has that the other has not, fit a crosscoder \
            (resource microtome://guide/model-diffing).",
    },
];

/// Lists the proposals for clients.
pub fn list() -> Vec<Prompt> {
    let argument = |argument: &ProposalArgument| {
        let about = format!("{}; {} if left out", argument.about, argument.usual);
        PromptArgument::new(argument.name).with_description(about).with_required(false)
    };
    let prompt = |proposal: &Proposal| {
        let arguments = proposal.arguments.iter().map(argument).collect();
        Prompt::new(proposal.name, Some(proposal.about), Some(arguments)).with_title(proposal.title)
    };
    TABLE.iter().map(prompt).collect()
}

/// Returns a proposal with its arguments in their places.
pub fn of(name: &str, arguments: &JsonObject) -> Result<GetPromptResult> {
    let all = TABLE.iter().map(|proposal| proposal.name);
    let Some(proposal) = TABLE.iter().find(|proposal| proposal.name == name) else {
        return Err(err!(Name, "there is no prompt {name:?}").maybe_hint(names::suggestion(name, all)));
    };
    if let Some(other) = arguments.keys().find(|key| !proposal.arguments.iter().any(|known| known.name == *key)) {
        let known: Vec<&str> = proposal.arguments.iter().map(|known| known.name).collect();
        bail!(Argument, "the prompt {name} has no argument {other:?}; it has {}", known.join(", "));
    }
    let script = with_arguments(proposal, arguments)?;
    let text = format!(
        "{}.\n\nBegin with this script (tool `run`), look at what it says, and go on from there.\n\n```rhai\n{script}```\n\n{}\n",
        proposal.title, proposal.then
    );
    let message = PromptMessage::new_text(Role::User, text);
    Ok(GetPromptResult::new(vec![message]).with_description(proposal.about))
}

fn with_arguments(proposal: &Proposal, arguments: &JsonObject) -> Result<String> {
    let mut script = proposal.script.to_string();
    for argument in proposal.arguments {
        let given = match arguments.get(argument.name) {
            None | Some(Value::Null) => argument.usual,
            Some(Value::String(text)) if text.chars().count() <= LONGEST => text,
            Some(_) => bail!(Argument, "expected a text of at most {LONGEST} characters for {:?}", argument.name),
        };
        // A text is written in scripts as in JSON.
        script = script.replace(argument.word, &Value::from(given).to_string());
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Session;

    #[test]
    fn scripts_of_proposals_have_no_mistakes() {
        let session = Session::for_tests();
        let odd = "a \"quoted\" \\ text\nof ${two} lines";
        for proposal in TABLE {
            for given in [None, Some(odd)] {
                let fill = |argument: &ProposalArgument| Some((argument.name.to_string(), Value::from(given?)));
                let arguments: JsonObject = proposal.arguments.iter().filter_map(fill).collect();
                let script = with_arguments(proposal, &arguments).unwrap();
                let found = session.check(proposal.name, &script);
                assert!(found.is_empty(), "{}: {found:?}\n{script}", proposal.name);
                assert!(proposal.arguments.iter().all(|argument| !script.contains(argument.word)));
            }
        }
        assert!(of("nothing", &JsonObject::new()).is_err());
        assert!(of("steer", &JsonObject::from_iter([("site".to_string(), Value::Null)])).is_err());
    }
}
