//! System tests across the crates, on the real binaries: see `system/`. Fuzz targets: see `fuzz/`.
