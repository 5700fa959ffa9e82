//! The inner loops, on AMX's tile registers.
//!
//! A step multiplies up to 32 rows with up to 32 columns over 32 summed elements, all of them in three
//! pieces. Its tiles lie one behind the other, each of 16 lines of 64 bytes: for rows `[piece][16 rows]`
//! of 16 rows times 32 elements each, for columns `[piece][16 columns]` of 16 pairs of elements times 16
//! columns. Sums are an ordinary matrix of floats.

#![allow(unsafe_code)]

use std::arch::asm;

/// Rows, columns, pairs of summed elements, or lines of a tile.
pub(super) const LINES: usize = 16;
/// Floats in whose place a tile lies.
pub(super) const TILE: usize = LINES * 16;
/// Pieces of a float.
pub(super) const PIECES: usize = 3;

/// AMX's tile registers of this thread, set up for whole tiles while this lives.
pub(super) struct Tiles(());

impl Tiles {
    /// Sets them up.
    ///
    /// # Safety
    /// [`available`](super::available) was true.
    pub(super) unsafe fn new() -> Self {
        /// Intel's Software Developer's Manual, volume 1, 18.3: palette 1, then the bytes of a line
        /// and the lines of each tile.
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            line_bytes: [u16; 16],
            lines: [u8; 16],
        }
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            line_bytes: [0; 16],
            lines: [0; 16],
        };
        configuration.line_bytes[..8].fill(64);
        configuration.lines[..8].fill(LINES as u8);
        // SAFETY: the instruction exists and the process may use it, as the caller promises.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &configuration, options(readonly, nostack));
        }
        Tiles(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as in `new`. What is released is saved and restored with the thread no more.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

/// Asks the system for the registers' use; true if this process has it.
pub(super) fn may_be_used() -> bool {
    /// Linux, `arch/x86/include/uapi/asm/prctl.h`: `arch_prctl`, `ARCH_REQ_XCOMP_PERM`, and the state
    /// component of the tiles' data.
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a system call that touches no memory of this process. It fails where the system does not
    // know it or the registers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Sums of `ROWS` times `COLUMNS` tiles, at most two each: `sums[i][j] (+)= rows[i] · columns[j]`.
///
/// Lines of sums lie `pitch` floats apart, from tile to tile too.
///
/// Of the nine products of pieces the six largest are summed, the largest last; each of the others is
/// at most 2⁻²⁴ of the product.
///
/// # Safety
/// `rows` and `columns` hold `steps` steps, and `sums` has `ROWS · 16` lines of `COLUMNS · 16` floats.
#[inline(always)]
pub(super) unsafe fn multiply<const ROWS: usize, const COLUMNS: usize>(
    _: &Tiles,
    rows: *const f32,
    columns: *const f32,
    steps: usize,
    (sums, pitch): (*mut f32, usize),
    add: bool,
) {
    /// Loads tiles of a piece: the high one is 0, the low one 2.
    macro_rules! rows {
        (1, $piece:literal) => {
            concat!("tileloadd tmm4, [{rows} + {line} + 1024*", $piece, "]\n")
        };
        (2, $piece:literal) => {
            concat!(
                "tileloadd tmm4, [{rows} + {line} + 2048*",
                $piece,
                "]\n",
                "tileloadd tmm5, [{rows} + {line} + 2048*",
                $piece,
                " + 1024]\n",
            )
        };
    }
    macro_rules! columns {
        (1, $piece:literal) => {
            concat!("tileloadd tmm6, [{columns} + {line} + 1024*", $piece, "]\n")
        };
        (2, $piece:literal) => {
            concat!(
                "tileloadd tmm6, [{columns} + {line} + 2048*",
                $piece,
                "]\n",
                "tileloadd tmm7, [{columns} + {line} + 2048*",
                $piece,
                " + 1024]\n",
            )
        };
    }
    macro_rules! products {
        (1, 1) => {
            "tdpbf16ps tmm0, tmm4, tmm6\n"
        };
        (1, 2) => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n"
        };
        (2, 1) => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm5, tmm6\n"
        };
        (2, 2) => {
            concat!(
                "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n",
                "tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7\n",
            )
        };
    }
    macro_rules! all {
        ($rows:tt, $columns:tt, [$($sum:literal at $at:literal)*] $(, $second:expr)?) => {
            asm!(
                "test {add:e}, {add:e}",
                "jz 2f",
                $(concat!("tileloadd tmm", $sum, ", [", $at, "]"),)*
                "jmp 3f",
                "2:",
                $(concat!("tilezero tmm", $sum),)*
                "3:",
                rows!($rows, 0), columns!($columns, 2), products!($rows, $columns),
                columns!($columns, 1), products!($rows, $columns),
                rows!($rows, 1), products!($rows, $columns),
                columns!($columns, 0), products!($rows, $columns),
                rows!($rows, 2), products!($rows, $columns),
                rows!($rows, 0), products!($rows, $columns),
                concat!("add {rows}, 3072*", $rows),
                concat!("add {columns}, 3072*", $columns),
                "dec {steps}",
                "jnz 3b",
                $(concat!("tilestored [", $at, "], tmm", $sum),)*
                rows = inout(reg) rows => _,
                columns = inout(reg) columns => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                $(second = in(reg) $second,)?
                pitch = in(reg) pitch * size_of::<f32>(),
                add = in(reg) add as u32,
                line = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }
    assert!(steps > 0);
    let second = sums.wrapping_add(LINES * pitch);
    const {
        assert!(matches!((ROWS, COLUMNS), (1 | 2, 1 | 2)));
    }
    // SAFETY: the registers are set up; the caller promises the memory.
    unsafe {
        match (ROWS, COLUMNS) {
            (1, 1) => all!(1, 1, [0 at "{sums} + {pitch}"]),
            (1, 2) => all!(1, 2, [0 at "{sums} + {pitch}" 1 at "{sums} + {pitch} + 64"]),
            (2, 1) => all!(2, 1, [0 at "{sums} + {pitch}" 1 at "{second} + {pitch}"], second),
            (2, 2) => all!(2, 2, [
                0 at "{sums} + {pitch}" 1 at "{sums} + {pitch} + 64"
                2 at "{second} + {pitch}" 3 at "{second} + {pitch} + 64"
            ], second),
            _ => unreachable!(),
        }
    }
}
