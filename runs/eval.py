"""Evaluate the checkpoints of runs: ``stable-ssl eval`` as a script.

python3 eval.py run=outputs/simclr_affine_digits                # kNN, linear, few labels, label-free: eval/standard.json
python3 eval.py run='outputs/*' eval=full                       # all runs, everything
python3 eval.py run=outputs/simclr_affine_digits eval=finetune  # backbone and classifier on 1 %, 10 % and all of the labels
python3 eval.py backbone=resnet18 data.dataset=digits         # a baseline: random weights, or weights=FILE
python3 eval.py run=outputs/simclr_affine_digits checkpoint=all  # a learning curve of offline probes
python3 eval.py run=outputs/simclr_affine_digits checkpoint=all hydra/launcher=submitit_slurm  # a job for each, as an array
"""

from ssl_launch import evaluate

if __name__ == "__main__":
    evaluate()
