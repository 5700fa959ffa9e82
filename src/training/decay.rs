//! What parameters decay to while they are trained.
//!
//! Weight decay λ pulls a parameter p to 0: λ p is added to its gradient, or with AdamW η λ p taken from it. L2-SP α pulls
//! what was pretrained to its pretrained values w in the same way, by α (p − w), and weight decay is then that of the
//! others, a new head's above all. These are the gradients of `α/2 ‖p − w‖²` and `λ/2 ‖p‖²`.
//! Source: Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", ICML 2018.
//!
//! In a group of filters all move alike ([`Grouped`]), and what decays is how far all of it has gone: the mean of p over
//! the group to 0. As the group's filters keep their distances, that is each to where it stands when the mean is 0.

use super::groups::Grouped;

/// What one parameter decays to, and how fast.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decay {
    /// What is [`weight_decay`](super::Optimizer::weight_decay) for it.
    pub rate: f32,
    /// An element for each of its own; `None` for 0.
    pub towards: Option<Vec<f32>>,
}

impl Decay {
    /// That of a parameter that begins with the values `first` to those of `target`, or to 0, in its group.
    pub(super) fn of(
        rate: f32,
        first: &[f32],
        target: Option<Vec<f32>>,
        grouped: Option<&Grouped>,
    ) -> Self {
        let towards = match grouped.filter(|_| rate != 0.0) {
            None => target,
            Some(grouped) => {
                let mut off = first.to_vec();
                if let Some(target) = &target {
                    off.iter_mut().zip(target).for_each(|(o, t)| *o -= t);
                }
                grouped.average(&mut off);
                Some(first.iter().zip(&off).map(|(f, o)| f - o).collect())
            }
        };
        Decay { rate, towards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_decays_to_where_its_mean_is_0_or_pretrained() {
        // Three filters of two elements, the first and the last of one group.
        let grouped = Grouped::new(&[0, 1, 0], 2);
        let first = [1.0, 2.0, 5.0, 6.0, 3.0, -4.0];
        let plain = Decay::of(0.5, &first, None, Some(&grouped));
        assert_eq!(plain.towards.unwrap(), [-1.0, 3.0, 0.0, 0.0, 1.0, -3.0]);
        // It begins where it was pretrained to, and stays.
        let target = Some(first.to_vec());
        let kept = Decay::of(0.5, &first, target, Some(&grouped));
        assert_eq!(kept.towards.unwrap(), first);
        // Where it begins elsewhere, all move by the mean of what they are off.
        let target = Some(vec![0.0, 2.0, 5.0, 5.0, 1.0, -4.0]);
        let moved = Decay::of(0.5, &first, target.clone(), Some(&grouped));
        assert_eq!(moved.towards.unwrap(), [-0.5, 2.0, 5.0, 5.0, 1.5, -4.0]);
        assert_eq!(Decay::of(0.5, &first, target.clone(), None).towards, target);
        let none = Decay::of(0.0, &first, None, Some(&grouped));
        assert_eq!((none.rate, none.towards), (0.0, None));
    }
}
