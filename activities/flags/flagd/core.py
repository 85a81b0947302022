"""Evaluating a flag file in this process, with the evaluator that OpenFeature's Python providers have.

Used on what is about to be written, and as proof where applications evaluate the file themselves.
"""

import logging
from collections.abc import Callable
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails

from activities.flags.flagd.marks import GENERATION
from activities.flags.flagd.probing import NOBODY, PROBES, Answer, Seen
from rollout.routes import FlagdRoute

# It complains of every user without a key, and we ask about one each time; what matters is said by `probing`.
logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)

Json = dict[str, Any]
Resolve = Callable[[str, Any, EvaluationContext], FlagResolutionDetails[Any]]


class NotEvaluatedError(Exception):
    """The evaluator does not take the file at all; the message is in its words."""


def evaluated(content: bytes, flag: Json, route: FlagdRoute) -> Seen:
    """What applications are given that evaluate this file; blocks for some milliseconds.

    Args:
        content: the file.
        flag: the flag in it, for the type of its values.
        route: names flag and field.

    Raises:
        NotEvaluatedError: the evaluator does not take it.
    """
    core = FlagdCore()
    try:
        core.set_flags(content.decode())
    except Exception as error:  # whatever it raises on a file of others
        raise NotEvaluatedError(_words(error)) from error
    resolve = _resolver(core, flag)
    answers = [_answer(resolve, route, key) for key in (NOBODY, *PROBES)]
    return Seen(who="the evaluator", nobody=answers[0], answers=tuple(answers[1:]))


def context_of(key: str, route: FlagdRoute) -> Json:
    """What an application would say about a user, besides the targeting key."""
    return {route.bucket_by: key} if route.bucket_by and key != NOBODY else {}


def _answer(resolve: Resolve, route: FlagdRoute, key: str) -> Answer:
    try:
        found = resolve(route.key, None, EvaluationContext(key or None, context_of(key, route)))
    except OpenFeatureError as error:
        return Answer(why=_words(error))
    generation = found.flag_metadata.get(GENERATION)
    return Answer(variant=found.variant, generation=generation if isinstance(generation, int) else None)


def _resolver(core: FlagdCore, flag: Json) -> Resolve:
    value = next(iter(flag["variants"].values()), None)
    if isinstance(value, bool):
        return core.resolve_boolean_value
    if isinstance(value, str):
        return core.resolve_string_value
    return core.resolve_float_value if isinstance(value, int | float) else core.resolve_object_value


def _words(error: Exception) -> str:
    return (getattr(error, "error_message", None) or str(error) or type(error).__name__)[:200]
