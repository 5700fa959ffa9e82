use super::*;

const F32: FeaturePrecision = FeaturePrecision::F32;

fn budget(bytes: u64) -> MemoryBudget {
    MemoryBudget::new(bytes)
}

fn filled(bytes: u64, folder: &Path) -> FeatureStore {
    let mut store = FeatureStore::new(5, &[3, 0, 2], F32, &budget(bytes), folder).unwrap();
    for row in 0..5 {
        let base = row as f32 * 10.0;
        store
            .write(0, row, &[base, base + 1.0, base + 2.0])
            .unwrap();
        store.write(1, row, &[]).unwrap();
        store.write(2, row, &[-base, 0.5 - base]).unwrap();
    }
    store
}

#[test]
fn memory_and_file_give_equal_rows() {
    let folder = tempfile::tempdir().unwrap();
    let memory = filled(100, folder.path());
    let file = filled(99, folder.path());
    assert!(!memory.is_spilled() && file.is_spilled());
    assert_eq!((memory.bytes(), file.bytes()), (100, 100));
    for store in [&memory, &file] {
        let mut rows = [f32::NAN; 9];
        store.gather(0, &[4, 0, 4], &mut rows).unwrap();
        assert_eq!(rows, [40.0, 41.0, 42.0, 0.0, 1.0, 2.0, 40.0, 41.0, 42.0]);
        store.gather(1, &[4, 0, 4], &mut []).unwrap();
        let mut rows = [f32::NAN; 4];
        store.gather(2, &[1, 3], &mut rows).unwrap();
        assert_eq!(rows, [-10.0, -9.5, -30.0, -29.5]);
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the spill file has no name");
}

#[test]
fn a_disk_without_room_is_an_error_when_the_store_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let room = fs4::available_space(folder.path()).unwrap() as usize;
    let error = FeatureStore::new(2, &[room / 4], F32, &budget(0), folder.path()).unwrap_err();
    assert!(matches!(error, DataError::Spill { .. }) && !error.is_bad_input());
    let text = error.to_string();
    assert!(
        text.contains(&folder.path().display().to_string()),
        "{text}"
    );
}

#[test]
fn sizes_beyond_the_address_space_are_an_error() {
    for (rows, lens) in [
        (usize::MAX, &[2][..]),
        (usize::MAX / 4, &[4, 4][..]),
        (1 << 60, &[1][..]),
    ] {
        assert!(FeatureStore::new(rows, lens, F32, &budget(u64::MAX), Path::new("/")).is_err());
    }
}

#[test]
fn rows_values_and_lengths_that_do_not_exist_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(100, folder.path());
    assert!(store.write(0, 5, &[0.0; 3]).is_err());
    assert!(store.write(3, 0, &[0.0; 3]).is_err());
    assert!(store.write(0, 0, &[0.0; 2]).is_err());
    assert!(store.gather(0, &[5], &mut [0.0; 3]).is_err());
    assert!(store.gather(3, &[0], &mut [0.0; 3]).is_err());
    assert!(store.gather(0, &[0], &mut [0.0; 4]).is_err());
    assert!(store.gather(1, &[9], &mut []).is_err());
}

#[test]
fn an_empty_store_is_no_error() {
    let store = FeatureStore::new(0, &[7], F32, &budget(0), Path::new("/nowhere")).unwrap();
    assert_eq!(store.bytes(), 0);
    store.gather(0, &[], &mut []).unwrap();
}

#[test]
fn stores_share_a_budget_and_give_their_shares_back() {
    let folder = tempfile::tempdir().unwrap();
    let budget = budget(100);
    let make = |rows| FeatureStore::new(rows, &[5], F32, &budget, folder.path()).unwrap();
    let first = make(3);
    assert_eq!(budget.used(), 60);
    let second = make(3);
    assert!(!first.is_spilled() && second.is_spilled());
    assert_eq!(budget.used(), 60);
    let third = make(2);
    assert!(!third.is_spilled());
    assert_eq!(budget.used(), 100);
    drop((first, second));
    assert_eq!(budget.used(), 40);
    assert!(!make(3).is_spilled());
    assert_eq!((budget.used(), budget.total()), (40, 100));
}

#[test]
fn half_floats_take_half_the_room_and_are_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let data: Vec<f32> = (0..3000).map(|i| i as f32 * 0.123 - 99.0).collect();
    let mut expected = data.clone();
    FeaturePrecision::F16.round(&mut expected);
    for bytes in [0, u64::MAX] {
        let f16 = FeaturePrecision::F16;
        let mut store =
            FeatureStore::new(2, &[1, 3000], f16, &budget(bytes), folder.path()).unwrap();
        assert_eq!(store.bytes(), 2 * 2 * 3001);
        assert_eq!(store.is_spilled(), bytes == 0);
        store.write(1, 1, &data).unwrap();
        store.write(0, 1, &[1e6]).unwrap();
        let mut read = vec![f32::NAN; 6000];
        store.gather(1, &[1, 0], &mut read).unwrap();
        assert_eq!(read[..3000], expected);
        assert_eq!(read[3000..], [0.0; 3000]);
        store.gather(0, &[1], &mut read[..1]).unwrap();
        assert_eq!(read[0], 65504.0);
    }
}
