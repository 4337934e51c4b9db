//! Text from the model inside the binary, so that experiments start at once on text like its training text.

use std::sync::{Arc, LazyLock};

use super::{Asset, read_asset};
use crate::base::Result;

static ASSET: LazyLock<Result<Arc<Asset>>> = LazyLock::new(|| read_asset(bytes()?).map(Arc::new));

/// Returns the text as it is stored.
#[cfg(not(target_family = "wasm"))]
pub fn bytes() -> Result<&'static [u8]> {
    Ok(include_bytes!("../../../assets/tiny/sample.bin"))
}

/// Returns the text as it is stored, which the page was given.
#[cfg(target_family = "wasm")]
pub fn bytes() -> Result<&'static [u8]> {
    crate::base::disk::inside("sample.bin")
}

pub fn stored() -> Result<Arc<Asset>> {
    ASSET.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Task;
    use crate::base::files::Files;
    use crate::checkpoint::load;
    use crate::data::sample::{Settings, fingerprint};
    use crate::model::Model;

    #[test]
    fn what_is_stored_was_drawn_from_the_model_inside() {
        let task = Task::default();
        let files = Files::unrecorded(std::path::Path::new(".")).unwrap();
        let model = Model::load(&files, load::INSIDE, &load::LoadSettings::default(), &task).unwrap();
        let asset = stored().unwrap();
        assert_eq!(asset.weights, fingerprint(&model.decoder, &task).unwrap());
        assert_eq!(asset.settings, Settings::default());
        assert_eq!(asset.context as usize, model.decoder.config().context);
        assert!(asset.ids.len() >= 500_000 && bytes().unwrap().len() < 1_000_000, "{} bytes", bytes().unwrap().len());
    }
}
