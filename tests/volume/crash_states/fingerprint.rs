//! Fingerprints of images, so that each distinct state is checked once.

use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::page::PAGE;
use hayloft::runtime::sim::pages::Pages;
use xxhash_rust::xxh3::Xxh3Default;
use xxhash_rust::xxh3::xxh3_64;

use super::model::State;

const FILE: &str = "1.0.vol";
pub const CHECKPOINT: &str = "1.0.ckpt";

/// Hashes images that share most of their pages.
#[derive(Default)]
pub struct Fingerprints {
    base: Pages,
    /// Hashes of the pages of `base`.
    hashes: Vec<u64>,
}

fn page_hash(page: Option<&[u8; PAGE]>) -> u64 {
    match page {
        Some(page) if *page != [0; PAGE] => xxh3_64(page),
        _ => 0,
    }
}

impl Fingerprints {
    fn pages(&self, file: &Pages) -> Vec<u64> {
        let known = self.hashes.iter().copied().chain(std::iter::repeat(0));
        let pages = file.pages_beside(&self.base).zip(known);
        pages.map(|((page, shared), known)| if shared { known } else { page_hash(page) }).collect()
    }

    /// Sets the image that the next ones are expected to resemble.
    pub fn expect(&mut self, image: &Image) {
        let Some(file) = image.files.get(FILE) else { return };
        self.hashes = self.pages(file);
        self.base = file.clone();
    }

    /// Fingerprint of an image and of the states allowed for it.
    pub fn of<'a>(&self, image: &Image, allowed: impl Iterator<Item = &'a State>) -> u64 {
        let mut hash = Xxh3Default::new();
        for page in self.pages(&image.files[FILE]) {
            hash.update(&page.to_le_bytes());
        }
        // An unfinished checkpoint is left out: it makes no difference.
        if let Some(checkpoint) = image.files.get(CHECKPOINT) {
            for page in Self::default().pages(checkpoint) {
                hash.update(&page.to_le_bytes());
            }
        }
        for value in allowed.flatten() {
            hash.update(&value.unwrap_or(0).to_le_bytes());
        }
        hash.digest()
    }
}
