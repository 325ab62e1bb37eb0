//! The sleep-staging network: encoders, night-level mixer, training.
