//! The inner loop of every matrix product: a few rows times one panel of columns, for each instruction set and format of numbers.
//!
//! Numbers come in words of 32 bits: one f32, two bf16 or four of eight bits, neighbours in depth. A panel holds `depth` rows of
//! [`Isa::panel`] words side by side, so that it is read from front to back.

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;
use std::sync::LazyLock;

/// How numbers are kept for a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Single precision.
    F32,
    /// The upper half of single precision; sums in single precision.
    Bf16,
    /// Eight bits with a scale for each row and column; sums in 32 bits.
    Int8,
    /// Columns as in [`Format::Int8`], and rows with twice as many bits, in two digits: what reads its columns from memory anyway
    /// loses half as much.
    W8A16,
}

impl Format {
    /// Numbers in a word.
    pub fn per_word(self) -> usize {
        match self {
            Format::F32 => 1,
            Format::Bf16 => 2,
            Format::Int8 | Format::W8A16 => 4,
        }
    }

    /// Rows of words that a row of numbers becomes.
    pub fn digits(self) -> usize {
        if self == Format::W8A16 { 2 } else { 1 }
    }

    /// Whether sums are integers, which scales make numbers.
    pub fn is_integer(self) -> bool {
        matches!(self, Format::Int8 | Format::W8A16)
    }
}

/// An instruction set that products are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// What the compiler makes of plain Rust.
    Plain,
}

impl Isa {
    /// The instruction sets of this machine, best first.
    pub fn all() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Isa::Neon);
        all.push(Isa::Plain);
        all
    }

    /// The best instruction set of this machine.
    pub fn best() -> Isa {
        // Asked for several times a token.
        static BEST: LazyLock<Isa> = LazyLock::new(|| Isa::all().swap_remove(0));
        *BEST
    }

    /// Columns of a panel.
    pub fn panel(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 32,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 16,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => 8,
            Isa::Plain => 16,
        }
    }

    /// Most rows that [`Isa::tile`] takes at once: as many as its registers hold.
    pub fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 12,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 6,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => 8,
            Isa::Plain => 4,
        }
    }

    /// Whether this machine multiplies numbers of a format with it.
    pub fn takes(self, format: Format) -> bool {
        match (self, format) {
            (_, Format::F32) => true,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Format::Bf16) => is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Format::Int8 | Format::W8A16) => is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, Format::Bf16) => is_aarch64_feature_detected!("bf16"),
            (_, Format::Int8 | Format::W8A16) => true,
            (_, Format::Bf16) => false,
        }
    }

    /// Whether it has instructions for a format of fewer bits than single precision.
    pub fn is_faster_in(self, format: Format) -> bool {
        match (self, format) {
            (_, Format::F32) | (Isa::Plain, _) => false,
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, Format::Int8 | Format::W8A16) => is_aarch64_feature_detected!("dotprod"),
            _ => self.takes(format),
        }
    }

    /// What is added to the eight-bit numbers of the rows, which the processor takes without a sign.
    pub fn offset(self) -> i32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 128,
            _ => 0,
        }
    }

    /// Adds to a tile of `c` the product of `rows` rows of `a` and a panel `b`, both in words of a format; a `fresh` tile is written, whatever
    /// it holds. In eight bits the sums are integers of 32 bits.
    ///
    /// # Safety
    /// The machine [takes](Isa::takes) the format. `1 <= rows <= self.rows()`; row `i` of `a` is `depth` words at `a + i * a_stride`;
    /// `b` holds `depth` rows of `self.panel()` words; row `i` of `c` is `self.panel()` sums at `c + i * c_stride`, and nobody else
    /// has them.
    pub unsafe fn tile(
        self,
        format: Format,
        (rows, depth): (usize, usize),
        a: (*const u32, usize),
        b: *const u32,
        c: (*mut u32, usize),
        fresh: bool,
    ) {
        macro_rules! choose {
            ($kernel:ident, $($rows:literal),*) => {
                match rows {
                    $($rows => unsafe { $kernel::<$rows>(depth, a, b, c, fresh) },)*
                    _ => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        match (self, format) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Format::F32) => choose!(avx512, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Format::Bf16) => choose!(avx512_bf16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Format::Int8 | Format::W8A16) => {
                choose!(avx512_int8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Format::F32) => choose!(avx2, 1, 2, 3, 4, 5, 6),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Format::Int8 | Format::W8A16) => choose!(avx2_int8, 1, 2, 3, 4, 5, 6),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, Format::F32) => choose!(neon, 1, 2, 3, 4, 5, 6, 7, 8),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, Format::Bf16) => choose!(neon_bf16, 1, 2, 3, 4, 5, 6, 7, 8),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, Format::Int8 | Format::W8A16) if is_aarch64_feature_detected!("dotprod") => {
                choose!(neon_int8, 1, 2, 3, 4, 5, 6, 7, 8)
            }
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, Format::Int8 | Format::W8A16) => choose!(plain_int8_narrow, 1, 2, 3, 4, 5, 6, 7, 8),
            (Isa::Plain, Format::F32) => choose!(plain, 1, 2, 3, 4),
            (Isa::Plain, Format::Int8 | Format::W8A16) => choose!(plain_int8, 1, 2, 3, 4),
            #[allow(unreachable_patterns)]
            _ => unreachable!("{self:?} does not take {format:?}"),
        }
    }
}

