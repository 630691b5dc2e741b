# Build: what script/setup installs on a machine of one's own. With `--build-arg PGO=1` the build is guided by a profile
# (script/build-pgo), which needs the profile tool of the LLVM that this rustc has.
FROM rust:1.95-bookworm AS build
ARG PGO=0
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake $([ "$PGO" != 1 ] || echo curl llvm-22 openssl python3) \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN if [ "$PGO" = 1 ]; then ./script/build-pgo && install -D target/pgo/linkgate target/release/linkgate; \
    else cargo build --release --locked; fi && strip target/release/linkgate

# Run: the program, the certificates it checks Mosaic's against, and a user of its own.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin linkgate \
 && install -d -o linkgate -g linkgate -m 0700 /data /config
COPY --from=build /src/target/release/linkgate /usr/local/bin/linkgate
USER linkgate
WORKDIR /data
# gateway.toml comes in at /config; `session.store = "sqlite:/data/linkgate.db"` keeps sessions across containers.
VOLUME ["/config", "/data"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["linkgate", "--config", "/config/gateway.toml", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["linkgate", "--config", "/config/gateway.toml"]
