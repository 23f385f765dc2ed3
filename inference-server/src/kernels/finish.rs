//! What becomes of the sums of a product before they are written: scales, an offset, GELU and another matrix, in one pass over a tile.

use super::{
    functions::{DIGIT, LANES, for_each_isa, gelu_of},
    share::Block,
    tile::Isa,
};

/// What happens to a product before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// Added to every row.
    pub bias: Option<&'a [f32]>,
    /// GELU, after the bias.
    pub gelu: bool,
    /// A matrix of the product's shape that is added in the end.
    pub plus: Option<&'a [f32]>,
}

impl Finish<'_> {
    /// Whether anything happens.
    pub(super) fn is_some(&self) -> bool {
        self.bias.is_some() || self.gelu || self.plus.is_some()
    }

    /// The same for rows that begin so many values later.
    pub(super) fn after(self, values: usize) -> Self {
        Finish {
            plus: self.plus.map(|plus| &plus[values..]),
            ..self
        }
    }
}

/// What integer sums need to be numbers, for each column.
#[derive(Clone, Copy)]
pub(super) struct Integers<'a> {
    /// What is taken off.
    pub(super) surplus: &'a [i32],
    /// What the rest is multiplied by; nothing where that is 1.
    pub(super) scales: Option<&'a [f32]>,
}

/// A tile of sums, rows of `width` words. Integers of two digits are two rows, the sums of the greater ones first.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    pub(super) words: &'a [u32],
    pub(super) width: usize,
    /// For each row what its sums are multiplied by.
    pub(super) scales: Option<&'a [f32]>,
    /// Where they are integers.
    pub(super) integers: Option<Integers<'a>>,
    /// Rows for each row of numbers.
    pub(super) digits: usize,
}

for_each_isa!(
    /// Writes the rows of a tile; `plan.bias` has its columns only, and the rows of `plan.plus` are as far apart as those of `out`.
    finish, finish_body, (sums: Sums<'_>, plan: Finish<'_>, out: &mut Block<'_>)
);

#[inline(always)]
fn finish_body(sums: Sums<'_>, plan: Finish<'_>, out: &mut Block<'_>) {
    for i in 0..out.count() {
        let begin = i * out.stride();
        let scale = sums.scales.map_or(1.0, |scales| scales[i]);
        let words = &sums.words[i * sums.digits * sums.width..][..sums.digits * sums.width];
        let (words, lesser) = words.split_at(sums.width);
        let row = Row {
            words,
            lesser,
            integers: sums.integers,
            scale,
            plan: plan.after(begin),
        };
        let (chunks, rest) = out.row(i).as_chunks_mut::<LANES>();
        let whole = chunks.len() * LANES;
        for (n, chunk) in chunks.iter_mut().enumerate() {
            *chunk = row.numbers(n * LANES);
        }
        for (n, x) in rest.iter_mut().enumerate() {
            [*x] = row.numbers(whole + n);
        }
    }
}

struct Row<'a> {
    words: &'a [u32],
    /// The sums of the lesser digits, if there are such.
    lesser: &'a [u32],
    integers: Option<Integers<'a>>,
    scale: f32,
    plan: Finish<'a>,
}

impl Row<'_> {
    /// `N` numbers of the row.
    #[inline(always)]
    fn numbers<const N: usize>(&self, at: usize) -> [f32; N] {
        let sums: [u32; N] = some(self.words, at);
        let mut x = match self.integers {
            Some(Integers { surplus, scales }) => {
                let surplus: [i32; N] = some(surplus, at);
                let mut numbers: [f32; N] = std::array::from_fn(|i| (sums[i] as i32 - surplus[i]) as f32);
                if !self.lesser.is_empty() {
                    let lesser: [u32; N] = some(self.lesser, at);
                    for i in 0..N {
                        numbers[i] = numbers[i] * DIGIT as f32 + (lesser[i] as i32 - surplus[i]) as f32;
                    }
                }
                let scales: [f32; N] = scales.map_or([1.0; N], |scales| some(scales, at));
                std::array::from_fn(|i| numbers[i] * (self.scale * scales[i]))
            }
            None => sums.map(|sum| f32::from_bits(sum) * self.scale),
        };
        if let Some(bias) = self.plan.bias {
            let bias: [f32; N] = some(bias, at);
            x.iter_mut().zip(bias).for_each(|(x, y)| *x += y);
        }
        if self.plan.gelu {
            x.iter_mut().for_each(|x| *x = gelu_of(*x));
        }
        if let Some(plus) = self.plan.plus {
            let plus: [f32; N] = some(plus, at);
            x.iter_mut().zip(plus).for_each(|(x, y)| *x += y);
        }
        x
    }
}

/// `N` of some values.
#[inline(always)]
fn some<T: Copy + Default, const N: usize>(values: &[T], at: usize) -> [T; N] {
    let mut out = [T::default(); N];
    out.copy_from_slice(&values[at..at + N]);
    out
}
