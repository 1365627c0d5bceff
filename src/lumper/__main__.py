"""`python -m lumper` is `lumper`."""

from lumper.cli.entry import main

if __name__ == "__main__":
    main()
