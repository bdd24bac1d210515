"""The standard library's network modules over polytls.

Each module has the name of its counterpart (`http`, `smtp` for `smtplib`, ...) and subclasses it:
the standard module implements the protocol, a PEP 748 context provides TLS. Import them one by one,
such as `import polytls.net.http`. None of them imports `ssl`.

What they have in common:

- `tls=` takes a context, or a configuration, from which the default implementation creates a
  context. Without `tls`, clients share one context that trusts the system's trust store
  (`contexts`).
- The host name that you connect to is verified.
- A failed handshake raises the `TLSError` or `OSError` itself. If a connection ends or fails later,
  the standard module's exception is raised, with the `TLSError` as its `__cause__`.
- An upgrade that is not offered, is refused, or is mixed with plaintext raises an error. The
  connection is closed if it cannot be used any more. Nothing falls back to plaintext.
"""
