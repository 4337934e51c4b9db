//! The boxes of what branches off the residual stream: attention, recurrent layers, MLPs, experts, inputs of layers.

use std::ops::RangeInclusive;

use super::build::{activation_name, norm_name, short};
use super::parts::{Drawn, Input, SegmentBuilder};
use crate::model::config::{Config, Mixer, QkNorm, Rotary, Scaling};

impl SegmentBuilder<'_> {
    /// Adds a norm of the stream, or only the site behind it where there is no norm.
    pub fn norm(&mut self, columns: RangeInclusive<usize>, scale: &'static str, behind: &'static str) -> Input {
        let name = if self.has(scale) { norm_name(self.config()) } else { String::new() };
        self.add(Drawn::new(name, columns).inside(scale).behind(behind).reads(&[Input::Stream]))
    }

    /// Returns the number of columns of what mixes positions.
    pub fn mixer_width(&self, layer: usize) -> usize {
        match self.config().mixer_of(layer) {
            Mixer::Attention => 3 + usize::from(self.has("kv_latent")) + usize::from(self.has("head_gate")),
            Mixer::Delta | Mixer::StateSpace => 5,
            Mixer::TimeMixing => 6,
        }
    }

    /// Adds what mixes positions, up to the addition to the stream.
    pub fn mixer(&mut self, layer: usize, first: usize, read: Input) {
        let last = first + self.mixer_width(layer) - 1;
        let mixed = match self.config().mixer_of(layer) {
            Mixer::Attention => self.attention(layer, first, read),
            Mixer::Delta => self.delta_net(layer, first, read),
            Mixer::StateSpace => self.state_space(layer, first, read),
            Mixer::TimeMixing => self.time_mixing(layer, first, read),
        };
        let width = self.written_width(layer);
        let is_normed = self.has("attn_post_scale");
        let mut map = Drawn::new("output map", first..=last)
            .detail(format!("{width} to {}", self.config().d_model))
            .details(self.write_scale())
            .inside("head_out")
            .reads(&[mixed]);
        if !is_normed {
            map = map.behind("attn_out");
        }
        let mut out = self.add(map);
        if is_normed {
            out = self.post_norm(first..=last, "attn_post_scale", "attn_out", out);
        }
        self.add_to_stream(out);
    }

    fn post_norm(
        &mut self,
        columns: RangeInclusive<usize>,
        scale: &'static str,
        behind: &'static str,
        read: Input,
    ) -> Input {
        let name = norm_name(self.config());
        self.add(Drawn::new(name, columns).inside(scale).behind(behind).reads(&[read]))
    }

    fn write_scale(&self) -> Option<String> {
        self.config().write_scale.map(|scale| format!("× {}", short(scale)))
    }

    /// Returns the number of coordinates that the output map of a layer reads, where the config's sizes say it.
    fn written_width(&self, layer: usize) -> String {
        let config = self.config();
        match (config.delta_of(layer), config.ssm_of(layer), config.rwkv_of(layer)) {
            (Some(delta), _, _) => (delta.value_heads * delta.d_value).to_string(),
            (None, Some(ssm), _) => ssm.d_inner().to_string(),
            (None, None, Some(rwkv)) => rwkv.d_inner().to_string(),
            (None, None, None) => (config.heads * config.d_value_of(layer)).to_string(),
        }
    }

    fn attention(&mut self, layer: usize, first: usize, read: Input) -> Input {
        let config = self.config();
        let d_head = config.d_head_of(layer);
        let is_latent = self.has("kv_latent");
        let of_values = first + 2 + usize::from(is_latent);
        let of_keys = first + 1..=of_values - 1;
        let is_turned = self.has("q_rot");

        let asked = if self.has("q_latent") {
            self.add(Drawn::new("latent of queries", first..=first).detail("norm").behind("q_latent").reads(&[read]))
        } else {
            read
        };
        let queries = Drawn::new("queries", first..=first)
            .detail(format!("{} heads of {d_head}", config.heads))
            .behind("q")
            .reads(&[asked]);
        let mut q = self.add(queries);
        let mut keys_read = vec![read];
        let mut values_read = vec![read];
        if is_latent {
            let shared = Drawn::new("shared part of keys", first + 1..=first + 1).behind("k_shared").reads(&[read]);
            let shared = self.add(shared);
            let latent = Drawn::new("latent of keys and values", first + 2..=of_values)
                .detail("norm")
                .behind("kv_latent")
                .reads(&[read]);
            let latent = self.add(latent);
            keys_read = vec![shared, latent];
            values_read = vec![latent];
        }
        let mut k = read;
        let mut v = read;
        let from = config.keys_from(layer);
        if from.is_none() {
            let heads = config.kv_heads_of(layer);
            let plural = if heads == 1 { "head" } else { "heads" };
            let size = format!("{heads} {plural} of {d_head}");
            k = self.add(Drawn::new("keys", of_keys.clone()).detail(size.clone()).behind("k").reads(&keys_read));
            let values = Drawn::new("values", of_values..=of_values)
                .detail(if is_latent { format!("{heads} {plural} of {}", config.d_value_of(layer)) } else { size })
                .details(config.values_are_keys(layer).then(|| "by the map of keys".to_string()))
                .details(config.value_norm.then(|| "norm of each head".to_string()))
                .behind("v")
                .reads(&values_read);
            v = self.add(values);
        }
        if is_turned {
            let turned = turned(config, layer);
            let name = turned.first().cloned().unwrap_or_else(|| "as they are".into());
            let rest: Vec<String> = turned.into_iter().skip(1).collect();
            let queries = Drawn::new(name.clone(), first..=first).details(rest.clone()).behind("q_rot").reads(&[q]);
            q = self.add(queries);
            if from.is_none() {
                k = self.add(Drawn::new(name, of_keys.clone()).details(rest).behind("k_rot").reads(&[k]));
            }
        }
        if let Some(from) = from {
            let kept = Drawn::new(format!("keys and values of layer {from}"), first + 1..=of_values);
            let kept = self.add(kept);
            self.lower(kept, self.row_of(q));
            k = kept;
            v = kept;
        }
        let by_layer = config.score_scale_by_layer.then(|| "÷ (layer + 1)".to_string());
        let scores = Drawn::new(format!("q · k × {}", short(config.score_scale)), first..=of_values - 1)
            .details(by_layer)
            .details(config.score_cap.map(|cap| format!("cap of {}", short(cap))))
            .details(config.alibi.is_some().then(|| "+ slope of the head × position (ALiBi)".to_string()))
            .behind("scores")
            .reads(&[q, k]);
        let scores = self.add(scores);
        let reach = match (config.causal, config.window(layer)) {
            (true, Some(window)) => format!("over the last {window} keys"),
            (true, None) => "over earlier keys and its own".into(),
            (false, Some(window)) => format!("over keys within a window of {window}"),
            (false, None) => "over all keys".into(),
        };
        let pattern = Drawn::new("softmax", first..=of_values - 1)
            .detail(reach)
            .details(config.sinks.then(|| "and the sink of the head".to_string()))
            .behind("pattern")
            .reads(&[scores]);
        let pattern = self.add(pattern);
        let mixed = Drawn::new("sum of values by the pattern", first..=of_values).reads(&[pattern, v]);
        if !self.has("head_gate") {
            return self.add(mixed.behind("z"));
        }
        let mixed = self.add(mixed);
        let of_gate = of_values + 1;
        let gate = Drawn::new("gates", of_gate..=of_gate)
            .detail(format!("{} heads of {d_head}", config.heads))
            .behind("head_gate")
            .reads(&[read]);
        let gate = self.add(gate);
        self.add(Drawn::new("× sigmoid of the gate", first..=of_gate).behind("z").reads(&[mixed, gate]))
    }

    fn row_of(&self, input: Input) -> usize {
        match input {
            Input::Stream => 0,
            Input::Part(part) => self.segment.parts[part].row,
        }
    }

    fn delta_net(&mut self, layer: usize, first: usize, read: Input) -> Input {
        let config = self.config();
        let Some(delta) = config.delta_of(layer) else { return read };
        let act = activation_name(config.act);
        let convolved = format!("convolution of {}, {act}", delta.kernel);
        let of_keys = format!("{} heads of {}", delta.key_heads, delta.d_key);
        let of_values = format!("{} heads of {}", delta.value_heads, delta.d_value);
        let column = |name: &str, place: usize, size: &String, site| {
            let place = first + place;
            Drawn::new(name, place..=place).detail(size).detail(&convolved).behind(site).reads(&[read])
        };
        let q = self.add(column("queries", 0, &of_keys, "delta_q"));
        let k = self.add(column("keys", 1, &of_keys, "delta_k"));
        let v = self.add(column("values", 2, &of_values, "delta_v"));
        let rates = Drawn::new("strengths and decays", first + 3..=first + 3)
            .detail("sigmoid; - rate × softplus")
            .behind("delta_beta")
            .behind("delta_decay")
            .reads(&[read]);
        let rates = self.add(rates);
        let memory = Drawn::new("memory: one matrix for each head", first..=first + 3)
            .detail("it decays, is corrected at the key to the value, and read by the query")
            .behind("delta_read")
            .reads(&[q, k, v, rates]);
        let memory = self.add(memory);
        let gate = Drawn::new("gates", first + 4..=first + 4).detail(of_values).behind("delta_gate").reads(&[read]);
        let gate = self.add(gate);
        self.add(Drawn::new("RMS norm of each head, × SiLU of the gate", first..=first + 4).reads(&[memory, gate]))
    }

    fn state_space(&mut self, layer: usize, first: usize, read: Input) -> Input {
        let config = self.config();
        let Some(ssm) = config.ssm_of(layer) else { return read };
        let convolved = format!("convolution of {}, {}", ssm.kernel, activation_name(config.act));
        let groups = if ssm.groups == 1 { "1 group".into() } else { format!("{} groups", ssm.groups) };
        let of_groups = format!("{groups} of {}", ssm.d_state);
        let of_head = if ssm.is_mamba() {
            format!("{} channels", ssm.heads)
        } else {
            format!("{} heads of {}", ssm.heads, ssm.d_head)
        };
        let inner = ssm.inner_norm_eps.map(|_| "RMS norm".to_string());
        let inputs = if ssm.is_mamba() { first..=first + 3 } else { first..=first };
        let inputs =
            Drawn::new("inputs", inputs).detail(of_head.clone()).detail(&convolved).behind("ssm_x").reads(&[read]);
        let x = self.add(inputs);
        // In Mamba the inputs make what is written and read with, and the steps.
        let source = if ssm.is_mamba() { x } else { read };
        let convolved = (!ssm.is_mamba()).then_some(convolved);
        let column = |name: &str, place: usize, size: &String, site| {
            let place = first + place;
            Drawn::new(name, place..=place).detail(size).behind(site).reads(&[source])
        };
        let b = column("write vectors B", 1, &of_groups, "ssm_b").details(convolved.clone()).details(inner.clone());
        let b = self.add(b);
        let c = column("read vectors C", 2, &of_groups, "ssm_c").details(convolved).details(inner.clone());
        let c = self.add(c);
        let rank = ssm.dt_rank.map(|rank| format!("by a rank of {rank}"));
        let bounds = match (ssm.dt_least, ssm.dt_most) {
            (None, None) => None,
            (least, most) => {
                let [least, most] = [least, most].map(|bound| bound.map_or("..".into(), short));
                Some(format!("within {least} and {most}"))
            }
        };
        let steps =
            column("steps", 3, &of_head, "ssm_dt").details(rank).details(inner).detail("softplus").details(bounds);
        let dt = self.add(steps);
        let state = Drawn::new("state of each head", first..=first + 3)
            .detail("it decays, B writes x × step to it, C reads it; x × a weight is added")
            .inside("ssm_state")
            .behind("ssm_read")
            .reads(&[x, b, c, dt]);
        let state = self.add(state);
        let gate = Drawn::new("gates", first + 4..=first + 4).detail(of_head).behind("ssm_gate").reads(&[read]);
        let gate = self.add(gate);
        let normed = if ssm.is_mamba() { "" } else { ", RMS norm of each group" };
        self.add(Drawn::new(format!("× SiLU of the gate{normed}"), first..=first + 4).reads(&[state, gate]))
    }

    fn time_mixing(&mut self, layer: usize, first: usize, read: Input) -> Input {
        let config = self.config();
        let Some(rwkv) = config.rwkv_of(layer) else { return read };
        let of_head = format!("{} heads of {}", rwkv.heads, rwkv.d_head);
        let by_rank = |rank: usize| format!("by a rank of {rank}");
        let mixed = Drawn::new("mixtures with the token before", first..=first + 5)
            .detail("one for each of what is made of them")
            .reads(&[read]);
        let mixed = self.add(mixed);
        let column = |name: &str, place: usize, site| {
            let place = first + place;
            Drawn::new(name, place..=place).behind(site).reads(&[mixed])
        };
        let r = self.add(column("receptance", 0, "rwkv_r").detail(&of_head));
        let decays = column("decays", 1, "rwkv_w").detail(by_rank(rwkv.decay_rank)).detail("- e^(-1/2) × sigmoid");
        let w = self.add(decays);
        let rates = column("learning rates", 2, "rwkv_a").detail(by_rank(rwkv.rate_rank)).detail("sigmoid");
        let a = self.add(rates);
        let keys = Drawn::new("removal keys and keys", first + 3..=first + 3)
            .detail(&of_head)
            .detail("of length 1; with the learning rates")
            .behind("rwkv_kk")
            .behind("rwkv_k")
            .reads(&[mixed, a]);
        let k = self.add(keys);
        let from = config.values_from(layer);
        let shared = from.map(|from| format!("with those of layer {from}, {}", by_rank(rwkv.value_rank)));
        let v = self.add(column("values", 4, "rwkv_v").detail(&of_head).details(shared));
        let state = Drawn::new("state of each head", first..=first + 4)
            .detail("it decays, loses what the removal key reads × the learning rate, gets v at k; r reads it")
            .inside("rwkv_state")
            .behind("rwkv_read")
            .reads(&[r, w, a, k, v]);
        let state = self.add(state);
        let gates = column("gates", 5, "rwkv_g").detail(by_rank(rwkv.gate_rank)).detail("sigmoid between its maps");
        let gate = self.add(gates);
        let opened = Drawn::new("layer norm of each head, + the value × a bonus, × the gate", first..=first + 5)
            .reads(&[state, gate]);
        self.add(opened)
    }

    /// Returns the number of columns of a layer's MLP and experts.
    pub fn mlp_width(&self, layer: usize) -> usize {
        self.own_mlp_width(layer) + if self.is_beside(layer) { 2 } else { 0 }
    }

    /// Returns the number of columns of what reads the input of a layer's MLP.
    pub fn own_mlp_width(&self, layer: usize) -> usize {
        match self.config().experts_of(layer) {
            Some(experts) if !experts.beside => 2 + usize::from(experts.shared.is_some()),
            _ => 2,
        }
    }

    fn is_beside(&self, layer: usize) -> bool {
        self.config().experts_of(layer).is_some_and(|experts| experts.beside)
    }

    /// Adds the MLP or the experts of a layer, or both, up to the addition to the stream.
    pub fn mlp(&mut self, layer: usize, columns: RangeInclusive<usize>, read: Input) {
        let first = *columns.start();
        let own = first..=first + self.own_mlp_width(layer) - 1;
        let is_normed = self.has("mlp_post_scale");
        let read = if self.has("mlp_shifted") {
            self.add(Drawn::new("mixture with the token before", own.clone()).behind("mlp_shifted").reads(&[read]))
        } else {
            read
        };
        let mut sum = match self.config().experts_of(layer) {
            None => self.plain_mlp(layer, own, read, if is_normed { None } else { Some("mlp_out") }),
            Some(experts) if !experts.beside => {
                let router = Drawn::new("router", first + 1..=first + 1).reads(&[read]);
                let router = self.router(layer, router);
                let routed = self.experts(layer, first..=first + 1).reads(&[read, router]);
                let mut inputs = vec![self.add(routed)];
                if let Some(width) = experts.shared {
                    let shared = Drawn::new("shared expert", first + 2..=first + 2)
                        .detail(format!("{width} neurons"))
                        .detail(if experts.ungated_shared { "every token" } else { "every token, × a gate" })
                        .reads(&[read]);
                    inputs.push(self.add(shared));
                }
                self.sum(own, &inputs, is_normed)
            }
            Some(_) => {
                let mlp = self.plain_mlp(layer, own, read, None);
                let normed = norm_name(self.config());
                let mlp = self.add(Drawn::new(&*normed, first..=first + 1).behind("mlp_own").reads(&[mlp]));
                let input = Drawn::new(&*normed, first + 2..=first + 2).behind("experts_in").reads(&[Input::Stream]);
                let input = self.add(input);
                let router = Drawn::new("router", first + 3..=first + 3).detail(&*normed).reads(&[Input::Stream]);
                let router = self.router(layer, router);
                let routed = self.experts(layer, first + 2..=first + 3).reads(&[input, router]);
                let routed = self.add(routed);
                let out = Drawn::new(&*normed, first + 2..=first + 3).behind("experts_out").reads(&[routed]);
                let out = self.add(out);
                self.sum(columns.clone(), &[mlp, out], is_normed)
            }
        };
        if is_normed {
            sum = self.post_norm(columns, "mlp_post_scale", "mlp_out", sum);
        }
        self.add_to_stream(sum);
    }

    fn sum(&mut self, columns: RangeInclusive<usize>, inputs: &[Input], is_normed: bool) -> Input {
        let scale = self.write_scale();
        if let ([one], None, true) = (inputs, &scale, is_normed) {
            return *one;
        }
        let mut sum = Drawn::new(if inputs.len() > 1 { "sum" } else { "" }, columns).reads(inputs);
        if let (Some(scale), true) = (&scale, sum.name.is_empty()) {
            sum.name.clone_from(scale);
        } else {
            sum = sum.details(scale);
        }
        if !is_normed {
            sum = sum.behind("mlp_out");
        }
        self.add(sum)
    }

    fn router(&mut self, layer: usize, router: Drawn) -> Input {
        let Some(experts) = self.config().experts_of(layer) else { return self.add(router.behind("router")) };
        let of = if experts.sigmoid { "sigmoid of each of" } else { "softmax over" };
        let router = router
            .detail(format!("{of} {}", experts.count))
            .details(experts.choice_bias.then(|| "a bias where experts are chosen".to_string()))
            .details(experts.groups.as_ref().map(|groups| format!("of {} of {} groups", groups.chosen, groups.count)));
        self.add(router.behind("router"))
    }

    fn experts(&self, layer: usize, columns: RangeInclusive<usize>) -> Drawn {
        let config = self.config();
        let Some(experts) = config.experts_of(layer) else { return Drawn::new("experts", columns) };
        let act = match experts.clamped {
            Some(clamped) => format!("gate within {}, (up + 1)", short(clamped.limit)),
            None => activation_name(config.act).into(),
        };
        Drawn::new(format!("{} of {} experts", experts.chosen, experts.count), columns)
            .detail(format!("{} neurons each, {act}", experts.d_mlp))
            .details(experts.renormalised.then(|| "weights that add up to 1".to_string()))
            .details(experts.scale.map(|scale| format!("weights × {}", short(scale))))
    }

    fn plain_mlp(
        &mut self,
        layer: usize,
        columns: RangeInclusive<usize>,
        read: Input,
        behind: Option<&'static str>,
    ) -> Input {
        let config = self.config();
        let first = *columns.start();
        let act = activation_name(config.act);
        let width = config.d_mlp_of(layer);
        let size = format!("{} to {width}", config.d_model);
        let active = config.active_neurons.map(|count| format!("the {count} largest stay"));
        let hidden = if self.has("mlp_up") {
            let gate = Drawn::new("gate", first..=first).detail(&*size).behind("mlp_pre").reads(&[read]);
            let gate = self.add(gate);
            let up = Drawn::new("up projection", first + 1..=first + 1).detail(size).behind("mlp_up").reads(&[read]);
            let up = self.add(up);
            let opened = Drawn::new(format!("{act} of the gate × up"), columns.clone());
            self.add(opened.details(active).behind("mlp_hidden").reads(&[gate, up]))
        } else {
            let up = Drawn::new("up projection", columns.clone()).detail(size).behind("mlp_pre").reads(&[read]);
            let up = self.add(up);
            self.add(Drawn::new(act, columns.clone()).details(active).behind("mlp_hidden").reads(&[up]))
        };
        // Beside experts the sum of both is scaled.
        let scale = if self.is_beside(layer) { None } else { self.write_scale() };
        let mut down = Drawn::new("down projection", columns)
            .detail(format!("{width} to {}", config.d_model))
            .details(scale)
            .reads(&[hidden]);
        down.behind.extend(behind);
        self.add(down)
    }

    /// Adds what a layer makes of its own input.
    pub fn layer_input(&mut self) {
        let config = self.config();
        let width = config.layer_inputs.unwrap_or_default();
        let gate = Drawn::new("gate", 0..=0)
            .detail(format!("{} to {width}", config.d_model))
            .behind("layer_gate")
            .reads(&[Input::Stream]);
        let gate = self.add(gate);
        let input =
            Drawn::new("input of the layer", 1..=1).detail("of the token and its embedding").behind("layer_input");
        let input = self.add(input);
        let act = activation_name(config.act);
        let opened = Drawn::new(format!("{act} of the gate × input"), 0..=1);
        let hidden = self.add(opened.behind("layer_hidden").reads(&[gate, input]));
        let is_normed = self.has("layer_post_scale");
        let mut map = Drawn::new("output map", 0..=1).detail(format!("{width} to {}", config.d_model)).reads(&[hidden]);
        if !is_normed {
            map = map.behind("layer_out");
        }
        let mut out = self.add(map);
        if is_normed {
            out = self.post_norm(0..=1, "layer_post_scale", "layer_out", out);
        }
        self.add_to_stream(out);
    }
}

