"""The built-in implementations, each a module or a package; `polytls.registry` finds them."""
