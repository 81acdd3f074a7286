"""Coverage-guided fuzzing of everything that reads files of others; docs/security.md says how.

make fuzz                                   the targets
make fuzz TARGET=net_build SECONDS=600      fuzz one: what crashes it is kept, and how to replay it is said
make fuzz-replay                            all targets on their seeds and what was found before; CI does it
"""
