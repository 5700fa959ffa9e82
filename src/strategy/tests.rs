use super::*;

#[test]
fn strategies_are_known_by_name_and_no_others() {
    for strategy in Strategy::ALL {
        assert_eq!(strategy.name().parse(), Ok(strategy));
    }
    let error = "best".parse::<Strategy>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown strategy `best`; the strategies are `head`, `full`, `blocks`"
    );
    assert!(error.is_bad_input());
}
