"""Stand in the way of a package that Jupyter brings and Ray's tests do not need.

Each process of Ray imports jsonschema, and with it this package, where it is installed.
It takes 4 seconds of processor time to build a grammar: of a dozen processes on two
cores most of a minute, and Ray gives its own agent 15 seconds to start. jsonschema goes
on without it.
"""

raise ImportError("Left out to start sooner, see this file.")
