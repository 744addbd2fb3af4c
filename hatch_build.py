"""Dependencies of the meta-package: this checkout's members by path, or version ranges in a release.

The name ``ssl-eval`` on the public index belongs to somebody else, so in a checkout our names must never be looked up
there. ``SSL_RELEASE=1`` (set for ``hatch build``) writes the ranges that a published wheel carries.
"""

import os
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# member -> the extra that the bundle brings with it
MEMBERS = {
    "ssl-losses": "",
    "ssl-data": "",
    "ssl-eval": "[report,wandb]",
    "ssl-core": "[tensorboard,timm,wandb]",
    "ssl-launch": "",
}


class MembersHook(MetadataHookInterface):
    def update(self, metadata: dict) -> None:
        def requirement(name: str, extra: str) -> str:
            if os.environ.get("SSL_RELEASE") == "1":
                return f"{name}{extra}>=1.0,<2"
            return f"{name}{extra} @ {(Path(self.root) / 'packages' / name).as_uri()}"

        # pip takes ssl-eval and ssl-eval[report] for two projects, and looks up the one that has no path on the index
        plain = [requirement(name, "") for name in MEMBERS]
        metadata["dependencies"] = plain + [requirement(name, extra) for name, extra in MEMBERS.items() if extra]
        metadata["optional-dependencies"] = {
            "ffcv": [requirement("ssl-data", "[ffcv]")],
            "optuna": [requirement("ssl-launch", "[optuna]")],  # not by default: the sweeper needs an optuna below 3
        }
