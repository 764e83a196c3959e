# What a fresh machine needs: python3 (3.11 or newer, with venv) and make.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
WORKERS ?= 4
# Some images set it; without it each process of the tests compiles the same files again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test soak mutants bench golden pictures translations browser databases proxies \
	check format requirements dist

help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

demo: .venv/run  ## Sandbox, bridge and sample events until Ctrl-C; ARGS=--once ends by itself
	@$(BIN)/bridge demo $(ARGS)

test: .venv/test  ## Run all tests; ARGS="-k word" for some
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: .venv/test  ## Run the trust suite in its long form (hours), and print its figures
	SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=0 tests/trust $(ARGS)

mutants: .venv/dev  ## Change the code that decides, one place at a time: do tests notice? (5 minutes)
	$(BIN)/python .ci/mutants.py $(ARGS)

bench: .venv/test  ## Measure beside a bare Flask endpoint, and write bench/RESULTS.md
	$(BIN)/python bench/run.py $(ARGS)

golden: .venv/test  ## Write the golden renderings anew, for you to read and commit
	GOLDEN=write $(BIN)/python -m pytest -q tests/messages/test_renderer.py -k golden

pictures: .venv/test  ## Take the documents' pictures anew with the browser tests
	PICTURES=write $(BIN)/python -m pytest -q tests/console/test_browser.py \
	  tests/console/test_message_pictures.py

browser:  ## Install what the browser tests need by apt-get, where it is missing and we are root
	@if [ ! -x /usr/bin/chromium-headless-shell ] || ! fc-list 2>/dev/null | grep -q wqy; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	      chromium-headless-shell fonts-wqy-microhei fontconfig; \
	  else echo "as root: apt-get install chromium-headless-shell fonts-wqy-microhei"; fi; fi

databases:  ## Install PostgreSQL and PgBouncer for their tests, likewise
	@if [ ! -x /usr/sbin/pgbouncer ] || ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	      postgresql pgbouncer; \
	  else echo "as root: apt-get install postgresql pgbouncer"; fi; fi

proxies:  ## Install nginx and Caddy for the tests of deploy/, likewise
	@if [ ! -x /usr/sbin/nginx ] || [ ! -x /usr/bin/caddy ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	      nginx caddy openssl systemd; \
	  else echo "as root: apt-get install nginx caddy openssl systemd"; fi; fi

translations: .venv/dev  ## Gather the console's texts, to be translated in its .po, and compile it
	$(BIN)/python .ci/translations.py

check: .venv/dev  ## Lint, format, types, imports, requirements, translations, package, weaknesses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/requirements.py
	$(BIN)/python .ci/translations.py --check
	$(BIN)/python .ci/dist.py --check
	$(BIN)/python .ci/audit.py

format: .venv/dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements: .venv/dev  ## Write requirements.txt anew from what is installed
	$(BIN)/python .ci/requirements.py --write

dist: .venv/dev  ## Build wheel and sdist into dist/, and look at what they hold
	$(BIN)/python .ci/dist.py

# The program, with what its tests need, with every tool. Each file is compiled when it is first
# used: most of the tools' never are.
.venv/test: EXTRA = [test]
.venv/dev: EXTRA = [dev]
.venv/run .venv/test .venv/dev: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -r requirements.txt -e '.$(EXTRA)'
	touch $@
