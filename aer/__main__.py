"""`python -m aer` is the `aer` command."""

from aer.cli import main

main()
