import math

import torch
from contract import Case


def softmax(similarities, temperature):
    weights = [math.exp(similarity / temperature) for similarity in similarities]
    return [weight / sum(weights) for weight in weights]


def plain(student, teacher, student_temperature, teacher_temperature, queue_size, state):
    """Cross-entropy of the student's relations to the queue with the teacher's."""
    queue = state["queue.rows"]
    total = 0.0
    for s, t in zip(student, teacher):
        said = softmax([float(s @ row / s.norm()) for row in queue], student_temperature)
        wanted = softmax([float(t @ row / t.norm()) for row in queue], teacher_temperature)
        total -= sum(w * math.log(p) for w, p in zip(wanted, said))
    return total / len(student)


def next_state(state, student, teacher, student_temperature, teacher_temperature, queue_size):
    """First in, first out."""
    rows = [*state["queue.rows"], *(t / t.norm() for t in teacher)]
    return {"queue.rows": torch.stack(rows[-queue_size:])}


CASE = Case(
    plain,
    options={"student_temperature": 0.1, "teacher_temperature": 0.04, "queue_size": 20},
    targets=frozenset({1}),
    invariances=frozenset({"order", "scale", "rotation"}),
    next_state=next_state,
)
