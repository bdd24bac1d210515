"""The conformance kit: tests of every `TLSImplementation` through its public interface.

    pytest --pyargs polytls.testing.conformance --polytls-implementation NAME
    pytest --pyargs polytls.testing.conformance --polytls-implementation package.module:ATTRIBUTE

The tests are ordinary pytest modules. What an implementation's `Capabilities` exclude is not tested
(`selection`); other limitations of a library are listed in a table of deviations (`tables`), each
with its reason. The tests, and polytls's own, use `fixtures` and `lab`. docs/conformance.md says
how to run the kit on your own implementation.
"""
