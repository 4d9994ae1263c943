"""How long a server works for a request, without a network and without a client.

A real server in its own process, which commits to a real disk, with clients that are calls: what is
left is the time of Everlog's own code, and the best of many times is nearly the same whatever else
the machine does. So this tells whether a change made a request cheaper where nothing else does.
What is left to others: what the kernel takes for sending and receiving, and everything that waits.
"""
