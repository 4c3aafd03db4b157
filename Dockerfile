# Two images from one build: the gateway (target boreas) and the demo service
# (target chat). Each holds one static binary on an image without a shell. Wants
# BuildKit, the default builder of Docker since 23.0.
#
#   docker build -t boreas .
#   docker build -t boreas-chat --target chat .

ARG GO_IMAGE=golang:1.26-alpine
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${GO_IMAGE} AS build
WORKDIR /src
ENV GOPATH=/go GOCACHE=/go/cache
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
    CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/ ./cmd/boreas ./examples/chat

FROM ${RUNTIME_IMAGE} AS chat
COPY --from=build /out/chat /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/chat"]

FROM ${RUNTIME_IMAGE} AS boreas
COPY --from=build /out/boreas /usr/local/bin/
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["/usr/local/bin/boreas", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/boreas"]
CMD ["gateway"]
