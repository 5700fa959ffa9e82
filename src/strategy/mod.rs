//! What to train: the candidates of each strategy.
