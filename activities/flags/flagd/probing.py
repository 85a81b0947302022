"""Whether what evaluators answer for a fixed set of users is what a flag file says. Pure.

Which users are given the candidate is the evaluator's own business: flagd and the Python core hash differently, so at
the same 5 % only a few people are the same. How many they are is not.
"""

from activities.flags.flagd.document import View
from activities.probing import plausible, probes
from rollout.base import Told, percent_text

PROBES = probes(128)
NOBODY = ""
"""A user without a key, who is asked about too: the default variant is for such."""


class Answer(Told):
    """What an evaluator gives one user.

    Attributes:
        variant: by its name; None: none, the application falls back to the default in its code.
        generation: of the flag that it has, None if that has none.
        why: in the evaluator's words, why there is no variant.
    """

    variant: str | None = None
    generation: int | None = None
    why: str | None = None


class Seen(Told):
    """What an evaluator shows.

    Attributes:
        who: the evaluator, for a sentence.
        nobody: answer for a user without a key.
        answers: those for the users of `PROBES`, or for the first of them.
    """

    who: str
    nobody: Answer
    answers: tuple[Answer, ...]

    def counts(self) -> str:
        """Users by variant, as words: `on 32, off 96`."""
        names = [each.variant or "nothing" for each in self.answers]
        return ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names), reverse=True))


def doubt(seen: Seen, written: View, file: str) -> str | None:
    """Why the percent that is written is not what applications are given; None if it is.

    Args:
        seen: what the evaluator shows.
        written: what the file says.
        file: its name.
    """
    stable, candidate = written.variants.stable, written.variants.candidate
    percent = written.percent if written.on else 0.0
    says = f"{file} says {'off' if not written.on else percent_text(percent or 0)}"
    generations = {each.generation for each in (seen.nobody, *seen.answers)}
    if generations != {written.marks.generation}:
        other = ", ".join(str(each) for each in sorted(generations - {written.marks.generation}, key=str))
        return (
            f"{says} (generation {written.marks.generation}), {seen.who} still has generation {other} and gives "
            f"{seen.counts()} of {len(seen.answers)} users"
        )
    if not written.enabled:
        return f"{says}, by a state that leaves it to the default in the application's own code, which nobody can prove"
    why = next((each.why for each in seen.answers if each.why), None)
    strange = {each.variant for each in seen.answers} - {stable, candidate}
    if strange or why:
        return f"{says}, {seen.who} gives {seen.counts()} of {len(seen.answers)} users{f': {why}' if why else ''}"
    if written.on and written.unplaced:
        return written.unplaced
    count, total = sum(each.variant == candidate for each in seen.answers), len(seen.answers)
    if count not in plausible(percent or 0, total):
        return f"{says}, {seen.who} gives {seen.counts()} of {total} users: a rule catches them, or it has another file"
    if percent == 0 and seen.nobody.variant != stable:
        return f"{says}, {seen.who} gives users without a key {seen.nobody.variant or 'nothing'}, not {stable}"
    return None
