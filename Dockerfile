# syntax=docker/dockerfile:1
# One image for every role: docker build -t jobcast . && docker run --rm jobcast --help

FROM rust:1.95-slim-trixie AS build
# The memory allocator is in C, and built by make; any version of it does.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What was downloaded and compiled stays in the builder's caches, not in a layer: after a change only the crates that it
# touches are built anew. So the binary has to be taken out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package jobcast-cli --features jemalloc \
    && install target/release/jobcast /usr/local/bin/jobcast

# Of the same Debian, so of the same libc. Not smaller than this: the programs of your tasks come on top, by
# `FROM jobcast` and apt-get.
FROM debian:trixie-slim
LABEL org.opencontainers.image.title="jobcast" \
    org.opencontainers.image.description="Background jobs over HTTP: submit, and follow by stream, poll or webhook" \
    org.opencontainers.image.licenses="Apache-2.0"
# For rediss://, and for programs that call out.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/local/bin/jobcast /usr/local/bin/
COPY config/jobcast.toml /etc/jobcast/
# Nobody in particular, and by number, so that Kubernetes can tell that it isn't root. Writes nothing: runs with
# --read-only, and a worker whose programs write needs a /tmp beside.
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["jobcast"]
CMD ["gateway", "--config", "/etc/jobcast/jobcast.toml", "--listen", "0.0.0.0:8080"]
