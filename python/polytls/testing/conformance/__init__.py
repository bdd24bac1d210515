"""The conformance kit: what every `TLSImplementation` is held to, seen from outside.

    pytest --pyargs polytls.testing.conformance --polytls-implementation NAME
    pytest --pyargs polytls.testing.conformance --polytls-implementation package.module:ATTRIBUTE

The cases are ordinary pytest modules. What an implementation cannot do by its own `Capabilities`
is not asked of it (`selection`); what a library cannot do beyond that stands in a table of
deviations (`tables`), each with its reason. `fixtures` and `lab` are what the cases, and
polytls's own tests, are written with. docs/conformance.md says how to run it on your own.
"""
