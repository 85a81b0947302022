"""The real parts, one file each, and what they share.

A part answers two questions: is it in place (and which version is it), and how is it had. Ways of having
it are tried in order: what the machine has, what can be fetched ready-made, what can be built. Every way
ends at `.tools/bin/NAME`, where the test bed looks; nothing else needs to know how it got there.
"""
