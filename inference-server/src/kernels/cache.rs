//! Keys and values of the tokens that a sequence has read, in pages; cloning shares them, and writing copies the last page only.
//!
//! Source of the pages: Kwon et al., "Efficient memory management for large language model serving with PagedAttention" (2023).

use std::sync::Arc;

use super::{
    attention::Heads,
    functions::{LANES, add_halves, add_rows, bf16, softmax, times_columns, times_halves},
    scratch::with_scratch,
    tile::{Format, Isa},
};

/// Tokens of a page: as many as are looked at side by side.
const PAGE: usize = LANES;

/// Keys and values of all layers for the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: usize,
    heads: Heads,
    format: Format,
    pages: Vec<Page>,
    length: usize,
}

/// For each layer the keys of the page's tokens, one column a token, then, head by head, their values, one row a token.
#[derive(Clone, Debug)]
enum Page {
    Whole(Arc<[f32]>),
    /// In bf16.
    Halves(Arc<[u16]>),
}

impl Cache {
    /// An empty one, in single precision where that is the format of its model, and in bf16 beside every other.
    pub fn new(layers: usize, heads: Heads, format: Format) -> Cache {
        Cache {
            layers,
            heads,
            format,
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
        let size = self.layers * 2 * PAGE * self.heads.all();
        while self.pages.len() * PAGE < self.length {
            self.pages.push(match self.format {
                Format::F32 => Page::Whole(vec![0.0; size].into()),
                _ => Page::Halves(vec![0; size].into()),
            });
        }
    }

    /// Writes key and value of a token, the heads of each side by side.
    pub fn write(&mut self, layer: usize, token: usize, key: &[f32], value: &[f32]) {
        let (heads, place) = (self.heads, (layer, token % PAGE));
        match &mut self.pages[token / PAGE] {
            Page::Whole(page) => write(Arc::make_mut(page), heads, place, [key, value], |x| x),
            Page::Halves(page) => write(Arc::make_mut(page), heads, place, [key, value], |x| {
                bf16(x) as u16
            }),
        }
    }

    /// What one head of a token sees of the tokens up to it.
    pub fn look(
        &self,
        isa: Isa,
        layer: usize,
        (head, token): (usize, usize),
        query: &[f32],
        out: &mut [f32],
    ) {
        let each = PAGE * self.heads.width;
        let keys = (layer * 2 * self.heads.count + head) * each;
        let values = keys + self.heads.count * each;
        let seen = token + 1;
        let pages = &self.pages[..seen.div_ceil(PAGE)];
        with_scratch(pages.len() * PAGE, |scores| {
            for (page, scores) in pages.iter().zip(scores.as_chunks_mut().0) {
                *scores = match page {
                    Page::Whole(page) => times_columns(isa, query, &page[keys..keys + each]),
                    Page::Halves(page) => times_halves(isa, query, &page[keys..keys + each]),
                };
            }
            let scores = &mut scores[..seen];
            softmax(isa, scores);
            out.fill(0.0);
            for (page, weights) in pages.iter().zip(scores.chunks(PAGE)) {
                match page {
                    Page::Whole(page) => add_rows(isa, out, weights, &page[values..values + each]),
                    Page::Halves(page) => add_halves(isa, out, weights, &page[values..values + each]),
                }
            }
        });
    }
}

fn write<T>(
    page: &mut [T],
    heads: Heads,
    (layer, place): (usize, usize),
    [key, value]: [&[f32]; 2],
    number: impl Fn(f32) -> T,
) {
    let size = PAGE * heads.all();
    let (keys, values) = page[layer * 2 * size..(layer + 1) * 2 * size].split_at_mut(size);
    let column = keys[place..].iter_mut().step_by(PAGE);
    column.zip(key).for_each(|(slot, x)| *slot = number(*x));
    let of_heads = values.chunks_mut(PAGE * heads.width);
    for (values, value) in of_heads.zip(value.chunks(heads.width)) {
        let row = values[place * heads.width..].iter_mut();
        row.zip(value).for_each(|(slot, x)| *slot = number(*x));
    }
}
