"""The built-in implementations, each a module or a package; found by `polytls.registry`."""
