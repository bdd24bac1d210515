"""`python -m polytls`."""

from .cli import main

# Guarded, so that tools can import every module of the package.
if __name__ == "__main__":
    raise SystemExit(main())
