"""What ``--help`` prints for the commands that Hydra parses. PROGRAM is replaced by what was typed."""

TRAIN = """Train: PROGRAM [NAME] [group.key=value ...]

  NAME                a recipe of `stable-ssl list recipes` or ./configs, or a
                      path, FILE.yaml; --config-name=NAME is the same. Default:
                      simclr_affine_digits
  --config-path=DIR   look for NAME in another folder
  group.key=value     set a key, e.g. optim.lr=0.1; ++group.key=value as well
  -m                  one run for each combination of comma-separated values,
                      hydra.launcher.n_jobs=N of them side by side
  hydra/launcher=     submitit_slurm: a cluster; submitit_local: processes of
                      this machine; hydra.launcher.KEY=value, e.g. timeout_min
  --cfg job           print the whole configuration, defaults included, and stop

Groups, and the file that documents their keys:
  data                ssl_data/config.py
  model               ssl_core/config/schema.py; methods: ssl_core/methods
  optim hardware log  ssl_core/config/schema.py
"""

EVALUATE = """Evaluate checkpoints: PROGRAM run=RUN [key=value ...]

  run=RUN             a run, here or in outputs/; the file of a checkpoint; or a
                      quoted pattern of runs. stable-ssl eval takes RUN alone
  backbone=NAME       instead of a run: a backbone with weights=FILE or random
                      ones, on data.KEY=value: a baseline, in log.folder
  checkpoint=         newest (default), all, or the number of a step
  eval=               standard (default), full, tokens, finetune, corruptions;
                      zero_shot: texts, eval.zero_shot.text_features=FILE;
                      shifts, transfer, segmentation, depth, landmarks: other
                      data, eval.{dense,landmarks}.root=, eval.shifts.folders=
  eval.KEY=value      change one key of it, e.g. eval.draws=10
  device=             auto (default), cpu or cuda
  view_samples=       training images whose views are embedded; 0: none
  ood=SVHN            detection of the images of another data set, or folder
  --method FILE.py:MyIdea, --data FILE.py:MyData
                      user-defined classes whose files have moved
  --watch             evaluate the checkpoints of a run in progress
  hydra/launcher=     submitit_slurm: a job for each checkpoint, as an array
  --cfg job           print the whole configuration, defaults included

Numbers are printed and written to RUN/eval/. Keys of a protocol, with default:
ssl_eval/protocol.py; of eval.finetune, eval.dense, ...: ssl_core/config/.
"""

VIEWS = """Draw the views of a recipe: PROGRAM [NAME] [group.key=value ...]

The command line is that of training; only the keys of data matter, e.g.
  simclr_cifar10_sgd data.views=byol data.size=64

  rows=N              samples in the picture. Default: 6
  bands=[3,2,1]       which bands of an image are drawn, one or three, from 0.
                      Default: the first three

The file is <log.folder>/Views-<recipe>.png: one row for each of the first
samples, one column for the stored sample and one for each view, with the
parameters of the view (crop, jitter, blur, ...) below it. A short report of the
data is printed, too: `stable-ssl data` reads all of them.

Data sets and functions of Python: python3 my_idea.py views, if my_idea.py calls
launch(MyIdea, data=...); in a notebook ssl_data.show_views(data).
"""

DATA = """Describe a data set: PROGRAM [NAME] [group.key=value ...]

The command line is that of training; only the keys of data matter, e.g.
  data.dataset=ImageFolder data.root=photographs

  samples=N           read N samples of each part, evenly spread; 0 (default):
                      all of them, which takes little more than decoding them

Printed: number of samples, sizes, bands, classes and their counts, samples that
cannot be read, and duplicates: within the training samples, and between them
and the test samples, by a hash of the decoded pixels.

Data sets of Python: python3 my_idea.py data, if my_idea.py calls
launch(MyIdea, data=...); in a notebook ssl_data.describe(data).

Exit code: 1 if a sample cannot be read, else 0.
"""
