//! The average of the parameters over the steps of a trial.

use crate::runtime::denormals::FlushToZero;
use crate::runtime::{Buffer, RuntimeError};

/// Elements from which another thread pays.
const MANY: usize = 1 << 16;
/// Of the decay of the first steps, which is `(1 + t) / (this + t)`.
pub(super) const EARLY: f64 = 10.0;

/// The exponential moving average of parameters and running statistics: behind the step that `t` others were done
/// before, `a ← a + (1 − d) (w − a)` with `d = min(decay, (1 + t) / (10 + t))`, from what they were at the start. The
/// second term lets the average follow the first steps, which would else weigh little beside the start for long.
///
/// Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, in the form of
/// `tf.train.ExponentialMovingAverage` with `num_updates`.
pub(super) struct Average {
    decay: f32,
    /// In the order of what is averaged.
    pub buffers: Vec<Buffer>,
}

impl Average {
    /// That of `values` before the first step.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(decay: f32, values: &[Buffer]) -> Result<Self, RuntimeError> {
        let copy = |buffer: &Buffer| Buffer::from_f32(buffer.dims(), &buffer.as_f32()?);
        Ok(Average {
            decay,
            buffers: values.iter().map(copy).collect::<Result<_, _>>()?,
        })
    }

    /// Takes `values` up, as they are behind a step that `done` others were done before, on `threads` threads (0 for
    /// all cores).
    ///
    /// # Errors
    /// When a buffer is in use.
    pub fn update(
        &self,
        done: usize,
        values: &[Buffer],
        threads: usize,
    ) -> Result<(), RuntimeError> {
        let rest = 1.0 - decay(self.decay, done);
        for (average, value) in self.buffers.iter().zip(values) {
            follow(&mut average.as_f32_mut()?, &value.as_f32()?, rest, threads);
        }
        Ok(())
    }
}

/// d.
fn decay(decay: f32, done: usize) -> f32 {
    let first = (1.0 + done as f64) / (EARLY + done as f64);
    f64::from(decay).min(first) as f32
}

/// `a ← a + rest (w − a)`
fn follow(average: &mut [f32], values: &[f32], rest: f32, threads: usize) {
    let threads = match threads {
        0 => rayon::current_num_threads(),
        threads => threads,
    };
    let count = threads.min(average.len() / MANY).max(1);
    let each = average.len().div_ceil(count).max(1);
    let part = |average: &mut [f32], values: &[f32]| {
        let _flush = FlushToZero::new();
        for (a, &w) in average.iter_mut().zip(values) {
            *a += rest * (w - *a);
        }
    };
    if count == 1 {
        return part(average, values);
    }
    rayon::scope(|scope| {
        for (average, values) in average.chunks_mut(each).zip(values.chunks(each)) {
            scope.spawn(move |_| part(average, values));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(values: &[f32]) -> Buffer {
        Buffer::from_f32(&[values.len()], values).unwrap()
    }

    #[test]
    fn the_first_steps_count_more_than_the_start() {
        let values = [buffer(&[1.0, -4.0])];
        let average = Average::new(0.5, &values).unwrap();
        let mut expected = [1.0, -4.0];
        for (done, value) in [[3.0, 0.0], [2.0, 8.0], [7.0, 1.0], [-1.0, 0.5]]
            .into_iter()
            .enumerate()
        {
            values[0].as_f32_mut().unwrap().copy_from_slice(&value);
            average.update(done, &values, 1).unwrap();
            // 1/10, 2/11, 3/12, 4/13: still below the decay.
            let d = [0.1, 2.0 / 11.0, 0.25, 4.0 / 13.0][done];
            for (e, v) in expected.iter_mut().zip(value) {
                *e = d * *e + (1.0 - d) * f64::from(v);
            }
            let found = average.buffers[0].as_f32().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{done}");
            }
        }
        assert_eq!(decay(0.5, 8), 0.5);
        assert_eq!(decay(0.999, 1_000_000), 0.999);
    }

    #[test]
    fn threads_do_not_show() {
        let value = |k: usize| (0..3 * MANY + 7).map(move |i| ((i * k) % 97) as f32 / 31.0);
        let (start, values): (Vec<f32>, Vec<f32>) = (value(3).collect(), value(5).collect());
        let followed = |threads| {
            let mut average = start.clone();
            follow(&mut average, &values, 0.3, threads);
            average
        };
        let one = followed(1);
        assert!(followed(2) == one && followed(3) == one && followed(0) == one);
        assert!(one != start);
    }
}
