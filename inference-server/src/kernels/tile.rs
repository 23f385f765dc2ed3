//! The inner loop of every matrix product: a few rows times one panel of columns, for each instruction set.
//!
//! A panel holds `depth` rows of [`Isa::panel`] columns side by side, so that it is read from front to back.

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

    /// Adds to a tile of `c` the product of `rows` rows of `a` and a panel `b`.
    ///
    /// # Safety
    /// `1 <= rows <= self.rows()`; row `i` of `a` is `depth` values at `a + i * a_stride`; `b` holds `depth` rows of
    /// `self.panel()` values; row `i` of `c` is `self.panel()` values at `c + i * c_stride`, and nobody else has them.
    pub unsafe fn tile(
        self,
        rows: usize,
        depth: usize,
        a: (*const f32, usize),
        b: *const f32,
        c: (*mut f32, usize),
    ) {
        macro_rules! choose {
            ($kernel:ident, $($rows:literal),*) => {
                match rows {
                    $($rows => unsafe { $kernel::<$rows>(depth, a, b, c) },)*
                    _ => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => choose!(avx512, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => choose!(avx2, 1, 2, 3, 4, 5, 6),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => choose!(neon, 1, 2, 3, 4, 5, 6, 7, 8),
            Isa::Plain => choose!(plain, 1, 2, 3, 4),
        }
    }
}

/// One kernel: `R` rows and two vectors of columns. Each row's sums are taken in the same order however many rows there are, so
/// that nothing that is said depends on what else is said at the time.
macro_rules! kernel {
    ($name:ident, $feature:literal, $lanes:literal, $zero:expr, $load:path, $store:path, $all:path, $multiply_add:expr) => {
        #[target_feature(enable = $feature)]
        unsafe fn $name<const R: usize>(
            depth: usize,
            (a, a_stride): (*const f32, usize),
            b: *const f32,
            (c, c_stride): (*mut f32, usize),
        ) {
            unsafe {
                let mut sums = [[$zero; 2]; R];
                for r in 0..R {
                    for v in 0..2 {
                        sums[r][v] = $load(c.add(r * c_stride + v * $lanes));
                    }
                }
                for k in 0..depth {
                    let row = b.add(k * 2 * $lanes);
                    let (left, right) = ($load(row), $load(row.add($lanes)));
                    for r in 0..R {
                        let x = $all(*a.add(r * a_stride + k));
                        sums[r][0] = $multiply_add(x, left, sums[r][0]);
                        sums[r][1] = $multiply_add(x, right, sums[r][1]);
                    }
                }
                for r in 0..R {
                    for v in 0..2 {
                        $store(c.add(r * c_stride + v * $lanes), sums[r][v]);
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
    x86::_mm512_set1_ps,
    x86::_mm512_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
kernel!(
    avx2,
    "avx2,fma",
    8,
    x86::_mm256_setzero_ps(),
    x86::_mm256_loadu_ps,
    x86::_mm256_storeu_ps,
    x86::_mm256_set1_ps,
    x86::_mm256_fmadd_ps
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
    arm::vdupq_n_f32,
    (|x, b, sum| arm::vfmaq_f32(sum, x, b))
);

unsafe fn plain<const R: usize>(
    depth: usize,
    (a, a_stride): (*const f32, usize),
    b: *const f32,
    (c, c_stride): (*mut f32, usize),
) {
    unsafe {
        for r in 0..R {
            let mut sums = [0f32; 16];
            sums.copy_from_slice(std::slice::from_raw_parts(c.add(r * c_stride), 16));
            for k in 0..depth {
                let x = *a.add(r * a_stride + k);
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum += x * *b.add(k * 16 + j);
                }
            }
            std::slice::from_raw_parts_mut(c.add(r * c_stride), 16).copy_from_slice(&sums);
        }
    }
}
