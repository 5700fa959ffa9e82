//! The frame of a JPEG file: its size, components and how they are sampled.

/// Where the coefficients, as they stand in the file, lie in a block of rows.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// Minimum coded units of interleaved scans, across and down.
    pub(super) units: (usize, usize),
}

pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors: blocks in an interleaved unit.
    pub(super) h: usize,
    pub(super) v: usize,
    /// How many pixels one sample stands for, across and down.
    pub(super) ratio: (usize, usize),
    pub(super) table: usize,
    /// Samples that belong to the picture.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks with those that fill interleaved units, across and down.
    pub(super) blocks: (usize, usize),
}

impl Component {
    /// The samples of all blocks.
    pub(super) fn samples(&self) -> u64 {
        64 * self.blocks.0 as u64 * self.blocks.1 as u64
    }
}

impl Frame {
    /// Reads the segment of a frame of kind `marker`.
    pub(super) fn read(marker: u8, text: &[u8]) -> Result<Self, String> {
        let kind = match marker {
            0xC0..=0xC2 => None,
            0xC3 | 0xC7 | 0xCB | 0xCF => Some("lossless JPEG"),
            0xC5 | 0xC6 | 0xCD | 0xCE => Some("hierarchical JPEG"),
            0xC9 | 0xCA | 0xCC => Some("arithmetic-coded JPEG"),
            _ => Some("this kind of JPEG"),
        };
        if let Some(kind) = kind {
            return Err(format!("{kind} is not read here"));
        }
        let damaged = || "its frame is damaged".to_owned();
        let (&[bits, h1, h0, w1, w0, count], rest) =
            text.split_first_chunk().ok_or_else(damaged)?;
        if bits != 8 {
            return Err(format!("JPEG of {bits} bits is not read here"));
        }
        let height = usize::from(u16::from_be_bytes([h1, h0]));
        let width = usize::from(u16::from_be_bytes([w1, w0]));
        if width == 0 || height == 0 {
            return Err("the image has no pixels".to_owned());
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(format!("JPEG of {count} components is not read here"));
        }
        let (parts, []) = rest.as_chunks::<3>() else {
            return Err(damaged());
        };
        let factors = |sampling: u8| (usize::from(sampling >> 4), usize::from(sampling & 15));
        let max_h = parts.iter().map(|p| factors(p[1]).0).max().unwrap_or(0);
        let max_v = parts.iter().map(|p| factors(p[1]).1).max().unwrap_or(0);
        let valid = |n: usize| (1..=4).contains(&n);
        if parts.len() != usize::from(count)
            || !parts.iter().all(|p| {
                let (h, v) = factors(p[1]);
                valid(h) && valid(v) && p[2] < 4
            })
        {
            return Err(damaged());
        }
        let units = (width.div_ceil(8 * max_h), height.div_ceil(8 * max_v));
        let mut components = Vec::with_capacity(parts.len());
        for &[id, sampling, table] in parts {
            let (h, v) = factors(sampling);
            if !max_h.is_multiple_of(h) || !max_v.is_multiple_of(v) {
                return Err(format!(
                    "JPEG sampled {h} × {v} of {max_h} × {max_v} is not read here"
                ));
            }
            components.push(Component {
                id,
                h,
                v,
                ratio: (max_h / h, max_v / v),
                table: usize::from(table),
                width: (width * h).div_ceil(max_h),
                height: (height * v).div_ceil(max_v),
                blocks: (units.0 * h, units.1 * v),
            });
        }
        Ok(Self {
            width,
            height,
            progressive: marker == 0xC2,
            components,
            units,
        })
    }
}
