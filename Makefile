# Jobcast by one word each; `make` alone lists them. Needs Rust; `make setup` gets the rest.

# `make run` and `make test` share one build, of Cargo's dev profile: a release build takes several times as long
# and helps nobody who tries things out. `make run PROFILE=release` measures.
PROFILE ?= dev
ARGS ?=

# What `make chaos` runs: single, sentinel or cluster; which seeds, as 7 or 1-10; for how long; when a submission is
# acknowledged (local or replicated); a fault to plant, as dedupe-off, or all, if the checker is to be tried; KEEP=1 keeps all logs;
# HTTP2=1 has haproxy speak HTTP/2 to the gateways.
TOPOLOGY ?= single
SEED ?= 1
SEEDS ?= $(SEED)
CHAOS_SECONDS ?= 60
DURABILITY ?= local
PLANT ?=
KEEP ?=
HTTP2 ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-http2 test-matrix chaos bench bench-micro bench-peers profile test-k8s test-webhooks test-browser screenshots sample-video lint fmt clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing, by the machine's package manager
	@scripts/setup

run: setup ## build and start everything: gateways on ports 8080 and 8081, a worker, a private Redis
	@cargo run --profile $(PROFILE) $(if $(filter-out dev,$(PROFILE)),--features jemalloc) -p jobcast-cli -- dev --gateways 2 $(ARGS)

test: setup ## build and run all tests, against real Redis servers that they start
	@scripts/test $(ARGS)

chaos: setup ## break a whole system at random, under load, and check what clients saw: TOPOLOGY=cluster SEED=7 CHAOS_SECONDS=60
	@JOBCAST_TEST_HTTP2=$(HTTP2) scripts/chaos --topology $(TOPOLOGY) --seed $(SEEDS) --seconds $(CHAOS_SECONDS) --durability $(DURABILITY) \
		$(if $(PLANT),--plant $(PLANT)) $(if $(KEEP),--keep) $(ARGS)

bench: setup ## measure how fast it is beside the bare scripts, with a release build: target/bench/summary.json
	@scripts/bench $(ARGS)

bench-peers: setup ## install Nchan and Pushpin, and measure streams of theirs beside Jobcast's
	@scripts/bench-peers $(ARGS)

bench-micro: setup ## measure the parts of an event's way alone, without Redis and sockets: ARGS=append measures some, ARGS=--instructions counts (Linux; installs valgrind)
	@scripts/bench-micro $(ARGS)

profile: setup ## draw where a gateway's processor time goes, with Linux' perf: docs/profiles/*.svg
	@scripts/profile $(ARGS)

test-matrix: setup ## run what touches Redis against Valkey 9.1 and Redis 8.2 as well (a choice of it is a part of `make test`)
	@scripts/test-matrix $(ARGS)

test-http2: setup ## run the tests of streams over HTTP/2 as well (a choice of them is a part of `make test`)
	@scripts/test-http2 $(ARGS)

test-k8s: setup ## check the Kubernetes manifests and the Dockerfile, without a cluster (a part of `make test`)
	@scripts/test-k8s

test-webhooks: setup ## try the code of docs/WEBHOOKS.md, and published libraries, on what Jobcast signs (a part of `make test`; installs Node)
	@scripts/test-webhooks $(ARGS)

test-browser: setup ## drive the page in a browser, through a load balancer (a part of `make test`; installs Chromium and Node)
	@scripts/test-browser

screenshots: setup ## take the README's pictures from the running program
	@scripts/screenshots

sample-video: ## make the video that the example task `transcode` is tried on (installs ffmpeg if it is missing)
	@scripts/sample-video

lint: ## check the form, clippy's lints, and who depends on what
	@scripts/lint

fmt: ## bring the code into its form
	@cargo fmt --all

clean: ## remove what was built, and the data of `make run`
	@cargo clean
	@rm -rf .jobcast
