"""The benchmark: `make bench`, or `python -m benches` where polytls is installed.

docs/performance.md says what is measured and how. In reading order:

- `cases`: every line of the table, and `marks`: what polytls is held to
- `peers`: the libraries, each behind the same few methods
- `in_memory` with `loops`, `loopback` and `asynchronous` with `server` and `requests`, `resident`,
  `starting`: how each kind of case is measured
- `floors`: what the machine does without TLS, or without Python
- `rounds`: taking turns, timing, medians; `machine`: cores and facts
- `report`, `chart`: the table, JSON, the page, the drawings; `scaling`: whether costs stay flat
- `programs`: what a run starts; `fleet`: fleets of processes against nginx, a benchmark of its own
"""
