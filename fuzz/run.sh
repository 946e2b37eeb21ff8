#!/usr/bin/env bash
# Fuzzes each target for a minute (or FUZZ_SECONDS), starting from the committed corpus. New inputs are stored
# under target/fuzz. Needs a nightly toolchain; installs cargo-fuzz if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz

# Fuzzes one target: fuzz PACKAGE_FOLDER TARGET SEED_FOLDER...
fuzz() {
  local package=$1 target=$2 found="target/fuzz/corpus/$2"
  mkdir -p "$found"
  echo "fuzz: $target"
  cargo +nightly fuzz run --fuzz-dir "$package" --target-dir target/fuzz/build "$target" "$found" "${@:3}" -- \
    -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -print_final_stats=1 2>&1 |
    grep -E "stat::number_of_executed_units|stat::new_units_added|panicked|SUMMARY|Test unit" ||
    { echo "fuzz: $target failed" >&2; exit 1; }
}

# Links need only their own crate, which builds in seconds.
fuzz crates/link/fuzz link crates/link/fuzz/corpus/link
fuzz crates/link/fuzz canonical crates/link/fuzz/corpus/canonical
# The export files of the repository serve as seeds.
fuzz fuzz catalog exports tests/it/harness/exports
fuzz fuzz placeholder exports tests/it/harness/exports
fuzz fuzz token fuzz/corpus/token
fuzz fuzz files fuzz/corpus/files
fuzz fuzz archive fuzz/corpus/archive
# actix-router leaks the names of path parameters once per worker.
ASAN_OPTIONS=detect_leaks=0 fuzz fuzz head fuzz/corpus/head
