"""`python -m tests.benchmarks [NAME ...]`."""

from tests.benchmarks.run import main

main()
