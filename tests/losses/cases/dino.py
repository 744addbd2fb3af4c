import math

from contract import WIDTH, Case


def softmax(row, temperature):
    exponentials = [math.exp(float(x) / temperature) for x in row]
    return [e / sum(exponentials) for e in exponentials]


def plain(student, teacher, state, student_temperature, teacher_temperature, **_):
    """Cross-entropy of each student's view with each teacher's view of another number, one sample after another."""
    total, pairs = 0.0, 0
    for t, of_teacher in enumerate(teacher):
        for s, of_student in enumerate(student):
            if s != t:
                pairs += 1
                for a, b in zip(of_teacher, of_student):
                    target = softmax(a - state["center"], teacher_temperature)
                    prediction = softmax(b, student_temperature)
                    total -= sum(q * math.log(p) for q, p in zip(target, prediction))
    return total / pairs / len(student[0])


def next_state(state, student, teacher, center_momentum, **_):
    mean = sum(z.sum(0) for z in teacher) / sum(len(z) for z in teacher)
    return {"center": center_momentum * state["center"] + (1 - center_momentum) * mean}


CASE = Case(
    plain,
    options={
        "num_prototypes": WIDTH,
        "student_temperature": 0.5,
        "teacher_temperature": 0.3,
        "center_momentum": 0.8,
    },
    arguments=lambda embed, part: ([embed(0), embed(1), embed(2)], [embed(3), embed(4)]),  # the third view is local
    targets=frozenset({3, 4}),
    next_state=next_state,
)
