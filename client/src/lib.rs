//! The hub of a Somnus federation: one person's nights.
