"""`python -m polytls`."""

from .cli import main

# Guarded: tools that import every module of a package must not be ended by it.
if __name__ == "__main__":
    raise SystemExit(main())
