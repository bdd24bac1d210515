"""A fleet of server processes with one secret, against nginx: `python -m benches --fleet`.

docs/fleets.md says what is measured and has the figures. `servers` starts the fleets: processes of
`worker`, and nginx. `load` is the load on them, by `crates/rustls/examples/load.rs`. `figures`
takes turns, and makes the table.
"""
