.PHONY: race run test lint generate current bench torture vuln fmt

run: ## frontdesk on its own Postgres, with the sandbox
	@.ci/need-postgres
	@go build -o bin/frontdesk ./cmd/frontdesk
	@bin/frontdesk

test: current ## everything a change must pass
	@.ci/need-postgres
	@.ci/need-chromium
	@.ci/need-packages aimock @copilotkit/aimock@1.43.0
	@.ci/need-packages oracles standardwebhooks@1.1.1 express-rate-limit@8.7.5 express@5.3.0 multer@2.5.0
	@.ci/need-packages clients ws@8.18.3 eventsource@4.0.0
	@echo "== format"; test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	@echo "== vet"; go vet ./...
	@echo "== test"; go test -race -count=1 -timeout 15m -p 2 $$(go list ./... | grep -vx -e frontdesk/bot -e frontdesk/bot/web -e frontdesk/cmd/frontdesk)
	@go test -count=1 -timeout 11m ./bot/web
	@go test -count=1 -timeout 11m -parallel 8 ./bot # its tests wait for whatsmeow more than they work
	@go test -count=1 -timeout 20m -parallel 3 ./cmd/frontdesk # neither do these: two at once leave a machine of two cores idle

race: ## the accounts under the race detector; whatsmeow's own races (its sockets, its wait for a connection) may be seen as well
	go test -race -count=1 -timeout 20m ./bot

lint: ## golangci-lint, built from its module on first use
	@echo "== lint"
	@GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.2
	@bin/golangci-lint run

generate: ## pages and the description of the API
	@go run github.com/a-h/templ/cmd/templ@v0.3.977 generate -path bot/web
	@go test -count=1 -run TestDescriptionOfTheAPIIsCurrent ./bot/web -update

current: ## fails when generated files are not
	@echo "== generated files"
	@go run github.com/a-h/templ/cmd/templ@v0.3.977 generate -path bot/web >/dev/null 2>&1
	@git diff --exit-code --stat -- 'bot/web/*_templ.go' || { echo "generated pages were not current; commit what make generate made" >&2; exit 1; }

bench: ## memory, added latency and the highest rate over the built binary, delivery to 1,000 sockets; providers beside their goals and other gateways
	@.ci/fault-table
	go test -run '^$$' -bench . -timeout 10m ./providers
	go test -run '^$$' -bench ReserveAndSettle -timeout 10m ./store
	go test -run '^$$' -bench . -benchtime 1x -timeout 10m ./bot/live
	go test -run '^$$' -bench . -timeout 10m ./bot/webhook
	go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./cmd/frontdesk

torture: ## kill -9, faults and races at full length; prints lost, doubled, reordered
	FRONTDESK_TORTURE=1 go test -count=1 -v -p 1 -timeout 60m -run 'Kills|Away|Restart|BothSides|ThreeProcesses|MergeWhile|PersonWhoSpeaks|FiftyUploads' ./cmd/frontdesk ./bot ./bot/webhook ./store | grep -v '^=== '

vuln: ## known vulnerabilities, where their database can be reached
	go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

fmt:
	gofmt -w .
