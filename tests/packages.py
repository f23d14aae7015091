"""The packages that the tests run with, for copies and clones of the project."""

import sys

# What stands for `make install` in a clone: shell commands, run in its folder.
INSTALL = (
    f"mkdir .venv; ln -s {sys.prefix}/bin {sys.prefix}/lib .venv; "
    f"if [ -f {sys.prefix}/pyvenv.cfg ]; then cp {sys.prefix}/pyvenv.cfg .venv; fi; touch .venv/.installed"
)
