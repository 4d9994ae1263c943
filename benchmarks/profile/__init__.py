"""Where the time of the hot paths goes: `python -m benchmarks.profile`.

Two samplers look at an unchanged server under load, from outside and one after the other: py-spy
says in which function of Everlog it is, and perf, where there is one, in which library. Neither
counts waiting: shares are of processor time, of all threads together.
"""