/// One kernel: `R` rows and two vectors of columns. Each row's sums are taken in the same order however many rows there are, so
/// that nothing that is said depends on what else is said at the time.
macro_rules! kernel {
    ($name:ident, $feature:literal, $lanes:literal, $zero:expr, $load:expr, $store:expr, $all:expr, $multiply_add:expr) => {
        #[target_feature(enable = $feature)]
        unsafe fn $name<const R: usize>(
            depth: usize,
            (a, a_stride): (*const u32, usize),
            b: *const u32,
            (c, c_stride): (*mut u32, usize),
            fresh: bool,
        ) {
            unsafe {
                let mut sums = [[$zero; 2]; R];
                if !fresh {
                    for r in 0..R {
                        for v in 0..2 {
                            sums[r][v] = $load(c.add(r * c_stride + v * $lanes).cast());
                        }
                    }
                }
                for k in 0..depth {
                    let row = b.add(k * 2 * $lanes);
                    let (left, right) = ($load(row.cast()), $load(row.add($lanes).cast()));
                    for r in 0..R {
                        let x = $all(*a.add(r * a_stride + k));
                        sums[r][0] = $multiply_add(x, left, sums[r][0]);
                        sums[r][1] = $multiply_add(x, right, sums[r][1]);
                    }
                }
                for r in 0..R {
                    for v in 0..2 {
                        $store(c.add(r * c_stride + v * $lanes).cast(), sums[r][v]);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

#[cfg(target_arch = "x86_64")]
kernel!(
    avx512,
    "avx512f",
    16,
    x86::_mm512_setzero_ps(),
    x86::_mm512_loadu_ps,
    x86::_mm512_storeu_ps,
    |x: u32| x86::_mm512_set1_ps(f32::from_bits(x)),
    x86::_mm512_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
kernel!(
    avx512_bf16,
    "avx512f,avx512bf16",
    16,
    x86::_mm512_setzero_ps(),
    x86::_mm512_loadu_ps,
    x86::_mm512_storeu_ps,
    |x: u32| x86::_mm512_set1_epi32(x as i32),
    |x: x86::__m512i, b: x86::__m512, sum| x86::_mm512_dpbf16_ps(
        sum,
        std::mem::transmute::<x86::__m512i, x86::__m512bh>(x),
        std::mem::transmute::<x86::__m512, x86::__m512bh>(b)
    )
);
#[cfg(target_arch = "x86_64")]
kernel!(
    avx512_int8,
    "avx512f,avx512vnni",
    16,
    x86::_mm512_setzero_si512(),
    x86::_mm512_loadu_si512,
    x86::_mm512_storeu_si512,
    |x: u32| x86::_mm512_set1_epi32(x as i32),
    |x, b, sum| x86::_mm512_dpbusd_epi32(sum, x, b)
);
#[cfg(target_arch = "x86_64")]
kernel!(
    avx2,
    "avx2,fma",
    8,
    x86::_mm256_setzero_ps(),
    x86::_mm256_loadu_ps,
    x86::_mm256_storeu_ps,
    |x: u32| x86::_mm256_set1_ps(f32::from_bits(x)),
    x86::_mm256_fmadd_ps
);
// Numbers from -127 to 127: two products of such are at most 32,258, which 16 bits hold.
#[cfg(target_arch = "x86_64")]
kernel!(
    avx2_int8,
    "avx2",
    8,
    x86::_mm256_setzero_si256(),
    x86::_mm256_loadu_si256,
    x86::_mm256_storeu_si256,
    |x: u32| x86::_mm256_set1_epi32(x as i32),
    |x, b, sum| {
        let pairs = x86::_mm256_maddubs_epi16(x86::_mm256_abs_epi8(x), x86::_mm256_sign_epi8(b, x));
        x86::_mm256_add_epi32(sum, x86::_mm256_madd_epi16(pairs, x86::_mm256_set1_epi16(1)))
    }
);
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64 as arm;

#[cfg(target_arch = "aarch64")]
kernel!(
    neon,
    "neon",
    4,
    arm::vdupq_n_f32(0.0),
    arm::vld1q_f32,
    arm::vst1q_f32,
    |x: u32| arm::vdupq_n_f32(f32::from_bits(x)),
    |x, b, sum| arm::vfmaq_f32(sum, x, b)
);
// The intrinsics of these instructions are not in stable Rust yet.
#[cfg(target_arch = "aarch64")]
macro_rules! multiply_add_words {
    ($instruction:literal, $vector:ty) => {
        |x: $vector, b: $vector, mut sum: $vector| {
            std::arch::asm!(
                $instruction,
                sum = inout(vreg) sum, x = in(vreg) x, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
            sum
        }
    };
}
#[cfg(target_arch = "aarch64")]
kernel!(
    neon_bf16,
    "neon,bf16",
    4,
    arm::vdupq_n_f32(0.0),
    arm::vld1q_f32,
    arm::vst1q_f32,
    |x: u32| arm::vdupq_n_f32(f32::from_bits(x)),
    multiply_add_words!("bfdot {sum:v}.4s, {x:v}.8h, {b:v}.8h", arm::float32x4_t)
);
#[cfg(target_arch = "aarch64")]
kernel!(
    neon_int8,
    "neon,dotprod",
    4,
    arm::vdupq_n_s32(0),
    arm::vld1q_s32,
    arm::vst1q_s32,
    |x: u32| arm::vdupq_n_s32(x as i32),
    multiply_add_words!("sdot {sum:v}.4s, {x:v}.16b, {b:v}.16b", arm::int32x4_t)
);

/// Plain loops over a panel of `$panel` columns.
macro_rules! plain {
    ($name:ident, $panel:literal, $sum:ty, $add:expr) => {
        unsafe fn $name<const R: usize>(
            depth: usize,
            (a, a_stride): (*const u32, usize),
            b: *const u32,
            (c, c_stride): (*mut u32, usize),
            fresh: bool,
        ) {
            unsafe {
                for r in 0..R {
                    let out = std::slice::from_raw_parts_mut(c.add(r * c_stride).cast::<$sum>(), $panel);
                    let mut sums = [<$sum>::default(); $panel];
                    if !fresh {
                        sums.copy_from_slice(out);
                    }
                    for k in 0..depth {
                        let x = *a.add(r * a_stride + k);
                        for (j, sum) in sums.iter_mut().enumerate() {
                            *sum += $add(x, *b.add(k * $panel + j));
                        }
                    }
                    out.copy_from_slice(&sums);
                }
            }
        }
    };
}

/// The products of four numbers of eight bits.
fn products(x: u32, b: u32) -> i32 {
    let pairs = x.to_le_bytes().into_iter().zip(b.to_le_bytes());
    pairs.map(|(x, b)| i32::from(x as i8) * i32::from(b as i8)).sum()
}

plain!(plain, 16, f32, |x, b| f32::from_bits(x) * f32::from_bits(b));
plain!(plain_int8, 16, i32, products);
#[cfg(target_arch = "aarch64")]
plain!(plain_int8_narrow, 8, i32, products);
