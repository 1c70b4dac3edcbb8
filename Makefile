.PHONY: check lint format test slow long weights peers claims bench kills

check: lint test ## what a change must pass before it is handed in

lint:
	ruff check
	ruff format --check
	pyright
	lint-imports

format:
	ruff check --fix
	ruff format

test:
	pytest -n 2

slow:
	pytest -n 2 -m "slow and not gpu"

long: ## whole searches and real shapes that take minutes each
	pytest -n 2 -m long

weights: ## with real pretrained weights, which are fetched the first time; see docs/weights.md
	pytest -m weights -s

peers: ## the metrics against other people's code, which is fetched; Java is needed for the words of captions
	pip install -q -e ".[peers]"
	pip install -q --no-deps --upgrade --target .peers lmms-eval==0.7.3
	pytest -m peers -s tests/peers

claims: ## docs/paper_claims.md anew, in hours; WORK keeps what is finished
	python benchmarks/paper_claims.py --work $(or $(WORK),results/claims)

bench: ## benchmarks/results.jsonl and docs/performance.md anew, in some hours; the machine must be idle
	python benchmarks/bench.py

kills: ## a search whose processes are killed 30 times must end as if nothing had been; an hour on two cores
	python benchmarks/kills.py --kills 30
