//! Keys and values of the tokens that a sequence has read, in pages; cloning shares them, and writing copies the last page only.
//!
//! Source of the pages: Kwon et al., "Efficient memory management for large language model serving with PagedAttention" (2023).

use std::sync::Arc;

use super::{
    attention::Heads,
    functions::{LANES, add_rows, softmax, times_columns},
    scratch::with_scratch,
    tile::Isa,
};

/// Tokens of a page: as many as are looked at side by side.
const PAGE: usize = LANES;

/// Keys and values of all layers for the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: usize,
    width: usize,
    /// Each `layers * 2 * PAGE * width`: for a layer the keys of the page's tokens, one column a token, then their values, one row a token.
    pages: Vec<Arc<[f32]>>,
    length: usize,
}

impl Cache {
    /// An empty one; `width` values a key and a value.
    pub fn new(layers: usize, width: usize) -> Cache {
        Cache {
            layers,
            width,
            pages: Vec::new(),
            length: 0,
        }
    }

    /// Tokens read.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes room for so many tokens more, and counts them as read.
    pub fn grow(&mut self, tokens: usize) {
        // A page that others share too is copied when it is written to.
        self.length += tokens;
        while self.pages.len() * PAGE < self.length {
            self.pages
                .push(vec![0.0; self.layers * 2 * PAGE * self.width].into());
        }
    }

    /// Writes key and value of a token.
    pub fn write(&mut self, layer: usize, token: usize, key: &[f32], value: &[f32]) {
        let (size, place) = (PAGE * self.width, token % PAGE);
        let page = Arc::make_mut(&mut self.pages[token / PAGE]);
        let (keys, values) = page[layer * 2 * size..(layer + 1) * 2 * size].split_at_mut(size);
        let column = keys[place..].iter_mut().step_by(PAGE);
        column.zip(key).for_each(|(slot, x)| *slot = *x);
        values[place * self.width..(place + 1) * self.width].copy_from_slice(value);
    }

    /// What one head of a token sees of the tokens up to it.
    pub fn look(
        &self,
        isa: Isa,
        layer: usize,
        heads: Heads,
        (head, token): (usize, usize),
        query: &[f32],
        out: &mut [f32],
    ) {
        let size = PAGE * self.width;
        let keys = layer * 2 * size + head * heads.width * PAGE;
        let values = (layer * 2 + 1) * size + head * heads.width;
        let seen = token + 1;
        let pages = &self.pages[..seen.div_ceil(PAGE)];
        with_scratch(pages.len() * PAGE, |scores| {
            for (page, scores) in pages.iter().zip(scores.as_chunks_mut().0) {
                *scores = times_columns(isa, query, &page[keys..keys + heads.width * PAGE]);
            }
            let scores = &mut scores[..seen];
            softmax(isa, scores);
            out.fill(0.0);
            for (page, weights) in pages.iter().zip(scores.chunks(PAGE)) {
                add_rows(isa, out, weights, &page[values..], self.width);
            }
        });
    }
}
