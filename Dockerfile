# One static binary and the certificate authorities; no shell, no package manager, no root.
#   docker build --build-arg VERSION=$(git describe --tags --always) -t dealbox .

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/cache/build \
    CGO_ENABLED=0 GOCACHE=/cache/build go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /dealbox ./cmd/dealbox

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /dealbox /usr/local/bin/dealbox
USER 65532:65532
# In a container the port is published by whoever runs it; loopback would be unreachable.
ENV PATH=/usr/local/bin LISTEN_ADDR=0.0.0.0 PORT=8000
EXPOSE 8000
# No HEALTHCHECK: there is no client in the image. Ask /healthz (alive) and /readyz
# (can accept webhooks) from outside, as Kubernetes, ECS and load balancers do.
# `docker stop` waits 10 s by default, Dealbox drains for up to SHUTDOWN_TIMEOUT (20 s):
# stop it with `docker stop --time 30`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["dealbox"]
CMD ["serve"]
