"""`python -m aer` is the `aer` command.

Worker processes import the module that the program began with: it must cost nothing until it runs.
"""


def main() -> None:
    """The `aer` command."""
    from aer.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
