//! Keys and values of the tokens that a sequence has read, in pages; cloning shares them, and writing copies the last page only.
//!
//! Source of the pages: Kwon et al., "Efficient memory management for large language model serving with PagedAttention" (2023).

use std::sync::Arc;

use super::{
    attention::Heads,
    functions::{add_times, dot, softmax},
    tile::Isa,
};

/// Tokens of a page.
const PAGE: usize = 16;

/// Keys and values of all layers for the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: usize,
    width: usize,
    /// Each `layers * 2 * PAGE * width`: for a layer the keys of the page's tokens, then their values.
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
        let (width, place) = (
            self.width,
            layer * 2 * PAGE * self.width + token % PAGE * self.width,
        );
        let page = Arc::make_mut(&mut self.pages[token / PAGE]);
        page[place..place + width].copy_from_slice(key);
        page[place + PAGE * width..place + (PAGE + 1) * width].copy_from_slice(value);
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
        let begin = layer * 2 * PAGE * self.width + head * heads.width;
        let (keys, values) = (begin, begin + PAGE * self.width);
        let mut scores = Vec::with_capacity(token + 1);
        for position in 0..=token {
            let at = keys + position % PAGE * self.width;
            scores.push(dot(
                isa,
                query,
                &self.pages[position / PAGE][at..at + heads.width],
            ));
        }
        softmax(isa, &mut scores);
        out.fill(0.0);
        for (position, &weight) in scores.iter().enumerate() {
            let at = values + position % PAGE * self.width;
            add_times(
                isa,
                out,
                weight,
                &self.pages[position / PAGE][at..at + heads.width],
            );
        }
    }
}
