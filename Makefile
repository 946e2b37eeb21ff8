# Rowlink. `make help` lists what can be made.
.DEFAULT_GOAL := help
.PHONY: help run build test test-large e2e soak check fmt lint fuzz timing deny bench screenshots setup

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1	\2/' | expand -t 12

run: ## Build in release mode and serve the demo
	cargo run --release -- demo

build: ## Build the binary to deploy, target/dist/rowlink
	cargo build --profile dist

test: setup lint ## Install what the tests need; check format and lints; run every test but the heavy ones, as CI does
	cargo test --doc
	cargo test --all-targets -- --include-ignored --skip heavy

test-large: ## Also install LibreOffice; test large workbooks: half an hour, 10 GB of disk
	tests/setup.sh large
	cargo test --release --test it heavy::large_workbooks:: -- --ignored --test-threads 1

e2e: ## Three replicas over PostgreSQL behind nginx, HAProxy and Envoy, killed, restarted, skewed: ten minutes; prints figures
	tests/setup.sh e2e
	cargo test --release --test it heavy::e2e:: -- --ignored --test-threads 1 --nocapture
	cargo test --release --test it overload:: -- --include-ignored --test-threads 1 --nocapture

soak: setup ## Twenty minutes of load on three replicas; memory, descriptors and connections must not grow
	cargo test --release --test it heavy::soak:: -- --ignored --nocapture

check: lint ## Fast loop for contributors: format, lints, unit and SQLite tests; needs only Rust and a C compiler
	cargo test

fmt: ## Format the code
	cargo fmt

lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

fuzz: setup ## Fuzz each parser for a minute; a million random links against the second implementation
	fuzz/run.sh
	cargo test --release --test it differential:: -- --include-ignored --nocapture

timing: ## Check that verifying takes as long whatever is wrong with a link: |max t| below 10
	cargo run --profile dist --bin timing --manifest-path benches/timing/Cargo.toml --target-dir target/timing

deny: ## Check licences, duplicates, sources and, with a network, advisories of all dependencies
	cargo deny check

bench: build setup ## Measure speed and memory against the peers, in one run
	cargo build --profile dist --manifest-path benches/peers/Cargo.toml --target-dir target
	cargo build --profile dist --manifest-path benches/timing/Cargo.toml --target-dir target/timing
	benches/run.py

screenshots: build setup ## Take the pictures of the README anew
	docs/images/take.sh

setup: ## Install what tests and benchmarks need, once
	tests/setup.sh
