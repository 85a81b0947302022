"""Histories of real runs, and the proof that today's code would have taken the same decisions.

A rollout may run for days while workers are upgraded. If new workflow code disagrees with a history, the rollout wedges
with users at 25 %; so every change must replay these, or be guarded by `workflow.patched`. A history of a released
version stays; a new kind of run gets a new one: `python -m tests.replay.record NAME`.
"""
