# The commands of the README. Needs Python >= 3.11 and nothing else; `PYTHON=python3.12 make test` picks another one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
-include .env
# what .env says also counts where make itself does not use it
$(foreach name,$(shell sed -n 's/^ *\([A-Za-z_][A-Za-z0-9_]*\) *[:?]*=.*/\1/p' .env 2>/dev/null),$(eval export $(name)))
export DAGSTER_HOME ?= $(CURDIR)/.dagster
export GALAXY_ASSETS_DATA ?= $(CURDIR)/data

.PHONY: env dev-env cluster-env demo real figures explore dev test test-browser test-cluster smoke mutants golden golden-by-engine cluster-demo campaign check bench rehearsal gpu-check representation fidelity \
	anomaly-search docs docs-test screenshots lock clean

# what a user needs; a stamp is newer than its lock only when the whole environment was installed
env: $(VENV)/installed
# that, and what tests, lint and benchmarks need
dev-env: $(VENV)/installed-dev

# what a user beyond one machine needs: docs/cluster.md
cluster-env: $(VENV)/installed-cluster

$(VENV)/installed $(VENV)/installed-dev $(VENV)/installed-cluster: $(VENV)/installed%: requirements%.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("galaxy-assets needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + "; name another one: PYTHON=python3.12 make ...") if not (3, 11) <= sys.version_info[:2] < (3, 14) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# the main job on the two simulated surveys
demo: env
	$(BIN)/galaxy-assets demo

# the same job on real surveys below DATA, e.g. DATA/sdss_gz1 and DATA/mirabest
real: env
	@test -n "$(DATA)" || { echo 'say where the surveys are: make real DATA=<folder>'; exit 2; }
	$(BIN)/galaxy-assets real "$(DATA)"

# one page of every survey's figures, data/figures/index.html; SURVEY=<name> for one survey
figures: env
	$(BIN)/galaxy-assets figures $(SURVEY)

# the explorer, a page in your browser; OPTIONS="--port 9000" and others
explore: env
	$(BIN)/galaxy-assets explore $(OPTIONS)

# Dagster's pages and daemon over the same store, behind a guard; OPTIONS="--port 3001" and others
dev: env
	$(BIN)/galaxy-assets dev $(OPTIONS)

# a worker a core, of one thread each, four at most
test: dev-env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

# the explorer in Chromium, which must be installed; GALAXY_ASSETS_FINISHED_DATA names a data folder to test on as well
test-browser: dev-env
	$(BIN)/python -m pytest -m browser galaxy_assets_tests/explorer galaxy_assets_tests/web

# whole surveys by a launcher, and on two Ray nodes of this machine, with workers killed; a quarter of an hour
test-cluster: dev-env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster

# a few of the browser's
smoke: dev-env
	$(BIN)/python -m pytest -m "browser and smoke" galaxy_assets_tests/explorer

# planted faults, one by one in a copy of the tree: the test named for each must fail; ONLY=<part of a name> plants some
mutants: dev-env
	$(BIN)/python -m galaxy_assets_tests.mutants $(if $(ONLY),"$(ONLY)")

# `dg` wants Dagster's folder to be there; the commands of galaxy-assets make it themselves
check: dev-env
	mkdir -p "$(DAGSTER_HOME)"
	test -e "$(DAGSTER_HOME)/dagster.yaml" || cp galaxy_assets/cli/dagster.yaml "$(DAGSTER_HOME)"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/dg check defs

# stages beside their peers, and docs/performance.md from them; 20 minutes, resumes; OPTIONS=--all adds the mixture and a
# simulated survey of 300,000, half an hour
bench: dev-env
	$(BIN)/python benchmarks/run.py $(OPTIONS)

# the whole main job on simulated surveys of N="20000 50000" images in the official layout: what grows how; resumes
rehearsal: dev-env
	@test -n "$(N)" || { echo 'say how many images: make rehearsal N=50000'; exit 2; }
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rehearsal.py $(N)

# whether a GPU computes what the CPU does, and how fast, docs/gpu.json and docs/gpu.md; six minutes on one GPU
gpu-check: dev-env
	$(BIN)/python benchmarks/gpu.py --json docs/gpu.json --page docs/gpu.md

# the tables of docs/representation.md, three seeds, on the sets below DATA; hours on a CPU, resumes
representation: dev-env
	@test -n "$(DATA)" || { echo 'say where the surveys are: make representation DATA=<folder>'; exit 2; }
	$(BIN)/python benchmarks/representation.py "$(DATA)" "$(GALAXY_ASSETS_DATA)/benchmarks" \
		$(foreach seed,0 1 2,sdss_gz1:imagenet:$(seed) sdss_gz1:random:$(seed) \
		mirabest:imagenet:$(seed) mirabest:sdss_gz1:$(seed) mirabest:random:$(seed))
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/tuned_surveys.py "$(DATA)" "$(GALAXY_ASSETS_DATA)/benchmarks/tuned" \
		$(foreach seed,0 1 2,$(foreach set,sdss_gz1 mirabest decals_rings gz2_spirals hubble_dso aries_stars \
		frdeep_nvss,$(set):$(seed)))

# what each reading of the paper changes on the real sets below DATA, the table of docs/fidelity.md; resumes
fidelity: dev-env
	@test -n "$(DATA)" || { echo 'say where the surveys are: make fidelity DATA=<folder>'; exit 2; }
	$(BIN)/python benchmarks/fidelity.py "$(DATA)" "$(GALAXY_ASSETS_DATA)/benchmarks"

# what the anomaly search finds on the real sets below DATA, the tables of docs/anomaly-search.md; half an hour, resumes
anomaly-search: dev-env
	@test -n "$(DATA)" || { echo 'say where the surveys are: make anomaly-search DATA=<folder>'; exit 2; }
	$(BIN)/python benchmarks/anomaly_search.py "$(DATA)" "$(GALAXY_ASSETS_DATA)/benchmarks"
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/graded_search.py "$(DATA)" "$(GALAXY_ASSETS_DATA)/benchmarks"

# the demo's radio survey in two batches on two Ray nodes of this machine, with Dagster in PostgreSQL, which must be
# installed (apt install postgresql), and the same in one process: equal tables? docs/cluster.md
cluster-demo: dev-env
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python benchmarks/cluster.py

# a small real world of the surveys below DATA, and the digest of every table, into OUT; compare two commits by SAME_AS
golden: dev-env
	@test -n "$(DATA)" -a -n "$(OUT)" || { echo 'say where the surveys are and where to write: make golden DATA=<folder> OUT=<file>.json'; exit 2; }
	$(BIN)/python benchmarks/golden.py "$(DATA)" "$(OUT).world" "$(OUT)" $(if $(SAME_AS),--same-as "$(SAME_AS)")

# that world made in process, by the launcher, on two Ray nodes, in a bucket, and in a bucket with PostgreSQL: equal
# tables? docs/cluster.md
golden-by-engine: dev-env
	@test -n "$(DATA)" || { echo 'say where the surveys are: make golden-by-engine DATA=<folder>'; exit 2; }
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python benchmarks/golden_by_engine.py "$(DATA)" $(if $(ONLY),--only $(ONLY))

# what kills, full disks, damaged files, hostile requests and flipped bits do to a small real survey of those below DATA,
# into OUT; two hours, resumes; ONLY=<section> runs one, PAGE=<file>.md writes the page too
campaign: dev-env
	@test -n "$(DATA)" -a -n "$(OUT)" || { echo 'say where the surveys are and where to write: make campaign DATA=<folder> OUT=<file>.json'; exit 2; }
	PYTHONPATH=benchmarks OMP_NUM_THREADS=1 $(BIN)/python -m campaign "$(DATA)" "$(OUT)" $(if $(PAGE),--page "$(PAGE)") \
		$(foreach section,$(ONLY),--only $(section))

# the site of docs/, into build/docs/html; a warning is an error
docs: dev-env
	$(BIN)/python -m sphinx -b html -W --keep-going -q -d build/docs/read docs build/docs/html
	@echo "file://$(CURDIR)/build/docs/html/index.html"

# its tutorials on the demo's lake, and its pages in Chromium, which must be installed; half an hour, the demo included
docs-test: dev-env demo
	GALAXY_ASSETS_DEMO_DATA="$(GALAXY_ASSETS_DATA)" OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -m "browser or not browser" galaxy_assets_tests/docs galaxy_assets_tests/test_readme.py

# the pictures of the site and the README, from the demo's lake; Chromium must be installed
screenshots: dev-env demo
	$(BIN)/python docs/screenshots.py

# after changing dependencies in pyproject.toml; needs uv
LOCK := uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-header --no-annotate --python-version 3.11
lock:
	$(LOCK) --extra dev --extra cluster --extra formats pyproject.toml -o requirements-dev.lock
	$(LOCK) --constraint requirements-dev.lock --extra formats pyproject.toml -o requirements.lock
	$(LOCK) --constraint requirements-dev.lock --extra cluster --extra formats pyproject.toml -o requirements-cluster.lock
	$(LOCK) --constraint requirements-dev.lock --group lake -o requirements-lake.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
