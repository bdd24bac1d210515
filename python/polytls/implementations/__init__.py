"""The built-in implementations, one file each; reached by name through `polytls.registry`."""
