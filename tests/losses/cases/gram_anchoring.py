import torch
from contract import Case


def arguments(embed, part):
    """Three patches of each image, the student's and the teacher's."""
    return torch.stack([embed(0), embed(2), embed(4)], 1), torch.stack([embed(1), embed(3), embed(5)], 1)


def plain(student, teacher):
    """The squared difference of the cosines of two patches, over all pairs of patches of each image."""
    images, patches, _ = student.shape
    total = 0.0
    for s, t in zip(student, teacher):
        for i in range(patches):
            for j in range(patches):
                ours = float(s[i] @ s[j] / (s[i].norm() * s[j].norm()))
                theirs = float(t[i] @ t[j] / (t[i].norm() * t[j].norm()))
                total += (ours - theirs) ** 2
    return total / (images * patches**2)


CASE = Case(
    plain,
    arguments=arguments,
    targets=frozenset({1, 3, 5}),
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
)
