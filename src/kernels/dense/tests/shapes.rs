//! The shapes that convolutions are tried on: some by hand, many by a stream of numbers.

use crate::kernels::ConvShape;

/// A deterministic stream of numbers.
pub struct Stream(pub u64);

impl Stream {
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0)
            .collect()
    }
}

fn output(input: usize, kernel: usize, stride: usize, pads: usize, dilation: usize) -> usize {
    (input + pads).saturating_sub((kernel - 1) * dilation + 1) / stride + 1
}

fn random_shape(stream: &mut Stream) -> ConvShape {
    let group = [1, 1, 1, 2, 3][stream.below(5)];
    // Few pixels where sums are long enough to be cut into blocks.
    let (most, side) = [(70, 13), (20, 13), (600, 4)][[0, 0, 0, 1, 1, 1, 2][stream.below(7)]];
    let most = most / group;
    let kernel = [stream.between(1, 3), stream.between(1, 3)];
    let kernel = [[1, 1], kernel, [stream.between(1, 7), stream.between(1, 7)]][stream.below(3)];
    let strides = [[1, 1], [2, 2], [stream.between(1, 3), stream.between(1, 3)]][stream.below(3)];
    let dilations = [[1, 1], [stream.between(1, 3), stream.between(1, 2)]][stream.below(2)];
    let pads = [stream.below(4), stream.below(4)];
    let ends = [stream.below(4), stream.below(4)];
    let input = [stream.between(1, side), stream.between(1, side)];
    ConvShape {
        batch: stream.between(1, 3),
        input,
        in_channels: group * stream.between(1, most),
        output: [0, 1].map(|a| {
            output(
                input[a],
                kernel[a],
                strides[a],
                pads[a] + ends[a],
                dilations[a],
            )
        }),
        out_channels: group * stream.between(1, most),
        kernel,
        strides,
        pads,
        dilations,
        group,
    }
}

/// Shapes with a meaning of their own, then many by chance.
pub fn shapes() -> Vec<ConvShape> {
    let square = |batch, size: usize, channels: [usize; 2], kernel: usize, stride, pad| ConvShape {
        batch,
        input: [size; 2],
        in_channels: channels[0],
        output: [output(size, kernel, stride, 2 * pad, 1); 2],
        out_channels: channels[1],
        kernel: [kernel; 2],
        strides: [stride; 2],
        pads: [pad; 2],
        dilations: [1; 2],
        group: 1,
    };
    let mut shapes = vec![
        square(2, 17, [3, 16], 7, 2, 3),
        square(2, 12, [3, 64], 3, 2, 1),
        square(1, 5, [1, 1], 5, 1, 2),
        square(2, 9, [24, 40], 1, 2, 0),
        // Positions that no tap reads, and more summed channels than are multiplied in one go.
        square(2, 9, [24, 300], 1, 2, 0),
        square(1, 8, [33, 520], 2, 3, 0),
        square(1, 1, [70, 33], 1, 1, 0),
        square(1, 1, [33, 70], 3, 1, 1),
        square(2, 7, [64, 64], 3, 1, 1),
        square(1, 14, [300, 48], 1, 1, 0),
        square(1, 6, [280, 17], 3, 2, 1),
        square(3, 20, [16, 96], 1, 1, 0),
        square(2, 13, [96, 80], 1, 1, 0),
        square(2, 12, [40, 100], 3, 1, 1),
        // With fewer multiplications: odd and even sizes, panels of one vector, all pads.
        square(3, 11, [40, 72], 3, 1, 1),
        square(2, 16, [32, 48], 3, 1, 0),
        square(4, 8, [264, 40], 3, 1, 2),
        square(40, 7, [32, 32], 3, 1, 1),
        square(3, 11, [48, 80], 3, 1, 1),
        square(4, 8, [272, 48], 3, 1, 2),
        // Rows that lie a multiple of 4 KiB apart.
        square(1, 7, [1024, 48], 1, 1, 0),
        square(2, 9, [1024, 40], 1, 2, 0),
        ConvShape {
            group: 2,
            ..square(1, 9, [80, 150], 3, 1, 1)
        },
        // Enough for AMX, where there is one: ends of tiles and steps, groups, taps, phases.
        square(1, 9, [400, 80], 1, 1, 0),
        square(2, 7, [401, 75], 1, 1, 0),
        square(1, 10, [1100, 64], 1, 1, 0),
        square(2, 14, [112, 176], 3, 2, 1),
        square(1, 9, [70, 90], 3, 1, 2),
        square(5, 9, [272, 80], 3, 1, 1),
        square(2, 12, [256, 208], 1, 2, 0),
        square(2, 23, [10, 100], 7, 2, 3),
        ConvShape {
            group: 2,
            ..square(1, 9, [160, 150], 3, 1, 1)
        },
        // Windows that lie wholly in the padding, and inputs that no window reaches.
        square(1, 3, [5, 6], 2, 1, 4),
        square(1, 8, [18, 6], 2, 3, 3),
        square(1, 2, [4, 6], 7, 1, 3),
        ConvShape {
            output: [2, 2],
            ..square(1, 9, [5, 6], 2, 2, 0)
        },
        ConvShape {
            output: [12, 11],
            ..square(1, 3, [20, 6], 1, 1, 0)
        },
    ];
    let mut stream = Stream(7);
    shapes.extend((0..140).map(|_| random_shape(&mut stream)));
    shapes
}
