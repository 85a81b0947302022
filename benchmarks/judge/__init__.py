"""What the judge promises, measured on simulated rollouts next to the methods people use today.

Every method sees the same counts. The numbers of `docs/judge.md` come from one run of `python -m benchmarks.judge`;
`--quick` is the same in small, for CI, and fails when a promise is broken. Simulation rather than recorded traffic,
because only there is it known which candidates are bad, and because a rate of one in a thousand takes thousands of
rollouts to see.
"""
