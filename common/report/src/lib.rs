//! Metrics, night statistics, agreement analysis and the reports that show them.
