use super::*;

#[test]
fn strategies_are_known_by_name_and_no_others() {
    for strategy in Strategy::ALL.into_iter().chain([
        Strategy::Select,
        Strategy::Top(4),
        Strategy::Windows(5),
        Strategy::Random(1),
    ]) {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    assert_eq!("windows3".parse(), Ok(Strategy::Windows(3)));
    assert_eq!("top".parse(), Ok(Strategy::Top(3)));
    for wrong in ["best", "top0", "head3", "top-1", "", "3", "full1"] {
        assert!(wrong.parse::<Strategy>().is_err(), "{wrong}");
    }
    let error = "best".parse::<Strategy>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown strategy `best`; the strategies are `head`, `full`, `layers`, `top3`, `top5`, \
         `blocks`, `windows`, `random3`, `select` and `all`, with any number in place of 3 and 5"
    );
    assert!(error.is_bad_input());
}
