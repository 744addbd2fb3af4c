"""A user-defined metric: logged at each evaluation, and allowed in optim.monitor.

python3 own_metric.py
python3 own_metric.py optim.monitor=affine_digits/top3 optim.patience=3
"""

from ssl_core.methods.simclr import SimCLR
from ssl_launch import launch


class WithTopThree(SimCLR):
    """SimCLR with the top-3 accuracy of its online linear probe."""

    def metric_names(self):
        return super().metric_names() | {f"{name}/top3" for name in self.run.loaders.evaluation}

    def before_eval_epoch(self):
        self.found = self.seen = 0

    def after_eval_step(self):
        best = self.forward(self.data.views[0]).topk(3, dim=1).indices
        self.found += int((best == self.data.labels[:, None]).any(1).sum())
        self.seen += len(self.data.labels)

    def after_eval_epoch(self):
        name = next(iter(self.run.loaders.evaluation))
        self.run.metrics.log(self.progress.step, self.progress.epoch, {f"{name}/top3": self.found / self.seen})


if __name__ == "__main__":
    launch(WithTopThree)
