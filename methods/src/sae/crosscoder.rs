//! Crosscoders: dictionaries that read and write several sites at once, or one site of several models (Lindsey et al.
//! 2024). They are dictionaries of rows in which the sites are concatenated.

use super::{About, Activation, Parts, ReadSite, Sae, Span};
use crate::common::*;
use crate::tensor::dtype;

/// A feature whose share at a site is more than this belongs to that site alone.
const OWN: f64 = 0.9;

impl Sae {
    /// Returns the sites that a crosscoder of so many models reads in each of them.
    pub fn sites_of_models(&self, models: usize) -> Result<Vec<String>> {
        let about = &self.parts().about;
        let of_first = about.sites.iter().filter(|site| site.model == Some(0));
        let sites: Vec<String> = of_first.map(|site| site.name.clone()).collect();
        let named = (0..models).flat_map(|model| sites.iter().map(move |site| ReadSite::of_model(site, model)));
        if sites.is_empty() || about.spans.len() != about.sites.len() || !named.eq(about.sites.iter().cloned()) {
            let found = if about.sites.is_empty() { "one that names none".into() } else { about.site() };
            return Err(err!(Argument, "expected a crosscoder of {models} models, found {found}")
                .hint("`sae::crosscoder([base, tuned], site, text)` fits one"));
        }
        Ok(sites)
    }

    /// Returns the directions at one of several sites: `[d_sae, width]`.
    pub fn directions_at(&self, site: usize) -> Result<Tensor> {
        let spans = &self.parts().about.spans;
        let Some(span) = spans.get(site) else {
            return Err(err!(Argument, "expected one of {} sites, found number {site}", spans.len()));
        };
        let start = spans.iter().take(site).map(|span| span.width).sum();
        Ok(self.directions().narrow(1, start, span.width)?.contiguous()?)
    }

    /// Computes the norm of each feature's direction at each site, with all sites scaled as during training, over the
    /// sum of these norms: `[d_sae, sites]`. A feature of one site alone is 1 there; one that all share equally is 1
    /// over their number everywhere. A feature that writes nothing has 0.
    pub fn shares(&self) -> Result<Tensor> {
        let spans = &self.parts().about.spans;
        if spans.is_empty() {
            return Err(err!(Argument, "expected a dictionary of several sites, found one that says nothing of them")
                .hint("`sae::crosscoder(m, sites, text, ..)` fits one"));
        }
        let lengths = spans.iter().enumerate().map(|(site, span)| {
            let part = dtype::convert(&self.directions_at(site)?, DType::F64)?;
            Ok((part.sqr()?.sum(1)?.sqrt()? * span.scale)?)
        });
        let lengths = Tensor::stack(&lengths.collect::<Result<Vec<_>>>()?, 1)?;
        let sums = lengths.sum_keepdim(1)?.maximum(f64::MIN_POSITIVE)?;
        dtype::convert(&lengths.broadcast_div(&sums)?, DType::F32)
    }

    /// Tabulates for each site the mean relative norm of its directions, and the number of features of that site alone.
    pub fn sites_table(&self) -> Result<Table> {
        let about = &self.parts().about;
        let shares = self.shares()?;
        let name = |site: usize| about.sites.get(site).map_or_else(|| format!("site {site}"), ToString::to_string);
        let rows = (0..about.spans.len()).map(|site| {
            let column = floats(&shares.narrow(1, site, 1)?)?;
            let own = column.iter().filter(|share| **share > OWN).count();
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            Ok(vec![name(site).into(), mean.into(), own.into()])
        });
        Ok(Table::new(
            format!("shares of sites; a feature is a site's own above {OWN}"),
            ["site", "mean share", "own features"],
            rows.collect::<Result<Vec<_>>>()?,
        ))
    }
}

