# What one does with this tree. `make` alone lists it.
#
# demo and test are self-contained: on a machine with the Rust toolchain they fetch, build and set up what they need.

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-full test-variants kills soak crowd check bench bench-hour bench-publish bench-parts bench-check image deb

CARGO ?= cargo
# Further arguments of `make serve` and `make demo`, as in: make serve ARGS="--config my.toml"
ARGS ?=
# How long `make soak` plays, as in: make soak MINUTES=600
MINUTES ?= 30
# Which suites `make test-variants` runs; all of them: lib it model clients conformance
SUITES ?=
# How much `make bench` measures: 1 is a look, ROWS names rows by their beginnings, AGAINST is another build of roadstead
QUICK ?=
ROWS ?=
AGAINST ?=
# Of the package.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# For which architecture `make image` builds, where it is not this machine's: arm64 or amd64
ARCH ?=
# Which moments `make kills` plays
SEED ?= 7

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: ## The main job end to end: 16 nodes pull an image through the mirror, cold, warm, and with upstream gone
	$(CARGO) run --quiet --release --locked -- demo $(ARGS)

serve: ## Start the mirror on 127.0.0.1:5000, with its files in ./data
	$(CARGO) run --quiet --release --locked -- serve $(ARGS)

test: ## Every test of less than 20 minutes; as root with apt, installs the Debian packages it lacks
	tests/with-clients $(CARGO) test --locked --no-fail-fast

test-full: ## Every test, the long ones at their full length too (an hour or more)
	@echo "make test-full: runs the long tests at full length; expect an hour or more"
	ROADSTEAD_TEST_FULL=1 tests/with-clients $(CARGO) test --locked --no-fail-fast --release -- --include-ignored

test-variants: ## The suites with each variant of the hot path forced, one after the other (an hour and a half; SUITES="it model")
	tests/with-clients tests/with-variants $(SUITES)

kills: ## kill -9 at random moments of export, import and warm, 50 of each, and of a mirror that imports (SEED=7)
	ROADSTEAD_TEST_FULL=1 ROADSTEAD_TEST_SEED=$(SEED) $(CARGO) test --locked --test it -- --nocapture carry::killed

soak: ## Power that goes, upstream's faults, then games of everything at once, by fresh seeds, for MINUTES (30) minutes
	PROPTEST_RNG_SEED=$$(date +%s) $(CARGO) test --locked --release --lib
	ROADSTEAD_TEST_SEED=$$(date +%s) $(CARGO) test --locked --release --test it -- --nocapture power::
	$(CARGO) test --locked --release --test it -- --ignored --nocapture soak::
	ROADSTEAD_SOAK_MINUTES=$(MINUTES) $(CARGO) test --locked --release --test model -- --ignored --nocapture soak

crowd: ## What 2,000 idle and 200 slow clients and a flood of heads cost the others (two minutes, on a quiet machine)
	$(CARGO) build --locked --release
	ROADSTEAD_TEST_BINARY=$(CURDIR)/target/release/roadstead $(CARGO) test --locked --test it -- --ignored --nocapture crowd::measured

check: ## Formatting and lints, warnings denied; licences and bans too where cargo-deny is at hand
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then \
	    cargo-deny --locked --offline check bans licenses sources; \
	else \
	    echo "cargo-deny is not at hand: licences and bans were not checked"; \
	fi

bench: ## The mirror beside nginx and docker-registry in one run (15 minutes; QUICK=1: 4; ROWS=blobs,tls; AGAINST=other-binary)
	benches/with-servers env ROADSTEAD_BENCH_QUICK=$(QUICK) ROADSTEAD_BENCH_AGAINST=$(AGAINST) ROWS=$(ROWS) \
	    $(CARGO) bench --locked --bench beside

bench-hour: ## Whether memory grows over an hour of load (it takes an hour)
	ROADSTEAD_BENCH_MINUTES=60 ROWS=hour $(CARGO) bench --locked --bench beside

bench-publish: ## Copies what the last whole `make bench` measured into README.md and docs/performance.md
	benches/publish $(VERSION)

bench-parts: ## What the pure parts of a request cost, and how long a large cold pull takes over one connection and over several
	$(CARGO) bench --locked --bench micro --bench fill --bench versions

bench-check: ## Instructions that a hit takes, held against the recorded ones (two minutes; as root with apt, installs valgrind)
	PROGRAMS=valgrind:valgrind benches/with-servers $(CARGO) bench --locked --bench instructions

image: ## The container image roadstead:VERSION, pulling nothing; ARCH=arm64: for another machine, as an archive
ifeq ($(ARCH),)
	$(CARGO) build --locked --release
	packaging/rootfs target/release/roadstead target/image
	DOCKER_BUILDKIT=0 docker build --network=none --tag roadstead:$(VERSION) .
else
	CARGO="$(CARGO)" packaging/cross $(ARCH) $(VERSION)
endif

deb: ## The Debian package, in target/debian; needs cargo-deb (cargo install cargo-deb)
	$(CARGO) build --locked --release
	packaging/papers target/release/roadstead target/papers
	$(CARGO) deb --no-build
