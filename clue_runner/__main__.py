"""``python -m clue_runner``: the same as the ``clue`` command."""

from clue_runner.cli.main import main

if __name__ == "__main__":
    main()
