# For a newcomer: `make demo`, `make lab` and `make test`. Each sets everything up by itself.

PYTHON := .venv/bin/python
# The lab and the tests build network namespaces: as root, by sudo where that is needed.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

# Tests wait most of their time, so two at a time; the tests of one file share what they built. Those
# that want no retransmission at all, or are about moments, are run by themselves.
PARALLEL := -n 2 --dist loadfile

.PHONY: demo lab test check unit network containers performance handover deb clean

demo: .venv/ready
	$(AS_ROOT) .venv/bin/sacip-tun lab

# The lab of docker-compose.yml, in containers, moved about. Without a Docker engine it starts one.
lab: .venv/ready
	tools/system-packages lab
	$(AS_ROOT) env LAB_NET=$(LAB_NET) $(PYTHON) containers/prove.py

test: .venv/ready-for-tests check unit network containers

# Each part of the tests by itself; the last two need root and /dev/net/tun.
check: .venv/ready-for-tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: .venv/ready-for-tests
	$(PYTHON) -m pytest -q $(PARALLEL) -m "not network"

network: .venv/ready-for-tests
	$(AS_ROOT) $(PYTHON) -m pytest -q $(PARALLEL) -m "network and not slow and not containers and not alone"
	$(AS_ROOT) $(PYTHON) -m pytest -q -m "alone and not slow"

containers: .venv/ready-for-tests
	tools/system-packages lab
	$(AS_ROOT) $(PYTHON) -m pytest -q -m containers

# Twenty minutes, in which nothing else should run; `--help` of the script has smaller portions.
performance: .venv/ready-for-tests
	tools/system-packages bench
	$(PYTHON) -m pip install -q -e ".[report]"
	$(AS_ROOT) $(PYTHON) benchmarks/throughput.py --json build/performance.json --profile --report docs

# Half an hour and more; `--help` of the script has smaller portions.
handover: .venv/ready-for-tests
	tools/system-packages bench
	$(PYTHON) -m pip install -q -e ".[report]"
	$(AS_ROOT) $(PYTHON) benchmarks/handover.py --json build/handover.json --report docs

# A Debian package of this tree: build/sacip-tun_VERSION_ARCHITECTURE.deb.
deb: .venv/ready
	$(PYTHON) -m pip install -q -e ".[deb]"
	$(PYTHON) distribution/build_deb.py

.venv/ready: pyproject.toml
	tools/system-packages demo
	/usr/bin/python3 -m venv .venv
	$(PYTHON) -m pip install -q --upgrade pip
	$(PYTHON) -m pip install -q -e .
	touch $@

.venv/ready-for-tests: .venv/ready
	tools/system-packages test
	tools/boringtun
	$(PYTHON) -m pip install -q -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .tools build dist *.egg-info
