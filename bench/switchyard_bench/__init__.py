"""What bench/run is made of.

workloads   the models, their inputs, and how every server is told to serve them
wire        a request's bytes in each protocol
servers     processes that serve: Switchyard, the bare echo, and the peers of bench/peers
clients     processes that load a server: our own (native/load.cpp) and perf_analyzer
measure     one row of the table after the other
machine     what it ran on
report      the table as text and as Markdown; plots: as pictures
compare     two results: a change or noise
"""
