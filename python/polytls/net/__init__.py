"""The standard library's network modules over TLS connections of polytls.

Each module here has the name of its counterpart (`http`, `smtp` for `smtplib`, ...) and subclasses
it: the protocol is the standard module's, the TLS that of a PEP 748 context. They are imported one
by one, as `import polytls.net.http`; none of them imports `ssl`.

What they have in common:

- `tls=` takes a context, or a configuration, of which the default implementation makes a context.
  Left out: one client context, made once, which trusts what the system trusts (`contexts`).
- Names are verified: the one that was dialled.
- What fails in a handshake is raised as it is, a `TLSError` or `OSError`. Later, a connection that
  ends or fails is what it is to the standard module, with the `TLSError` as its `__cause__`.
- An upgrade that is not offered, refused, or mixed with plaintext is an error, and the connection
  is closed where it cannot be used any more. Nothing falls back to plaintext.
"""
