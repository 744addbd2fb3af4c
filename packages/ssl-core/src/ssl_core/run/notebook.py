"""Detection of a notebook (Jupyter, Colab, VS Code), without importing IPython."""

import sys
from typing import Any


def notebook_shell() -> Any:
    """Return IPython's shell if this process is the kernel of a notebook, else None."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return shell if hasattr(shell, "kernel") else None  # IPython in a terminal has no kernel
