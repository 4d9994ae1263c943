"""What a request costs in calls: how many functions of the server it runs, and in how many files.

Times differ from machine to machine and from minute to minute; these counts do not.
What is left to others: how long anything takes, for which there are the other benchmarks.
"""
