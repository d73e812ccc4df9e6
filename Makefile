# Everything a person or CI runs. Each target brings what it needs on Debian (as
# root, by apt) or says what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
# A shell other than bash leaves PREFIX=~/.local as it is, and a directory called ~ would be made.
ifneq ($(filter install install-kms install-server,$(MAKECMDGOALS)),)
ifneq ($(firstword $(filter ~%,$(PREFIX))),)
$(error PREFIX=$(PREFIX): this shell leaves ~ as it is; write PREFIX=$$HOME/.local)
endif
ifeq ($(firstword $(filter /%,$(firstword $(PREFIX)))),)
$(error PREFIX=$(PREFIX) is not absolute: the units, and git, name programs by their whole path)
endif
endif
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FLAGS := -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
# Each with what its own module requires, and not with what the workspace makes of it.
BUILD := GOWORK=off CGO_ENABLED=0 go build $(FLAGS)
# The release of Go that go.work names is fetched where the one at hand is older, which has
# known holes, and where GOTOOLCHAIN=local in the environment says no: some images do.
# "make GOTOOLCHAIN=local" uses what is there.
export GOTOOLCHAIN := auto
# CGO=1: ghapp-signer-kms with PKCS#11 modules, which needs a C compiler; with
# TAGS=yubikey as well, which needs libpcsclite-dev, also with YubiKeys.
CGO ?= 0
TAGS ?=

.PHONY: help
help: ## show the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: build
build: ## build bin/ghapp and bin/git-credential-ghapp
	@scripts/need go git
	@mkdir -p bin
	$(BUILD) -o bin/ ./cmd/ghapp ./cmd/git-credential-ghapp
	@touch bin/ghapp bin/git-credential-ghapp

# After make build, so that who installs as another user (sudo make install) needs no Go
# and leaves no file of theirs here.
.PHONY: install
install: ## install both below $(PREFIX)/bin, and on Linux the units of the agent
	@scripts/built bin/ghapp bin/git-credential-ghapp || $(MAKE) --no-print-directory build
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 bin/ghapp bin/git-credential-ghapp "$(DESTDIR)$(PREFIX)/bin/"
	@scripts/units "$(DESTDIR)$(PREFIX)/share/systemd/user" "$(PREFIX)/bin"

.PHONY: kms
kms: ## build bin/ghapp-signer-kms, for keys in key services and devices
	@scripts/need go git $(if $(filter 1,$(CGO)),gcc) $(if $(filter yubikey,$(TAGS)),pkg-config /usr/include/PCSC/winscard.h)
	@mkdir -p bin
	cd kms && GOWORK=off CGO_ENABLED=$(CGO) go build $(FLAGS) -tags "$(TAGS)" -o ../bin/ ./cmd/ghapp-signer-kms
	@touch bin/ghapp-signer-kms

.PHONY: install-kms
install-kms: ## install it below $(PREFIX)/bin
	@{ [[ "$(CGO)$(TAGS)" == 0 ]] && scripts/built bin/ghapp-signer-kms; } || $(MAKE) --no-print-directory kms
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 bin/ghapp-signer-kms "$(DESTDIR)$(PREFIX)/bin/"

.PHONY: server
server: ## build bin/ghapp-server, which hands out tokens to machines that have no key
	@scripts/need go git
	@mkdir -p bin
	cd server && $(BUILD) -o ../bin/ ./cmd/ghapp-server
	@touch bin/ghapp-server

.PHONY: install-server
install-server: ## install it below $(PREFIX)/bin
	@scripts/built bin/ghapp-server || $(MAKE) --no-print-directory server
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 bin/ghapp-server "$(DESTDIR)$(PREFIX)/bin/"

.PHONY: demo
demo: ## the whole way, from an App's key to a clone, on this machine alone
	@scripts/built bin/ghapp || { echo "Building ghapp, which takes a minute the first time ..."; $(MAKE) --no-print-directory build; }
	@bin/ghapp demo

# What the tests start.
STARTED := bwrap setpriv go git gcc git-lfs gh mkfs.xfs npm openssl ssh-agent gpg gpg-agent dbus-daemon gdbus gnome-keyring-daemon \
	secret-tool softhsm2-util pkcs11-tool strace swtpm pkg-config /usr/include/PCSC/winscard.h

.PHONY: quick
quick: ## the tests of every package but the long ones, which it names, without the race detector
	@scripts/need go git
	@scripts/quick

.PHONY: test
test: ## format, vet, cross-compile, and all tests; with the race detector, but where make race has it
	@scripts/need $(STARTED)
	@scripts/check
	@scripts/gotest

.PHONY: race
race: ## with the race detector, the tests that start a program for nearly all they do
	@scripts/need $(STARTED)
	@scripts/gotest-race

.PHONY: cover
cover: ## what part of each package the tests reach, also by the programs that they start
	@scripts/need $(STARTED)
	@scripts/cover

.PHONY: lint
lint: ## golangci-lint over every module; what it looks for is in .golangci.yml
	@scripts/need go git gcc
	@scripts/lint

.PHONY: gits
gits: ## the tests that start git once more, with the git of two other Debian releases
	@scripts/need $(STARTED)
	@scripts/gotest-gits

.PHONY: fidelity
fidelity: ## hold the stand-in against GitHub's API description and other people's clients
	@scripts/need go git gcc node npm
	@scripts/fidelity

.PHONY: transit
transit: ## hold keys in Vault against Vault's own transit engine
	@scripts/need go git gcc
	@scripts/transit

.PHONY: browser
browser: ## the pages of ghapp setup and of status in a real Chromium; screenshots in build/screenshots
	@scripts/need go git gcc chromium
	@scripts/browser

.PHONY: bench
bench: ## benchmarks beside other tools; see bench/RESULTS.md
	@scripts/need go git
	cd bench && go test -run '^$$' -bench . -count 6 -timeout 60m ./...

.PHONY: clean
clean: ## remove what was built and unpacked
	rm -rf bin .cache fidelity/node_modules
