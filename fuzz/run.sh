#!/usr/bin/env bash
# Fuzzes each target for a minute (or FUZZ_SECONDS), starting from the committed corpus. New inputs are stored
# under target/fuzz. Needs a nightly toolchain; installs cargo-fuzz if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
for target in link canonical catalog placeholder token; do
  # The export files of the repository serve as seeds.
  case $target in
    catalog | placeholder) seeds=(exports tests/it/harness/exports) ;;
    *) seeds=("fuzz/corpus/$target") ;;
  esac
  found="target/fuzz/corpus/$target"
  mkdir -p "$found"
  echo "fuzz: $target"
  cargo +nightly fuzz run --target-dir target/fuzz/build "$target" "$found" "${seeds[@]}" -- \
    -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -print_final_stats=1 2>&1 |
    grep -E "stat::number_of_executed_units|stat::new_units_added|panicked|SUMMARY|Test unit" ||
    { echo "fuzz: $target failed" >&2; exit 1; }
done
