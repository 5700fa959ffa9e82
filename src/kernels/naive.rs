//! Placeholder.
use super::*;
/// Placeholder.
pub fn activation_gradient(
    act: Activation,
    dy: &[f32],
    y: &[f32],
    dx: &mut [f32],
    _p: &dyn Parallel,
) -> Result<(), KernelError> {
    for i in 0..dy.len() {
        dx[i] = dy[i] * act.slope(y[i]);
    }
    Ok(())
}
