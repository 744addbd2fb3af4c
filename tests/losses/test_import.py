"""What `import ssl_losses` costs."""

import subprocess
import sys


def test_importing_brings_torch_and_nothing_else():
    """numpy may come with torch; nothing that torch alone would not bring may come with us."""
    code = "import sys, torch; before = set(sys.modules); import ssl_losses; print(*sorted(set(sys.modules) - before))"
    brought = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in brought} == {"ssl_losses"}
