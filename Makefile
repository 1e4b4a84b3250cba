# What frontdesk's tree can do today. See README.md.
.PHONY: test lint fmt

test: ## everything a change must pass
	@.ci/need-postgres
	@echo "== format"; test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	@echo "== vet"; go vet ./...
	@echo "== test"; go test -race -count=1 -timeout 10m ./...

lint: ## golangci-lint, built from its module on first use
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.2
	bin/golangci-lint run

fmt:
	gofmt -w .
