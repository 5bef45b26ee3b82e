//! In what lengths the kernel maps.

use super::Model;

/// How long a page is. arm64 kernels are built for 4, 16 or 64 KiB (arch/arm64/Kconfig).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page(u64);

/// What the counts of pages that the programs read are made with.
const SMALLEST: u64 = 4096;

impl Default for Page {
    fn default() -> Self {
        Page(SMALLEST)
    }
}

impl Page {
    /// In bytes.
    pub(super) fn bytes(self) -> u64 {
        self.0
    }

    /// Whether there are no smaller ones.
    pub(super) fn is_smallest(self) -> bool {
        self.0 == SMALLEST
    }

    /// The end of the page that ends an address is in, or the address itself, if a page ends there.
    pub(super) fn up(self, address: u64) -> u64 {
        address.div_ceil(self.0).saturating_mul(self.0)
    }

    /// Where a range of so many bytes ends.
    pub(super) fn end_of(self, start: u64, bytes: u64) -> u64 {
        start.saturating_add(self.up(bytes))
    }
}

impl Model {
    /// Pages are so long, in bytes: before the first record. 0, as captures have it that say
    /// nothing of it, and what is no page's length, is 4096.
    pub fn set_page(&mut self, bytes: u32) {
        let bytes = u64::from(bytes);
        if bytes.is_power_of_two() && bytes > SMALLEST {
            self.page = Page(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ModelConfig, testing::Script, tests::begin};
    use super::*;

    const PRIVATE: u32 = 0x22;

    /// Bytes that are mapped at the end.
    fn mapped(script: &mut Script, page: u32) -> u64 {
        let mut model = Model::new(ModelConfig::default());
        model.set_page(page);
        model.feed(&script.take());
        let key = model.living().next().expect("the root");
        let ranges = model.holdings(key).expect("it lives").ranges;
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    #[test]
    fn a_range_is_as_long_as_the_kernel_makes_it() {
        let pages = [
            (0, 0x1_b000),
            (4096, 0x1_b000),
            (16384, 0x1_c000),
            (65536, 0x2_0000),
        ];
        for (page, left) in pages {
            let (mut script, root) = begin();
            script.map(&root, 0x40_0000, 0x2_0001, PRIVATE, -1);
            script.unmap(&root, 0x41_0000, 0x5001);
            assert_eq!(mapped(&mut script, page), left, "{page}");
        }
    }
}
