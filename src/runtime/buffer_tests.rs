use super::*;
use crate::runtime::testing::runtime;

#[test]
fn borrows_exclude_each_other_without_waiting() {
    let Some(_runtime) = runtime() else { return };
    let buffer = Buffer::zeros_f32(&[2, 3]).unwrap();
    let other = buffer.clone();
    let first = buffer.as_f32().unwrap();
    assert_eq!(*first, [0.0; 6]);
    assert!(other.as_f32().is_ok());
    assert!(matches!(
        other.as_f32_mut(),
        Err(RuntimeError::BufferInUse(_))
    ));
    drop(first);
    other.as_f32_mut().unwrap()[4] = 5.0;
    assert_eq!(buffer.as_f32().unwrap()[4], 5.0);
}

#[test]
fn scalars_and_empty_buffers_exist() {
    let Some(_runtime) = runtime() else { return };
    assert_eq!(Buffer::zeros_i64(&[]).unwrap().as_i64().unwrap().len(), 1);
    assert!(
        Buffer::zeros_f32(&[0, 4])
            .unwrap()
            .as_f32()
            .unwrap()
            .is_empty()
    );
    assert!(Buffer::zeros_f32(&[usize::MAX, 2]).is_err());
    assert!(Buffer::from_f32(&[2], &[1.0]).is_err());
}

#[test]
fn numbers_are_taken_over_by_buffers_of_the_same_kind() {
    let Some(_runtime) = runtime() else { return };
    let (from, to) = (
        Buffer::from_f32(&[2], &[1.0, -2.0]).unwrap(),
        Buffer::zeros_f32(&[2]).unwrap(),
    );
    let before = to.writes();
    to.copy_from(&from).unwrap();
    assert_eq!(to.to_f32().unwrap(), [1.0, -2.0]);
    assert_ne!(to.writes(), before);
    to.write_f32(&[3.0, 4.0]).unwrap();
    assert_eq!(*to.as_f32().unwrap(), [3.0, 4.0]);
    assert!(to.write_f32(&[3.0]).is_err());
    assert!(to.copy_from(&Buffer::zeros_f32(&[2, 1]).unwrap()).is_err());
    assert!(to.copy_from(&Buffer::zeros_i64(&[2]).unwrap()).is_err());
    assert!(to.copy_from(&to.clone()).is_err(), "of itself");
}

#[test]
fn a_buffer_is_read_as_what_it_holds_only() {
    let Some(_runtime) = runtime() else { return };
    let buffer = Buffer::from_i64(&[1], &[7]).unwrap();
    assert!(matches!(
        buffer.as_f32(),
        Err(RuntimeError::BufferType { holds: "i64", .. })
    ));
    assert_eq!(*buffer.as_i64().unwrap(), [7]);
}
