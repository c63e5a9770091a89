"""Asks for the sensitivities of all decisions, over the cores or a cluster, and sums them up for each option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bfpc.ir.graph import Graph
from bfpc.jobs import Engine
from bfpc.numerics.format import BfpFormat
from bfpc.progress import Progress
from bfpc.search.choice import Numbers
from bfpc.search.decisions import Decision
from bfpc.search.sensitivity import Answer, Question, Subject, open_sensitivity
from bfpc.search.state import State


def list_questions(graph: Graph, decisions: Sequence[Decision]) -> list[Question]:
    """One for each value that is quantized, or whose layer's weights are."""
    layers = {node.name: f"{node.op} {dict(node.inputs)}" for node in graph.nodes}
    formats: dict[str, dict[str, tuple[BfpFormat, ...]]] = {}
    for decision in decisions:
        kind = "weights" if decision.kind == "weight" else "maps"
        for index, member in enumerate(decision.members):
            asked = tuple(option.stored[index] for option in decision.options)
            formats.setdefault(member, {"maps": (), "weights": ()})[kind] = asked
    return [Question(value, **asked, layer=layers.get(value, "")) for value, asked in formats.items()]


def measure(
    subject: Subject, questions: Sequence[Question], state: State, engine: Engine, progress: Progress
) -> dict[str, Answer]:
    """The answers by value: those that the state has, and those of the other questions, which it keeps."""
    missing = [question for question in questions if state.find(question) is None]
    found = engine.map(open_sensitivity, subject, missing) if missing else iter(())
    for question, answer in zip(progress(missing, "measuring sensitivities"), found, strict=True):
        state.add(question, answer)
    answers = {question.value: state.find(question) for question in questions}
    return {value: answer for value, answer in answers.items() if answer is not None}


def option_noises(decisions: Sequence[Decision], answers: Mapping[str, Answer]) -> tuple[Numbers, ...]:
    """For each decision the noise of each of its options: that of its members together."""
    return tuple(
        np.sum([_noises(decision, answers[member]) for member in decision.members], axis=0) for decision in decisions
    )


def _noises(decision: Decision, answer: Answer) -> tuple[float, ...]:
    return answer.weights if decision.kind == "weight" else answer.maps