/// Turns the dictionary of rows whose sites were multiplied by their scales into one of the rows themselves.
///
/// With y = s x in each coordinate, E y + b = (E s) x + b; and y_hat = D c + b' is x_hat = (D / s) c + b' / s.
/// Directions are then normalised, except for top-k, whose codes are compared with each other and so have to stay as
/// they are.
pub fn unscaled(sae: &Sae, spans: &[Span]) -> Result<Sae> {
    let parts = sae.parts();
    let factors = factors(spans)?.to_dtype(parts.encoder.dtype())?.to_device(parts.encoder.device())?;
    if parts.skip.is_some() {
        return Err(err!(Bug, "a crosscoder with a skip connection"));
    }
    let bias = parts.decoder_bias.as_ref().map(|bias| bias.div(&factors)).transpose()?;
    let more = Parts {
        encoder: parts.encoder.broadcast_mul(&factors)?,
        decoder: parts.decoder.broadcast_div(&factors)?,
        decoder_bias: bias,
        about: named(About { spans: spans.to_vec(), ..parts.about.clone() }),
        ..parts.clone()
    };
    let compared = matches!(more.activation, Activation::TopK(_));
    Sae::new(if compared { more } else { more.with_unit_directions()? })
}

/// Names the kind crosscoder, and keeps the kind of the training in the metadata.
fn named(mut about: About) -> About {
    const NAME: &str = "crosscoder";
    if about.kind.as_str() != NAME {
        let kind = std::mem::replace(&mut about.kind, NAME.into());
        about.more.insert("fitted_as".into(), kind.as_str().into());
    }
    about
}

/// Returns the scale of each coordinate.
pub fn factors(spans: &[Span]) -> Result<Tensor> {
    let all: Vec<f32> = spans.iter().flat_map(|span| std::iter::repeat_n(span.scale as f32, span.width)).collect();
    Ok(Tensor::new(all, &crate::tensor::Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Cell;
    use crate::base::random::stream;
    use crate::sae::baselines;
    use crate::tensor::create;

    const SPANS: [Span; 2] = [Span { width: 2, scale: 0.5 }, Span { width: 3, scale: 4.0 }];

    #[test]
    fn scales_are_folded_into_the_weights() {
        let mut parts = baselines::random(5, 7, None, &mut stream(1, "directions", 0)).unwrap().parts().clone();
        parts.encoder_bias = Some(create::randn(&[7], DType::F32, &mut stream(2, "bias", 0)).unwrap());
        parts.decoder_bias = Some(create::randn(&[5], DType::F32, &mut stream(3, "bias", 0)).unwrap());
        parts.centred = true;
        for activation in [Activation::Relu, Activation::TopK(3)] {
            let scaled = Sae::new(Parts { activation, ..parts.clone() }).unwrap();
            let found = unscaled(&scaled, &SPANS).unwrap();
            let x = create::randn(&[6, 5], DType::F32, &mut stream(4, "x", 0)).unwrap();
            let factors = factors(&SPANS).unwrap();
            let expected = scaled.reconstruct(&x.broadcast_mul(&factors).unwrap()).unwrap();
            let expected = expected.broadcast_div(&factors).unwrap();
            let difference = floats(&(found.reconstruct(&x).unwrap() - expected).unwrap()).unwrap();
            assert!(difference.iter().all(|d| d.abs() < 1e-4), "{difference:?}");
            let norms = floats(&found.directions().sqr().unwrap().sum(1).unwrap()).unwrap();
            let unit = norms.iter().all(|norm| (norm - 1.0).abs() < 1e-5);
            assert_eq!(unit, matches!(found.parts().activation, Activation::Relu));
        }
    }

    #[test]
    fn shares_say_whose_a_feature_is() {
        let eye = baselines::identity(3).unwrap().parts().clone();
        let spans = vec![Span { width: 2, scale: 1.0 }, Span { width: 1, scale: 3.0 }];
        let decoder =
            Tensor::new(&[[1.0_f32, 0.0, 0.0], [0.6, 0.0, 0.2], [0.0, 0.0, 0.0]], &crate::tensor::Device::Cpu);
        let about = About { spans, sites: vec!["a".into(), "b".into()], ..About::default() };
        let sae = Sae::new(Parts { decoder: decoder.unwrap(), about, ..eye }).unwrap();
        assert_eq!(sae.shares().unwrap().to_vec2::<f32>().unwrap(), [[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]);
        assert_eq!(sae.directions_at(1).unwrap().to_vec2::<f32>().unwrap(), [[0.0], [0.2], [0.0]]);
        let table = sae.sites_table().unwrap();
        assert_eq!(table.rows[0], [Cell::from("a"), Cell::Float(0.5), 1usize.into()]);
        assert!(sae.directions_at(2).is_err());
        assert!(baselines::identity(3).unwrap().shares().is_err());
    }
}