/// Lists what is done to queries and keys of a layer before their products.
fn turned(config: &Config, layer: usize) -> Vec<String> {
    let norm = match config.qk_norm {
        QkNorm::None => None,
        QkNorm::Head => Some("norm of each head"),
        QkNorm::Whole => Some("norm of all heads"),
    };
    let rotary = match (&config.rotary_local, config.window(layer)) {
        _ if config.unrotated.contains(&layer) => None,
        (Some(local), Some(_)) => Some(local),
        _ => config.rotary.as_ref(),
    };
    norm.map(String::from)
        .into_iter()
        .chain(rotary.into_iter().flat_map(|rotary| rotation(config, layer, rotary)))
        .collect()
}

fn rotation(config: &Config, layer: usize, rotary: &Rotary) -> Vec<String> {
    let d_head = config.d_head_of(layer);
    let of = if rotary.dims < d_head { format!("RoPE, {} of {d_head}", rotary.dims) } else { "RoPE".into() };
    let scaling = match &rotary.scaling {
        Scaling::None => None,
        Scaling::Linear { factor } => Some(format!("scaled by {}", short(*factor))),
        Scaling::Llama3 { factor, .. } => Some(format!("Llama 3 scaling, {}", short(*factor))),
        Scaling::Yarn { factor, .. } => Some(format!("YaRN, {}", short(*factor))),
        Scaling::Proportional { pairs, .. } => Some(format!("first {pairs} pairs")),
    };
    let pairs = rotary.neighbours.then(|| "pairs of neighbours".to_string());
    [of, format!("theta {}", short(rotary.theta))].into_iter().chain(scaling).chain(pairs).collect()
}
