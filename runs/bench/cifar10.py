"""Real images: SimCLR on CIFAR-10 stored as JPEG files in class folders, with a small backbone, on the CPU.

    python3 runs/bench/cifar10.py cifar10.tar.gz --epochs 8

``cifar10.tar.gz`` holds ``cifar10/{train,test}/<class>/*.jpg``. Prints the command, the minutes that it took, the table
and the online accuracies.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

RUNS = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("overrides", nargs="*", help="passed on to main.py")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(arguments.archive) as archive:
            archive.extractall(folder, filter="data")
        command = [
            "main.py", "--config-name=simclr_cifar10_sgd", "data.dataset=ImageFolder", f"data.root={folder}/cifar10",
            "model.backbone=resnet9", "model.backbone_options={width: 16}", "model.projector=[256, 64]",
            "optim.batch_size=512", "optim.lr=0.2", f"optim.epochs={arguments.epochs}", "log.eval_every=1",
            f"log.folder={folder}/runs", "log.run=cifar10", *arguments.overrides,
        ]  # fmt: skip
        print("python3", shlex.join(command).replace(folder, "FOLDER"), flush=True)
        subprocess.run([sys.executable, *command], cwd=RUNS, check=True)
        run = Path(folder) / "runs" / "cifar10"
        for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
            if any(name.endswith("/knn") for name in line):
                print({name: round(value, 4) for name, value in line.items()})
        summary = json.loads((run / "summary.json").read_text())
        print(
            f"{summary['wall_seconds'] / 60:.1f} minutes, {summary['images_per_second']:.0f} images/s, {summary['precision']}"
        )


if __name__ == "__main__":
    main()
