//! The settings of a step of Adam, as callers give them and as loops need them.

/// The smallest norm that a row is divided by, where rows are kept at norm 1.
pub const SHORTEST: f32 = 1e-8;

/// The settings of an update (Loshchilov and Hutter 2019, algorithm 2: decoupled weight decay).
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    pub rate: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    pub decay: f64,
    /// Factor of all gradients, applied first (gradient clipping).
    pub shrink: f64,
    /// 1 - beta^t for the t-th step: the bias correction of the moments, which start at 0.
    pub begun: [f64; 2],
}

/// The settings in the form that the loop needs.
#[derive(Clone, Copy)]
pub struct Factors {
    pub shrink: f32,
    pub betas: [f32; 2],
    /// 1 - beta, to f32 of its own.
    pub rests: [f32; 2],
    /// 1 / sqrt(1 - beta'^t).
    pub correction: f32,
    pub eps: f32,
    /// rate / (1 - beta^t).
    pub rate: f32,
    pub keep: f32,
}

impl Factors {
    pub fn of(settings: AdamW) -> Self {
        let AdamW { rate, betas, eps, decay, shrink, begun } = settings;
        Self {
            shrink: shrink as f32,
            betas: betas.map(|beta| beta as f32),
            rests: betas.map(|beta| (1.0 - beta) as f32),
            correction: (1.0 / begun[1].sqrt()) as f32,
            eps: eps as f32,
            rate: (rate / begun[0]) as f32,
            keep: (1.0 - rate * decay) as f32,
        }
    }
}
