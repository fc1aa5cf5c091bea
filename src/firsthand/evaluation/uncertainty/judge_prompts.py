"""What a judging model is asked: how hard a question is, what it needs, and how good its own verdict was.

The four kinds are the paper's (arXiv 2503.01688, section 3); the words are ours. The published prompt for the nominal
scale shows a verdict that is not on its own list; the example here is on it.

`VERSION` changes with any word, so that labels of two versions are not taken for one.

Knows questions and verdicts as texts. Knows no model.
"""

from __future__ import annotations

from firsthand.evaluation.uncertainty.questions import LETTERS, Question
from firsthand.evaluation.uncertainty.verdicts import NOMINAL, Scale, check_scale

__all__ = ["VERSION", "Message", "rating_messages", "verdict_messages"]

Message = dict[str, str]
VERSION = "1"

_ROLE = (
    "You are an expert in the subject of the question below, and an impartial judge. Do not answer the question. First "
    "explain your judgement in two or three sentences, then give it in double square brackets, in the form that is "
    "asked for, and use double square brackets for nothing else."
)
_TASKS: dict[Scale, str] = {
    "numerical": (
        "Judge how hard the question is, with a number from 0 to 1: 0 to 0.2 is what high school or less prepares for, "
        "0.2 to 0.4 an easy question for undergraduates, 0.4 to 0.6 a hard one for undergraduates, 0.6 to 0.8 one for "
        "graduates, 0.8 to 1 one for postgraduates.\n\nForm of the verdict: [[0.35]]"
    ),
    "nominal": (
        "Judge how hard the question is. The levels, from easy to hard:\n"
        + "\n".join(f"- {name}" for name in NOMINAL)
        + "\n\nGive one level exactly as it is written. Form of the verdict: [[undergraduate hard]]"
    ),
    "reasoning": (
        "Judge what a good answer needs: whether it needs knowledge of the subject (yes or no), whether it needs "
        "reasoning from what is known or given (yes or no), and how many steps of reasoning (low, medium or high).\n\n"
        "Form of the verdict, three lines:\n[[Requires knowledge: yes]]\n[[Requires reasoning: no]]\n"
        "[[Number of reasoning steps: low]]"
    ),
}
_RATE = (
    "You are an impartial reviewer. Below are a question, the task that a judge was given about it, and what the judge "
    "said. Do not answer the question. Say in two or three sentences how well founded the judge's verdict is, then "
    "rate it with a whole number from 1 (useless) to 10 (nothing to add) in double square brackets, and use double "
    "square brackets for nothing else.\n\nForm of the rating: [[6]]"
)


def verdict_messages(question: Question, scale: Scale) -> list[Message]:
    """The prompt for a verdict on one question.

    Raises:
        InputError: no such scale.
    """
    check_scale(scale)
    return [
        {"role": "system", "content": f"{_ROLE}\n\n{_TASKS[scale]}"},
        {"role": "user", "content": _shown(question)},
    ]


def rating_messages(question: Question, scale: Scale, reply: str) -> list[Message]:
    """The prompt for a rating of the judge's reply; the judge itself is asked, in a conversation of its own.

    Raises:
        InputError: no such scale.
    """
    check_scale(scale)
    return [
        {"role": "system", "content": _RATE},
        {
            "role": "user",
            "content": f"{_shown(question)}\n\nThe judge's task:\n{_TASKS[scale]}\n\nThe judge said:\n{reply}",
        },
    ]


def _shown(question: Question) -> str:
    """Without the gold answer."""
    lines = [f"Subject: {question.subject}"] if question.subject else []
    lines += ["Question:", question.stem, "", "Options:"]
    lines += [
        f"{LETTERS[place] if place < len(LETTERS) else place + 1}. {option}"
        for place, option in enumerate(question.options)
    ]
    return "\n".join(lines)
