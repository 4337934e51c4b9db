//! Exchanges on disk: every answer under a hash of its question, so that it is paid for once and a run repeats offline.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::cache::CacheFolder;
use crate::base::files::hex;
use crate::base::json as reading;
use crate::common::*;

/// Returns the folder of exchanges in the cache folder.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("exchanges")
}

/// The request that was sent, and the answer that came back.
#[derive(Serialize, Deserialize)]
pub struct Exchange {
    pub address: String,
    pub request: String,
    answer: String,
}

/// The exchanges of a cache folder.
pub struct ExchangeCache(CacheFolder);

impl ExchangeCache {
    /// Opens the exchanges of a cache folder; None if the rules of a run deny to read or to write there.
    pub fn open(cache: &Path, access: &Access) -> Result<Option<Self>> {
        Ok(CacheFolder::open(&folder(cache), access)?.map(Self))
    }

    /// Finds the answer that came to a request before.
    pub fn find(&self, address: &str, request: &str) -> Result<Option<String>> {
        let place = self.place(address, request);
        let damaged = |why: &str| {
            err!(Format, "expected a kept answer in {}, found {why}", place.display()).hint("delete it to ask again")
        };
        self.0.find(&place, |files| {
            let found: Exchange = reading::read_content(&files.bytes(&place)?, |_| damaged("a damaged file"))?;
            if found.address == address && found.request == request {
                Ok(found.answer)
            } else {
                Err(damaged("the answer to another question"))
            }
        })
    }

    pub fn put(&self, address: &str, request: &str, answer: &str) -> Result<()> {
        let exchange = Exchange { address: address.into(), request: request.into(), answer: answer.into() };
        let text = serde_json::to_string(&exchange).map_err(|e| err!(Bug, "an exchange is no JSON: {e}"))?;
        self.0.put(|files| files.save_whole(&self.place(address, request), text))
    }

    fn place(&self, address: &str, request: &str) -> PathBuf {
        let hash = hex(&Sha256::digest(format!("{address}\n{request}")));
        self.0.folder.join(hash.get(..2).unwrap_or_default()).join(format!("{hash}.json"))
    }
}
