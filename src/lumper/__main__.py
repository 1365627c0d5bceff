"""`python -m lumper` is `lumper`."""

from lumper.cli.main import main

if __name__ == "__main__":
    main()
